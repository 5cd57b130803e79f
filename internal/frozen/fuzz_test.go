package frozen

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// opened is a table of some types, as those who read whatever bytes see it.
type opened struct {
	name string
	mem  []byte             // a valid one
	read func([]byte) error // of Open and Check; it looks at all that there is
}

// readers are of all ways in which keys and values are kept.
func readers(tb testing.TB) []opened {
	long := string(bytes.Repeat([]byte("x"), longRef))
	return []opened{
		reader(tb, "string string", pairs[string, string]{{"a", "1"}, {"", ""}, {"key", "value"}, {"a longer key of many bytes", "v"}}),
		reader(tb, "bytes bytes", pairs[[]byte, []byte]{{[]byte("a"), []byte("b")}}),
		reader(tb, "string int64", pairs[string, int64]{{"a", 1}, {"b", 2}, {"", 3}}),
		reader(tb, "string bool", pairs[string, bool]{{"a", true}, {"b", false}}),
		reader(tb, "int string", pairs[int, string]{{0, "a"}, {1, ""}, {2, "value"}}),
		reader(tb, "int8 string", pairs[int8, string]{{1, long}, {2, long[1:]}}),
		reader(tb, "int64 int64", pairs[int64, int64]{{0, 1}, {-1, 2}, {1 << 62, 3}, {3, 3}, {4, 3}, {5, 3}, {6, 3}, {7, 3}}),
		reader(tb, "uint8 bool", pairs[uint8, bool]{{0, true}, {1, false}}),
		reader(tb, "nothing", pairs[string, string]{}),
		reader(tb, "no numbers", pairs[uint32, float32]{}),
	}
}

func reader[K, V any](tb testing.TB, name string, p pairs[K, V]) opened {
	return opened{name, fixed(tb, p.all()), func(mem []byte) error {
		m, err := Open[K, V](mem)
		if err != nil {
			return err
		}
		var k K
		look(m.Get(k))
		for _, e := range p {
			look(m.Get(e.k))
		}
		all := 0
		for k, v := range m.All() {
			look(k, true)
			look(v, true)
			look(m.Get(k))
			if all++; all > len(mem) {
				tb.Fatal("All doesn't end")
			}
		}
		return m.Check()
	}}
}

// look reads every byte of what a table returned.
func look(v any, _ bool) {
	switch v := v.(type) {
	case string:
		_ = bytes.Count([]byte(v), []byte("\x00"))
	case []byte:
		_ = bytes.Count(v, []byte{0})
	case bool:
		_ = []int{1, 2}[map[bool]int{false: 0, true: 1}[v]]
	}
}

// FuzzOpen reads any bytes as a table. They end where the memory does that may be read.
func FuzzOpen(f *testing.F) {
	all := readers(f)
	for i, r := range all {
		if len(r.mem) < 10_000 {
			f.Add(uint8(i), r.mem)
		}
		if err := r.read(r.mem); err != nil {
			f.Fatalf("%s: %v", r.name, err)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, mem []byte) {
		guarded := guard(t, len(mem))
		copy(guarded, mem)
		_ = all[int(which)%len(all)].read(guarded)
	})
}

// TestCorrupt is a short form of FuzzOpen that knows what is where: it puts numbers into the header and the slots that
// are near a limit.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	r := random(t)
	for _, reader := range readers(t) {
		for range 3000 {
			mem := guard(t, len(reader.mem))
			copy(mem, reader.mem)
			for range 1 + r.IntN(3) {
				corrupt(r, mem)
			}
			_ = reader.read(mem)
		}
	}
}

func corrupt(r *rand.Rand, mem []byte) {
	at, n := r.IntN(len(mem)-8), 1+r.IntN(8)
	if r.IntN(2) == 0 {
		at = atEntries + r.IntN(atSecret-atEntries)&^7 // a field
	}
	var v [8]byte
	near := uint64(len(mem)) - uint64(r.IntN(20)) + 10
	switch r.IntN(5) {
	case 0:
		v = [8]byte{byte(r.Uint32())}
	case 1:
		for i := range v {
			v[i] = 0xff
		}
	case 2:
		v = [8]byte{byte(near), byte(near >> 8), byte(near >> 16)}
	case 3:
		copy(v[:], mem[r.IntN(len(mem)-8):])
	case 4:
		slices.Reverse(mem[at:][:n])
		return
	}
	copy(mem[at:], v[:n])
}
