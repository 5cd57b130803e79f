package frozen

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// build fills memory of exactly the size that a table needs, and opens it.
func build[K, V any](tb testing.TB, seq iter.Seq2[K, V]) (*Map[K, V], []byte) {
	tb.Helper()
	n, size, err := Size(seq)
	if err != nil {
		tb.Fatal(err)
	}
	mem := make([]byte, size)
	if err := Fill(mem, n, seq); err != nil {
		tb.Fatal(err)
	}
	m, err := Open[K, V](mem)
	if err != nil {
		tb.Fatal(err)
	}
	return m, mem
}

// random returns a source that a failed test can be repeated with.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func randomString(r *rand.Rand) string {
	n := r.IntN(20)
	if r.IntN(10) == 0 {
		n = r.IntN(200)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32() >> r.IntN(24))
	}
	return string(b)
}

type (
	name  string
	count int32
	mark  bool
)

// TestModel compares tables of all kinds of keys and values with Go maps.
func TestModel(t *testing.T) {
	t.Parallel()
	text := randomString
	named := func(r *rand.Rand) name { return name(randomString(r)) }
	i := func(r *rand.Rand) int { return int(r.Uint64()) >> r.IntN(64) }
	i8 := func(r *rand.Rand) int8 { return int8(r.Uint32()) }
	i16 := func(r *rand.Rand) int16 { return int16(r.Uint32()) }
	i32 := func(r *rand.Rand) count { return count(r.Uint32()) }
	i64 := func(r *rand.Rand) int64 { return int64(r.Uint64()) >> r.IntN(64) }
	u := func(r *rand.Rand) uint { return uint(r.Uint64()) >> r.IntN(64) }
	u8 := func(r *rand.Rand) uint8 { return uint8(r.Uint32()) }
	u16 := func(r *rand.Rand) uint16 { return uint16(r.Uint32()) }
	u32 := func(r *rand.Rand) uint32 { return r.Uint32() }
	u64 := func(r *rand.Rand) uint64 { return r.Uint64() << r.IntN(64) }
	ptr := func(r *rand.Rand) uintptr { return uintptr(r.Uint64()) }
	f32 := func(r *rand.Rand) float32 { return float32(r.NormFloat64()) }
	f64 := func(r *rand.Rand) float64 { return r.NormFloat64() }
	boolean := func(r *rand.Rand) mark { return r.IntN(2) == 0 }

	model(t, "string string", text, text)
	model(t, "string int", text, i)
	model(t, "name count", named, i32)
	model(t, "string int8", text, i8)
	model(t, "string int16", text, i16)
	model(t, "string uint8", text, u8)
	model(t, "string uint16", text, u16)
	model(t, "string uint32", text, u32)
	model(t, "string uint64", text, u64)
	model(t, "string float32", text, f32)
	model(t, "string float64", text, f64)
	model(t, "string mark", text, boolean)
	model(t, "int string", i, text)
	model(t, "int8 name", i8, named)
	model(t, "int16 int16", i16, i16)
	model(t, "count count", i32, i32)
	model(t, "int64 int64", i64, i64)
	model(t, "uint float32", u, f32)
	model(t, "uint8 mark", u8, boolean)
	model(t, "uint16 float64", u16, f64)
	model(t, "uint32 uintptr", u32, ptr)
	model(t, "uint64 int8", u64, i8)
	model(t, "uintptr string", ptr, text)
}

func model[K, V comparable](t *testing.T, title string, key func(*rand.Rand) K, value func(*rand.Rand) V) {
	t.Run(title, func(t *testing.T) {
		t.Parallel()
		r := random(t)
		for _, n := range []int{0, 1, 2, 3, 4, 5, 8, 33, 100, 255, 1000, 20_000} {
			want := make(map[K]V, n)
			for range n {
				want[key(r)] = value(r)
			}
			m, _ := build(t, maps.All(want))
			compare(t, m, want)
			for range 1000 {
				k := key(r)
				got, ok := m.Get(k)
				if v, there := want[k]; got != v || ok != there {
					t.Fatalf("of %d entries, Get(%v) = %v, %t, want %v, %t", n, k, got, ok, v, there)
				}
			}
		}
	})
}

