package codec

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/bill"
)

// TestExplainRandom holds the totals to what is encoded, to the byte, for random
// values of random types, and each part to the sum of its own.
func TestExplainRandom(t *testing.T) {
	t.Parallel()
	rounds := 1000
	if testing.Short() {
		rounds = 200
	}
	for seed := range rounds {
		r := random{rand.New(rand.NewPCG(uint64(seed), 2))}
		typ := r.typ(4)
		v := reflect.New(typ)
		r.fill(v.Elem(), 5)
		if seed%2 == 0 { // more elements than are told
			elem := r.typ(2)
			typ = []reflect.Type{reflect.SliceOf(elem), reflect.MapOf(reflect.TypeFor[int](), elem), reflect.ArrayOf(30, elem)}[seed/2%3]
			v = reflect.New(typ)
			r.fillMany(v.Elem(), 30)
		}
		checkExplained(t, v)
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, typ)
		}
	}
}

// fillMany fills a slice, an array or a map of ints with n elements.
func (r random) fillMany(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	}
	for i := range n {
		elem := reflect.New(v.Type().Elem()).Elem()
		r.fill(elem, 3)
		if v.Kind() == reflect.Map {
			v.SetMapIndex(reflect.ValueOf(i), elem)
		} else {
			v.Index(i).Set(elem)
		}
	}
}

// graphNode is a node of graphs with cycles.
type graphNode struct {
	Next  *graphNode
	Any   any
	Edges []*graphNode
	Deep  **graphNode
	Name  string
	Err   error
}

func init() { Register((*graphNode)(nil)) }

