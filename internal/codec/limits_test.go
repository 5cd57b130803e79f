package codec

import (
	"encoding/binary"
	"reflect"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
)

// allocated gives the bytes of memory that f asks for. What other goroutines do
// counts as well, so tests that use it are not parallel.
func allocated(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}

// mostMemory is what a decoder may ask for, whatever the input is.
func mostMemory(input int) uint64 { return 16*uint64(input) + 1<<20 }

func words(vs ...uint32) []byte {
	var b []byte
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// TestBadInput decodes what no encoder wrote. It is not parallel, as it looks at
// the memory of the process.
func TestBadInput(t *testing.T) {
	const most = 0xfffffffe
	type wide struct {
		Kids []wide
		B    [1000]byte
	}
	twice := append(words(2), append(words(1, 1), make([]byte, 100)...)...)
	tests := []struct {
		name string
		typ  reflect.Type
		src  []byte
		want string
	}{
		{"string", reflect.TypeFor[string](), words(most), "end too early"},
		{"nil string", reflect.TypeFor[string](), words(null), "end too early"},
		{"slice of numbers", reflect.TypeFor[[]int](), words(most, 1, 2), "end too early"},
		{"slice of strings", reflect.TypeFor[[]string](), words(most, 0, 0), "end too early"},
		{"map", reflect.TypeFor[map[string]int](), words(most, 0, 0, 0), "end too early"},
		{"map of nothing", reflect.TypeFor[map[struct{}]struct{}](), words(most, 0, 0, 0), "end too early"},
		{"key twice", reflect.TypeFor[map[int32]struct{}](), twice, "[1]: a key that is there twice"},
		{"string key twice", reflect.TypeFor[map[string]string](), append(words(2), make([]byte, 100)...), "[\"\"]: a key that is there twice"},
		{"bool", reflect.TypeFor[bool](), []byte{2}, "neither 0 nor 1"},
		{"bool in a struct", reflect.TypeFor[struct {
			A int32
			B [4]bool
		}](), words(0, 0x01000201), "neither 0 nor 1"},
		{"bool in a slice", reflect.TypeFor[[]bool](), append(words(2), 0, 3), "[1]: a bool that is neither"},
		{"time", reflect.TypeFor[time.Time](), words(0, 0, 1_000_000_000, 0), "nanoseconds"},
		{"reference to nothing", reflect.TypeFor[*int](), words(2), "is not there"},
		{"reference to another type", reflect.TypeFor[struct {
			A *int32
			B *uint32
		}](), words(1, 5, 2), ".B: a pointer to an object that is not there"},
		{"type not named", reflect.TypeFor[any](), words(ifaceFirst), "not named"},
		{"type not known", reflect.TypeFor[any](), append(words(ifaceNew, 3), "abc"...), "\"abc\" is not registered"},
		{"remote in an any", reflect.TypeFor[any](), words(ifaceRemote, 0, 0, 0, 0), "is no interface"},
		{"skipped bulk", reflect.TypeFor[[]bulky](), append(words(5000), make([]byte, 5000)...), "end too early"},
		{"slices in slices", reflect.TypeFor[forst](), claims(10_000), "more memory"},
		{"structs in slices", reflect.TypeFor[[]wide](), append(words(1, 1, 1, 1, 1, 1, 1, 1), make([]byte, 1024)...), "end too early"},
		{"empty maps", reflect.TypeFor[[]map[string]string](), append(words(25_000), make([]byte, 100_000)...), "end too early"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := For(test.typ)
			if err != nil {
				t.Fatal(err)
			}
			out := reflect.New(test.typ)
			got := allocated(func() { err = p.Decode(test.src, out.UnsafePointer()) })
			if err == nil {
				t.Fatalf("no error, got %v", out.Elem())
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want it to say %q", err, test.want)
			}
			if limit := mostMemory(len(test.src)); got > limit {
				t.Errorf("%d bytes of memory for %d of input, at most %d are allowed", got, len(test.src), limit)
			}
		})
	}
}

// claims are nested slices, each of which claims all bytes that are left.
func claims(n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, words(uint32(n-1-i))...)
	}
	return append(b, 0)
}

// TestMemory decodes values that take the most memory for their bytes.
func TestMemory(t *testing.T) {
	const n = 100_000
	maps := make([]map[string]string, n)
	pointers := make([]*bool, n)
	empty := make([]map[[4]int]bool, n)
	anys := make([]any, n)
	zones := make([]time.Time, n)
	bytes1 := make([][]byte, n)
	nested := make([][][]*int8, n)
	ints := make(map[int16]int8)
	for i := range n {
		maps[i] = map[string]string{"": ""}
		pointers[i] = new(bool)
		empty[i] = map[[4]int]bool{}
		anys[i] = []int{}
		zones[i] = time.Unix(0, 0).In(time.FixedZone("", i))
		bytes1[i] = []byte{1}
		nested[i] = [][]*int8{{new(int8)}}
		ints[int16(i)] = 1
	}
	memoryOf(t, "maps", maps)
	memoryOf(t, "pointers", pointers)
	memoryOf(t, "empty", empty)
	memoryOf(t, "anys", anys)
	memoryOf(t, "zones", zones)
	memoryOf(t, "bytes", bytes1)
	memoryOf(t, "nested", nested)
	memoryOf(t, "ints", ints)
	memoryOf(t, "bulky", make([]bulky, 1000))
	memoryOf(t, "pointers to bulky", []*bulky{{}, {}, {}})
	memoryOf(t, "nothing", make([]struct{}, 1<<31))
	memoryOf(t, "records", records(10_000))
}

func memoryOf[T any](t *testing.T, name string, v T) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		c := coder[T](t)
		b, err := c.Append(nil, &v)
		if err != nil {
			t.Fatal(err)
		}
		var out T
		got := allocated(func() { err = c.Decode(b, &out) })
		if err != nil {
			t.Fatal(err)
		}
		// Little of the 1 MB that is for free is needed: the runtime counts by
		// the span, not by the object.
		if limit := 16*uint64(len(b)) + 256<<10; got > limit {
			t.Errorf("%d bytes of memory for %d of input: %.1f times", got, len(b), float64(got)/float64(len(b)))
		}
		t.Logf("%.1f times the input", float64(got)/float64(len(b)))
	})
}

func TestLongPaths(t *testing.T) {
	t.Parallel()
	v := strings.Repeat("k", 1000)
	m := map[string]any{v: map[string]any{"b\n": unreg{}}}
	_, err := coder[map[string]any](t).Append(nil, &m)
	if want := "brine: encode map[string]interface {}[][\"b\\n\"]: type codec.unreg is not registered"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want it to begin with %s", err, want)
	}
}