// compare looks at a table in all ways.
func compare[K, V comparable](t *testing.T, m *Map[K, V], want map[K]V) {
	t.Helper()
	if err := m.Check(); err != nil {
		t.Error(err)
	}
	if m.Len() != len(want) {
		t.Errorf("Len() = %d, want %d", m.Len(), len(want))
	}
	for k, v := range want {
		if got, ok := m.Get(k); !ok || got != v {
			t.Fatalf("of %d entries, Get(%v) = %v, %t, want %v", len(want), k, got, ok, v)
		}
	}
	all := 0
	for k, v := range m.All() {
		if w, ok := want[k]; !ok || w != v {
			t.Fatalf("All has %v: %v, want %v, %t", k, v, w, ok)
		}
		all++
	}
	if all != len(want) {
		t.Errorf("All has %d entries, want %d", all, len(want))
	}
	for range m.All() { // it may be left
		break
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	r := random(t)
	want := make(map[string]string)
	for range 1000 {
		want[randomString(r)] = randomString(r)
	}
	m, _ := build(t, func(yield func(k, v []byte) bool) {
		for k, v := range want {
			if !yield([]byte(k), []byte(v)) {
				return
			}
		}
	})
	if err := m.Check(); err != nil {
		t.Error(err)
	}
	for k, v := range want {
		got, ok := m.Get([]byte(k))
		if !ok || string(got) != v || cap(got) != len(got) || got == nil {
			t.Fatalf("Get(%q) = %q, %t with capacity %d, want %q", k, got, ok, cap(got), v)
		}
	}
	if _, ok := m.Get([]byte("none")); ok {
		t.Error("an absent key is there")
	}
	all := 0
	for k, v := range m.All() {
		if want[string(k)] != string(v) || cap(k) != len(k) || cap(v) != len(v) {
			t.Fatalf("All has %q: %q, want %q", k, v, want[string(k)])
		}
		all++
	}
	if all != len(want) {
		t.Errorf("All has %d entries, want %d", all, len(want))
	}
}

// TestLengths has values around the length from which a slot doesn't hold it, and keys around each branch of the hash.
func TestLengths(t *testing.T) {
	t.Parallel()
	long, texts := make(map[int]string), make(map[string]string)
	for _, n := range []int{0, 1, longRef - 1, longRef, longRef + 1, 100_000} {
		long[n] = strings.Repeat("x", n)
	}
	for n := range 200 {
		texts[strings.Repeat("k", n)] = strings.Repeat("v", 2*n)
	}
	texts[strings.Repeat("k", 70_000)] = strings.Repeat("v", 70_000)
	m, _ := build(t, maps.All(long))
	compare(t, m, long)
	m2, _ := build(t, maps.All(texts))
	compare(t, m2, texts)
}

func TestExtremes(t *testing.T) {
	t.Parallel()
	numbers := map[int64]uint64{math.MinInt64: math.MaxUint64, math.MaxInt64: 1, 0: 0, -1: 2, 1: 3}
	m, _ := build(t, maps.All(numbers))
	compare(t, m, numbers)
	every := make(map[int8]int8)
	for i := range 256 {
		every[int8(i)] = -int8(i)
	}
	m8, _ := build(t, maps.All(every))
	compare(t, m8, every)
	floats, _ := build(t, maps.All(map[int]float64{1: math.NaN(), 2: math.Inf(-1), 3: math.Copysign(0, -1)}))
	if v, ok := floats.Get(1); !ok || v == v {
		t.Errorf("NaN became %v, %t", v, ok)
	}
	if v, _ := floats.Get(3); !math.Signbit(v) {
		t.Errorf("-0 became %v", v)
	}
}

// TestPatterns has keys that a weak hash would put into the same place.
func TestPatterns(t *testing.T) {
	t.Parallel()
	for shift := range 48 {
		want := make(map[uint64]int)
		for i := range 5000 {
			want[uint64(i)<<shift] = i
		}
		m, _ := build(t, maps.All(want))
		compare(t, m, want)
	}
}

func TestGetCopiesNothing(t *testing.T) {
	t.Parallel()
	m, mem := build(t, maps.All(map[string]string{"key": "a value of some length", "other": ""}))
	v, _ := m.Get("key")
	mem[bytes.Index(mem, []byte("a value"))] = 'A'
	if v != "A value of some length" {
		t.Errorf("the string does not lie in the table: %q", v)
	}
}

// TestGetAllocatesNothing is not parallel, as testing.AllocsPerRun wants it.
func TestGetAllocatesNothing(t *testing.T) {
	texts, _ := build(t, maps.All(map[string]string{"key": "value"}))
	numbers, _ := build(t, maps.All(map[int]string{1: "value"}))
	slices, _ := build(t, func(yield func([]byte, int) bool) { yield([]byte("key"), 1) })
	key := []byte("key")
	for name, get := range map[string]func(){
		"string": func() { texts.Get("key"); texts.Get("none") },
		"number": func() { numbers.Get(1); numbers.Get(2) },
		"[]byte": func() { slices.Get(key) },
	} {
		if n := testing.AllocsPerRun(100, get); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	want := make(map[string]int)
	for i := range 1000 {
		want[fmt.Sprint(i)] = i
	}
	m, _ := build(t, maps.All(want))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for k, v := range want {
				if got, ok := m.Get(k); !ok || got != v {
					t.Errorf("Get(%q) = %d, %t", k, got, ok)
				}
			}
			if err := m.Check(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