// TestExplainGraphs is TestExplainRandom for values in which all refers to all.
func TestExplainGraphs(t *testing.T) {
	t.Parallel()
	for seed := range 60 {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		graph := make([]*graphNode, 1+r.IntN(60))
		for i := range graph {
			graph[i] = new(graphNode)
		}
		for _, n := range graph {
			n.Name = strings.Repeat("x", r.IntN(50))
			one := func() *graphNode { return graph[r.IntN(len(graph))] }
			if r.IntN(2) == 0 {
				n.Next = one()
			}
			if r.IntN(3) == 0 {
				n.Any, n.Err = one(), fmt.Errorf("within: %w", errors.ErrUnsupported)
			}
			for range r.IntN(20) {
				n.Edges = append(n.Edges, one())
			}
			if r.IntN(5) == 0 {
				n.Deep = &one().Next
			}
		}
		checkExplained(t, reflect.ValueOf(&graph))
		checkExplained(t, reflect.ValueOf(&graph[0]))
		checkExplained(t, reflect.ValueOf(graph[0]))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// checkExplained compares what v points at with its encoding.
func checkExplained(t *testing.T, v reflect.Value) bill.Part {
	t.Helper()
	p, err := For(v.Type().Elem())
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Append(nil, v.UnsafePointer())
	if err != nil {
		t.Fatal(err)
	}
	part := Explain(v.Type().Elem(), v.UnsafePointer())
	if part.Bytes != int64(len(b)) && !alsoTakes(t, p, v, &part) {
		t.Errorf("%s: explained as %d bytes, encoded in %d\n%s", v.Type().Elem(), part.Bytes, len(b), part.Text())
	}
	if faulty(&part) {
		t.Errorf("%s: can be sent, but\n%s", v.Type().Elem(), part.Text())
	}
	checkSums(t, &part)
	return part
}

// alsoTakes reports whether the value's encoding can have the explained length too.
// The order of maps may decide which of two references is the first, and so
// which of two maps has to be filled up to its floor.
func alsoTakes(t *testing.T, p *Plan, v reflect.Value, part *bill.Part) bool {
	t.Helper()
	lengths := make(map[int64]bool)
	for range 200 {
		b, err := p.Append(nil, v.UnsafePointer())
		if err != nil {
			t.Fatal(err)
		}
		lengths[int64(len(b))] = true
	}
	for range 100 {
		if len(lengths) > 1 && lengths[part.Bytes] {
			return true
		}
		*part = Explain(v.Type().Elem(), v.UnsafePointer())
	}
	return false
}

// checkSums wants the bytes of each part to be the sum of its own and its parts',
// and the largest of these to be first.
func checkSums(t *testing.T, part *bill.Part) {
	t.Helper()
	sum, mapped := part.Own, int64(0)
	for i := range part.Parts {
		p := &part.Parts[i]
		checkSums(t, p)
		sum += p.Bytes
		mapped += p.Mapped
		if i > 0 && p.Count == 0 && p.Bytes > part.Parts[i-1].Bytes {
			t.Errorf("%s of %d bytes comes after one of %d", p.Name, p.Bytes, part.Parts[i-1].Bytes)
		}
	}
	if part.Own < 0 || part.Bytes != sum || len(part.Parts) > 0 && mapped != part.Mapped {
		t.Errorf("%s: %d bytes, of which %d are its own, add up to %d\n%s", part.Name, part.Bytes, part.Own, sum, part.Text())
	}
}

// told lists the parts of a part: path, type, bytes, and what else there is.
func told(part bill.Part) []string {
	var lines []string
	var walk func(p bill.Part, path string)
	walk = func(p bill.Part, path string) {
		path += p.Name
		line := fmt.Sprintf("%s %s %d", path, p.Type, p.Bytes)
		if p.Own != p.Bytes {
			line += fmt.Sprintf(" own %d", p.Own)
		}
		if p.Entries > 0 {
			line += fmt.Sprintf(" entries %d", p.Entries)
		}
		if p.Count > 0 {
			line += fmt.Sprintf(" count %d", p.Count)
		}
		if p.Note != "" {
			line += " (" + p.Note + ")"
		}
		if p.Error != "" {
			line += " error"
		}
		lines = append(lines, strings.TrimSpace(line))
		for _, q := range p.Parts {
			walk(q, path)
		}
	}
	walk(part, "")
	return lines
}

type (
	// margins begins with nothing that crosses, so that a run of the struct
	// around it has bytes which a run of its own doesn't.
	margins struct {
		_ int64
		A int64
	}
	around struct {
		X  int64
		In margins
	}
	// uneven ends in padding that only a struct around it copies.
	uneven struct {
		A int64
		S string
		B int8
	}
	unevens struct {
		In   uneven
		C, D int8
		Last string
	}
	partly struct {
		Kept   int32
		_      int32
		Left   []int  `brine:"-"`
		asked  string `brine:"send"`
		base          //nolint:unused // embedded
		Nested struct{ Skip, Keep bool }
	}
	slots struct {
		A, B, C *base
		S       []string
		M       map[string]string
		Any     any
		Err     error
		P       **base
	}
)

func TestExplainParts(t *testing.T) {
	t.Parallel()
	one := &base{1}
	ring := &graphNode{Name: "ring"}
	ring.Next = ring
	tests := []struct {
		name string
		v    any
		want []string
	}{
		{"number", 7, []string{"int 8"}},
		{"named string", myString("abc"), []string{"codec.myString 7"}},
		{"time", time.Unix(1, 2), []string{"time.Time 16"}},
		{"padding", flat{}, []string{"codec.flat 24 own 8", ".B int64 8", ".E float32 4", ".C uint16 2", ".A int8 1", ".D bool 1"}},
		{"leading margin", around{}, []string{"codec.around 24 own 0", ".In codec.margins 16 own 8", ".In.A int64 8", ".X int64 8"}},
		{"trailing margin", unevens{}, []string{
			"codec.unevens 26 own 0", ".In codec.uneven 20 own 7", ".In.A int64 8", ".In.S string 4", ".In.B int8 1",
			".Last string 4", ".C int8 1", ".D int8 1",
		}},
		{"partly", partly{asked: "yes"}, []string{
			"codec.partly 21 own 0", ".base codec.base 8 own 0", ".base.ID int 8", ".asked string 7", ".Kept int32 4",
			".Nested struct { Skip bool; Keep bool } 2 own 0", ".Nested.Skip bool 1", ".Nested.Keep bool 1",
		}},
		{"floor", bulky{}, []string{"codec.bulky 626 own 625", ".A int8 1"}},
		{"fixed elements", make([]flat, 100), []string{"[]codec.flat 2404 entries 100"}},
		{"map of fixed", map[int]bool{1: true, 2: false}, []string{"map[int]bool 22 entries 2"}},
		{"key with its value", map[string]int{"a": 1, "bcd": 2}, []string{
			"map[string]int 32 own 4 entries 2", `["bcd"] int 15`, `["a"] int 13`,
		}},
		{"nil", slots{}, []string{
			"codec.slots 34 own 0", ".M map[string]string 6 (nil)", ".A *codec.base 4 (nil)", ".B *codec.base 4 (nil)", ".C *codec.base 4 (nil)",
			".S []string 4 (nil)", ".Any interface {} 4 (nil)", ".Err error 4 (nil)", ".P **codec.base 4 (nil)",
		}},
		{"shared pointers", []*base{one, one, {2}}, []string{
			"[]*codec.base 32 own 4 entries 3", "[0] *codec.base 12 own 4", "[0].ID int 8", "[2] *codec.base 12 own 4", "[2].ID int 8",
			"[1] *codec.base 4 (counted at [0])",
		}},
		{"ring", ring, []string{
			"*codec.graphNode 32 own 4", ".Name string 8", ".Next *codec.graphNode 4 (counted at the top)", ".Any interface {} 4 (nil)",
			".Edges []*codec.graphNode 4 (nil)", ".Deep **codec.graphNode 4 (nil)", ".Err error 4 (nil)",
		}},
		{"names of types once", []any{1, 2, nil}, []string{
			"[]interface {} 39 own 4 entries 3", "[0] int 19", "[1] int 12", "[2] interface {} 4 (nil)",
		}},
		{"others", []string{strings.Repeat("x", 996), "", "", "", "", "", "", "", "", "", "", "", "", ""}, []string{
			"[]string 1056 own 4 entries 14", "[0] string 1000", "13 others  52 count 13",
		}},
		{"similar", strings.Split(strings.Repeat("xy ", 199)+"xyz", " "), []string{
			"[]string 1205 own 4 entries 200", "[199] string 7", "199 others  1194 count 199",
		}},
		{"deeper than told", [][][][][][][]string{{{{{{{"x"}}}}}}}, []string{
			"[][][][][][][]string 33 own 4 entries 1", "[0] [][][][][][]string 29 own 4 entries 1", "[0][0] [][][][][]string 25 own 4 entries 1",
			"[0][0][0] [][][][]string 21 own 4 entries 1", "[0][0][0][0] [][][]string 17 own 4 entries 1",
			"[0][0][0][0][0] [][]string 13 own 4 entries 1", "[0][0][0][0][0][0] []string 9 entries 1",
		}},
		{"below what is told", []any{strings.Repeat("x", 10_000), []any{"a", "b"}}, []string{
			"[]interface {} 10066 own 4 entries 2", "[0] string 10018", "[1] []interface {} 44 entries 2",
		}},
		{"RemoteError", &RemoteError{Type: "t", Message: "m"}, []string{"*codec.RemoteError 22"}},
		{"methods", moody{Mood: "good"}, []string{"codec.moody 8"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := reflect.New(reflect.TypeOf(test.v))
			v.Elem().Set(reflect.ValueOf(test.v))
			part := checkExplained(t, v)
			if got := told(part); !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	type ring struct {
		Next *ring
		Name string
	}
	for _, c := range []struct {
		value any
		want  bool
	}{
		{1, true},
		{time.Time{}, true},
		{map[string][]ring{}, true},
		{struct{ A any }{}, false},
		{[]error{}, false},
		{map[string]*big.Int{}, false},
		{struct{ A [2]struct{ B []fmt.Stringer } }{}, false},
		{make(chan int), false},
	} {
		if got := Quiet(reflect.TypeOf(c.value)); got != c.want {
			t.Errorf("%T: %v", c.value, got)
		}
	}
}
