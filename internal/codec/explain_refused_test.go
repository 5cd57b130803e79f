package codec

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/brinepool/brine/internal/shm"
)

type (
	broken struct {
		Before string
		Ch     chan int
		//lint:ignore U1000 its type is what matters
		secret string
		Typo   int `brine:"sned"`
		Run    []func()
		In     *broken
		Text   fallback
		After  int
		//lint:ignore U1000 its type is what matters
		left func() `brine:"-"`
	}
	ghost struct{ N int }
	held  struct {
		Name string
		Any  any
		List []any
		M    map[any]string
	}
	sharedInts struct {
		ref shm.Ref
		_   [0]int
	}
	sharing struct {
		A, B, None *sharedInts
		N          int
	}
)

// TestExplainRefused explains what can't be sent: each such part is marked, the
// others count, and the whole has the error that sending it gives.
func TestExplainRefused(t *testing.T) {
	t.Parallel()
	ring := []any{"x", nil}
	ring[1] = ring
	var deep any
	for range maxDepth {
		deep = []any{deep}
	}
	large := make([]any, 20)
	for i := range large {
		large[i] = strings.Repeat("x", 1000-i)
	}
	large[19] = []any{"a", ghost{1}}
	long := make([]any, 100)
	long[70] = ghost{1}
	tests := []struct {
		name string
		v    any
		says string
		want []string
	}{
		{
			"types",
			broken{Before: "abc", In: &broken{After: 1}, Run: make([]func(), 3)},
			"broken.Ch: chan cannot be sent",
			[]string{
				"codec.broken 53 own 0 error", ".In *codec.broken 29 own 4",
				".In.Text codec.fallback 9 own 0", ".In.Text.T codec.textual 8", ".In.Text.Bad codec.alsoBad 1", ".In.Text.Bad.F func() 0 error",
				".In.After int 8", ".In.Before string 4", ".In.In *codec.broken 4 (nil)",
				".In.Ch chan int 0 error", ".In.secret string 0 error", ".In.Typo int 0 error", ".In.Run []func() 0 error",
				".Text codec.fallback 9 own 0", ".Text.T codec.textual 8", ".Text.Bad codec.alsoBad 1", ".Text.Bad.F func() 0 error",
				".After int 8", ".Before string 7", ".Ch chan int 0 error", ".secret string 0 error", ".Typo int 0 error", ".Run []func() 0 entries 3 error",
			},
		},
		{"unregistered", held{Name: "abc", Any: ghost{1}}, "encode codec.held.Any: type codec.ghost is not registered", []string{
			"codec.held 17 own 0 error", ".Name string 7", ".M map[interface {}]string 6 (nil)", ".List []interface {} 4 (nil)", ".Any codec.ghost 0 error",
		}},
		{"one of many", long, "encode []interface {}[70]: type codec.ghost is not registered", []string{
			"[]interface {} 400 own 4 entries 100 error", "[0] interface {} 4 (nil)", "[1] interface {} 4 (nil)",
		}},
		{"beside what is large", large, "encode []interface {}[19][1]: type codec.ghost is not registered", []string{
			"[]interface {} 19030 own 4 entries 20 error", "[0] string 1018", "[1] string 1007", "[2] string 1006", "[3] string 1005", "[4] string 1004",
			"[5] string 1003", "[6] string 1002", "[7] string 1001", "[8] string 1000", "[9] string 999", "[10] string 998", "[11] string 997",
			"[19] []interface {} 35 own 26 entries 2", "[19][0] string 9", "[19][1] codec.ghost 0 error", "7 others  6951 count 7",
		}},
		{"many too deep", slices.Repeat([]any{deep}, 20), "nested more than 10000 deep", nil},
		{"a key", map[any]string{ghost{1}: "abc"}, "encode map[interface {}]string[key]: type codec.ghost", []string{
			"map[interface {}]string 39 own 32 entries 1 error", "[codec.ghost] string 7",
		}},
		{"its methods fail", []moody{{"good"}, {"err"}}, "encode []codec.moody[1]: MarshalBinary of *codec.moody: ", []string{
			"[]codec.moody 12 own 4 entries 2 error", "[0] codec.moody 8", "[1] codec.moody 0 error",
		}},
		{"its methods panic", moody{"panic"}, "in a mood", []string{"codec.moody 0 error"}},
		{"zero shared data", sharing{A: new(sharedInts)}, "encode codec.sharing.A: " + errSharedZero.Error(), []string{
			"codec.sharing 24 own 0 error", ".B *codec.sharedInts 8 (nil)", ".None *codec.sharedInts 8 (nil)", ".N int 8", ".A *codec.sharedInts 0 error",
		}},
		{"holds itself", ring, "nested more than 10000 deep", nil},
		{"chan", make(chan int), "chan int: chan cannot be sent", []string{"chan int 0 error"}},
		{"unsafe pointer", []unsafe.Pointer{nil}, "unsafe.Pointer cannot be sent", []string{"[]unsafe.Pointer 0 entries 1 error"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := reflect.New(reflect.TypeOf(test.v))
			v.Elem().Set(reflect.ValueOf(test.v))
			part := Explain(v.Type().Elem(), v.UnsafePointer())
			checkSums(t, &part)
			plan, err := For(v.Type().Elem())
			if err == nil {
				_, err = plan.AppendShared(nil, v.UnsafePointer(), new(shm.Refs))
			}
			if err == nil || part.Error != err.Error() && !strings.Contains(part.Error, "…") || !strings.Contains(part.Error, test.says) {
				t.Errorf("marked %q, sending gives %v, want one that says %q", part.Error, err, test.says)
			}
			if last := len(part.Parts) - 1; test.name == "many too deep" && (part.Parts[last].Bytes != 0 || part.Parts[last].Count != 16) {
				t.Errorf("got\n%s", part.Text())
			}
			if got := told(part); test.want != nil && !slices.Equal(got[:min(len(got), len(test.want))], test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// TestExplainHoldsItself has a slice that holds itself so often that going down
// each way would never end.
func TestExplainHoldsItself(t *testing.T) {
	t.Parallel()
	many := make([]any, 40)
	for i := range many {
		many[i] = many
	}
	part := Explain(reflect.TypeFor[[]any](), unsafe.Pointer(&many))
	if !strings.Contains(part.Error, "nested more than 10000 deep") {
		t.Errorf("marked %q", part.Error)
	}
	if last := part.Parts[len(part.Parts)-1]; last.Count < 30 || last.Bytes != 0 || last.Error == "" {
		t.Errorf("those that are not told are %s", last.Line(part.Bytes, true))
	}
	checkSums(t, &part)
	all := make(forst, 12)
	for i := range all {
		all[i] = all
	}
	part = Explain(reflect.TypeFor[forst](), unsafe.Pointer(&all))
	if !strings.Contains(part.Error, "nested more than 10000 deep") {
		t.Errorf("marked %q", part.Error)
	}
	checkSums(t, &part)
}

// TestExplainLeavesTypesAlone shows that what Explain finds out about a type that
// can't be sent stays its own.
func TestExplainLeavesTypesAlone(t *testing.T) {
	t.Parallel()
	type inner struct{ C chan int }
	type outer struct {
		In  inner
		All []inner
	}
	Explain(reflect.TypeFor[outer](), unsafe.Pointer(new(outer)))
	for _, typ := range []reflect.Type{reflect.TypeFor[outer](), reflect.TypeFor[inner](), reflect.TypeFor[[]inner](), reflect.TypeFor[*outer]()} {
		if _, err := For(typ); err == nil {
			t.Errorf("%s can be sent", typ)
		}
	}
}

// TestExplainShared shows that each segment is counted once, and none is sealed.
func TestExplainShared(t *testing.T) {
	t.Parallel()
	seg, err := shm.Make("test", 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Release()
	mem, err := seg.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	one := &sharedInts{ref: shm.NewRef(seg)}
	v := sharing{A: one, B: one}
	part := Explain(reflect.TypeFor[sharing](), unsafe.Pointer(&v))
	mem[0] = 1 // faults if the segment was sealed
	checkSums(t, &part)
	want := []string{
		"codec.sharing 32 own 0", ".A *codec.sharedInts 8 (in shared memory)", ".B *codec.sharedInts 8 (in shared memory, counted before)",
		".None *codec.sharedInts 8 (nil)", ".N int 8",
	}
	if got := told(part); !slices.Equal(got, want) || part.Mapped != 1<<16 || part.Parts[0].Mapped != 1<<16 || part.Parts[1].Mapped != 0 {
		t.Errorf("got\n%s\nmapped %d", part.Text(), part.Mapped)
	}
	refs := new(shm.Refs)
	plan, err := For(reflect.TypeFor[sharing]())
	if err != nil {
		t.Fatal(err)
	}
	b, err := plan.AppendShared(nil, unsafe.Pointer(&v), refs)
	if err != nil || int64(len(b)) != part.Bytes {
		t.Errorf("encoded in %d bytes, %v", len(b), err)
	}
	refs.Cut(0)
}

func TestExplainType(t *testing.T) {
	t.Parallel()
	tests := []struct {
		typ  reflect.Type
		want []string
	}{
		{reflect.TypeFor[flat](), []string{"codec.flat 24 own 8", ".B int64 8", ".E float32 4", ".C uint16 2", ".A int8 1", ".D bool 1"}},
		{reflect.TypeFor[*unevens](), []string{
			"*codec.unevens 30 own 4 (at least, if not nil)", ".In codec.uneven 20 own 7 (at least)", ".In.A int64 8", ".In.S string 4 (at least)", ".In.B int8 1",
			".Last string 4 (at least)", ".C int8 1", ".D int8 1",
		}},
		{reflect.TypeFor[tree](), []string{"codec.tree 8 own 0 (at least)", ".Left *codec.tree 4 (at least)", ".Right *codec.tree 4 (at least)"}},
		{reflect.TypeFor[hook](), []string{"codec.hook 1 (at least) error", ".Run func() 0 error"}},
		{reflect.TypeFor[[]int](), []string{"[]int 4 (at least)"}},
	}
	for _, test := range tests {
		part := ExplainType(test.typ)
		checkSums(t, &part)
		if got := told(part); !slices.Equal(got, test.want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
		}
	}
}

func TestTypeName(t *testing.T) {
	t.Parallel()
	type pair[A, B any] struct {
		A A
		B B
	}
	name := TypeName(reflect.TypeFor[map[string][]*pair[shm.Ref, map[shm.Ref]int]]())
	if want := "map[string][]*codec.pair[shm.Ref,map[shm.Ref]int]"; name != want {
		t.Errorf("got %s, want %s", name, want)
	}
}
