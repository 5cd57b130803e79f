package codec

import (
	"bytes"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// coder makes the Coder of T or ends the test.
func coder[T any](t testing.TB) Coder[T] {
	t.Helper()
	c, err := Of[T]()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// there encodes v and decodes it over a value that is not zero, where one can
// be made, and checks what holds for every encoding: a prefix in dst stays, the
// result has no memory of src, and every truncation is an error.
func there[T any](t testing.TB, v T) T {
	t.Helper()
	c := coder[T](t)
	b, err := c.Append([]byte("head"), &v)
	if err != nil {
		t.Fatal(err)
	}
	if string(b[:4]) != "head" {
		t.Fatalf("dst begins with %q after Append", b[:4])
	}
	b = b[4:]
	if n, ok := c.FixedSize(); ok && n != len(b) {
		t.Fatalf("%d bytes, fixed size is %d", len(b), n)
	}
	if low := c.plan.node.min; len(b) < low {
		t.Fatalf("%d bytes, at least %d are promised", len(b), low)
	}
	spent := checkBudget(t, c.plan, b)
	src := bytes.Clone(b)
	var out T
	if err := c.Decode(src, &out); err != nil {
		t.Fatalf("%v (after asking for %d bytes of memory for %d)", err, spent, len(b))
	}
	for i := range src {
		src[i] = 0xaa
	}
	if err := c.Decode(b, &out); err != nil { // over what is there already
		t.Fatal(err)
	}
	truncations(t, c, b)
	if err := c.Decode(append(bytes.Clone(b), 0), new(T)); err == nil {
		t.Error("no error for a byte too many")
	}
	return out
}

// checkBudget fails when a real value comes near the memory that the decoder
// allows itself, leaving its base aside.
func checkBudget(t testing.TB, p *Plan, b []byte) int {
	t.Helper()
	d := newDecoder(b)
	before := d.budget
	at := reflect.New(p.node.typ)
	if err := d.value(p.node, at.UnsafePointer()); err != nil {
		t.Fatal(err)
	}
	spent := before - d.budget
	// Of the base, pointers and interfaces may take a first block, and the
	// strings one that is not full.
	const starts = 2 * blockSize
	if spent > budgetRatio*len(b)+starts {
		t.Errorf("%s: %d bytes asked for %d of input", p.node.typ, spent, len(b))
	}
	return spent
}

func truncations[T any](t testing.TB, c Coder[T], b []byte) {
	t.Helper()
	step := 1 + len(b)/2000
	for n := 0; n < len(b); n += step {
		if err := c.Decode(b[:n], new(T)); err == nil {
			t.Fatalf("no error for %d bytes of %d", n, len(b))
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	now := time.Now().Round(0)
	t.Run("numbers", func(t *testing.T) {
		t.Parallel()
		same(t, true)
		same(t, false)
		same(t, int8(-7))
		same(t, uint16(65535))
		same(t, int32(math.MinInt32))
		same(t, uint64(math.MaxUint64))
		same(t, uintptr(5))
		same(t, float32(1.5))
		same(t, math.Inf(-1))
		same(t, complex64(2+3i))
		same(t, -1-2i)
		same(t, myInt(9))
		if f := there(t, math.NaN()); !math.IsNaN(f) {
			t.Errorf("NaN became %v", f)
		}
	})
	t.Run("strings and slices", func(t *testing.T) {
		t.Parallel()
		same(t, "")
		same(t, "grüße\x00\xff")
		same(t, strings.Repeat("long ", 1000))
		same(t, myString("mine"))
		same(t, []byte(nil))
		same(t, []byte{})
		same(t, []byte("bytes"))
		same(t, myBytes("bytes"))
		same(t, []int{1, 2, 3})
		same(t, []bool{true, false, true})
		same(t, []uint8{})
		same(t, [][]string{nil, {}, {"", "a"}})
		same(t, []myString{"a", ""})
		same(t, make([]struct{}, 70_000))
		same(t, []flat{{A: 1, D: true}, {B: -1}})
		same(t, []complex128{1, 2i})
		same(t, slices.Repeat([]string{"a", "bb", strings.Repeat("c", 70)}, 500))
	})
	t.Run("arrays", func(t *testing.T) {
		t.Parallel()
		same(t, [0]int{})
		same(t, [0]string{})
		same(t, [3]int16{1, 2, 3})
		same(t, [2][2]string{{"a", "b"}, {"c", ""}})
		same(t, [100]bool{5: true, 99: true})
		same(t, [3]flat{1: {D: true}})
	})
	t.Run("maps", func(t *testing.T) {
		t.Parallel()
		same(t, map[string]string(nil))
		same(t, map[string]string{})
		same(t, map[string]string{"a": "1", "": ""})
		same(t, map[int]int(nil))
		same(t, map[int8]struct{}{1: {}, -1: {}})
		same(t, map[struct{}]struct{}{{}: {}})
		same(t, map[[2]string]map[int]bool{{"a", "b"}: {1: true}, {}: nil})
		same(t, myMap{"a": 1})
		same(t, map[flat]string{{A: 1}: "x"})
		same(t, []map[string]string{{"a": "b"}, {"": ""}, nil, {}})
		same(t, map[any]any{1: "a", "b": 2.5, true: nil})
	})
	t.Run("structs", func(t *testing.T) {
		t.Parallel()
		same(t, struct{}{})
		same(t, flat{-1, math.MinInt64, 9, true, 0.5})
		same(t, mixed{
			A: 1, B: true, Name: "n", C: 1i, D: [3]bool{true, false, true}, E: []flat{{C: 3}}, F: 7, T: now,
			M: map[string][]int{"x": {1}, "nil": nil, "empty": {}},
		})
		same(t, embedded{base: base{1}, hidden: &hidden{2}, Extra: "x"})
		same(t, embedded{})
		same(t, lots{B: [100]bool{99: true}, S: [2]string{"a", "b"}, N: [2]flat{1: {D: true}}})
		same(t, bulky{A: 3})
		same(t, make([]bulky, 300))
		same(t, []struct{ Big [100]int }{{}, {}})
	})
	t.Run("recursive", func(t *testing.T) {
		t.Parallel()
		same(t, tree{Left: &tree{Right: &tree{}}})
		same(t, forst{nil, {}, {{}, nil}})
		same(t, nest{"a": {"b": nil}, "c": {}})
	})
	t.Run("times", func(t *testing.T) {
		t.Parallel()
		same(t, time.Time{})
		same(t, now)
		same(t, now.UTC())
		same(t, time.Duration(-5))
		same(t, []time.Time{now, now.UTC()})
		odd := time.Date(1890, 1, 2, 3, 4, 5, 6, time.FixedZone("LMT", -12345))
		if got := there(t, odd); !got.Equal(odd) || got.Format(time.DateTime) != odd.Format(time.DateTime) {
			t.Errorf("got %v, want %v", got, odd)
		}
		many := make([]time.Time, 1000)
		for i := range many {
			many[i] = odd.In(time.FixedZone("", i*7))
		}
		for i, got := range there(t, many) {
			if _, off := got.Zone(); off != i*7 {
				t.Errorf("got %v, want %v", got, many[i])
			}
		}
		if got := there(t, stamp(now)); !time.Time(got).Equal(now) {
			t.Errorf("got %v, want %v", got, now)
		}
	})
	t.Run("methods", func(t *testing.T) {
		t.Parallel()
		link, err := url.Parse("https://user:pass@example.com/a?b=c#d")
		if err != nil {
			t.Fatal(err)
		}
		same(t, link)
		same(t, *link)
		same(t, netip.MustParseAddr("fe80::1%eth0"))
		same(t, []netip.Addr{{}, netip.MustParseAddr("10.0.0.1")})
		same(t, big.NewInt(-1<<62))
		same(t, []big.Int{*big.NewInt(5), {}})
		same(t, map[string]*big.Rat{"half": big.NewRat(1, 2), "nil": nil})
		same(t, logged{Time: now, Level: 4})
		if got := there(t, regexp.MustCompile("a+b?")); got.String() != "a+b?" {
			t.Errorf("got %v", got)
		}
	})
}

func same[T any](t *testing.T, v T) {
	t.Helper()
	if got := there(t, v); !reflect.DeepEqual(got, v) {
		t.Errorf("got %#v, want %#v", got, v)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	in := chosen{a: 1, b: "two", C: func() {}, Skip: "skipped", skip: []int{3}}
	c := coder[chosen](t)
	b, err := c.Append(nil, &in)
	if err != nil {
		t.Fatal(err)
	}
	out := chosen{C: func() {}, Skip: "stays?", skip: []int{4}}
	if err := c.Decode(b, &out); err != nil {
		t.Fatal(err)
	}
	if out.a != 1 || out.b != "two" || out.C != nil || out.Skip != "" || out.skip != nil {
		t.Errorf("got %+v", out)
	}
}

func TestNaNKeys(t *testing.T) {
	t.Parallel()
	in := map[float64]int{math.NaN(): 1, 2: 2}
	in[math.NaN()] = 3
	sum := 0
	out := there(t, in)
	for _, v := range out {
		sum += v
	}
	if len(out) != 3 || sum != 6 {
		t.Errorf("got %v", out)
	}
}

// TestFresh checks that a decode leaves alone the memory that *v held before.
func TestFresh(t *testing.T) {
	t.Parallel()
	type all struct {
		B []byte
		I []int
		M map[string]int
		P *int
		N big.Int
		X any
	}
	make2 := func(k int) all {
		return all{[]byte{byte(k)}, []int{k}, map[string]int{"k": k}, &k, *big.NewInt(int64(k)), []int{k}}
	}
	c := coder[all](t)
	two := make2(2)
	b, err := c.Append(nil, &two)
	if err != nil {
		t.Fatal(err)
	}
	v := make2(1)
	kept := v
	if err := c.Decode(b, &v); err != nil {
		t.Fatal(err)
	}
	if want := make2(1); !reflect.DeepEqual(kept, want) {
		t.Errorf("what *v held became %+v", kept)
	}
	if !reflect.DeepEqual(v, two) {
		t.Errorf("got %+v, want %+v", v, two)
	}
}
