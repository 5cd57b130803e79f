package frozen

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"testing"
)

// pairs is a sequence that may have a key twice.
type pairs[K, V any] []struct {
	k K
	v V
}

func (p pairs[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, e := range p {
			if !yield(e.k, e.v) {
				return
			}
		}
	}
}

func TestFillFindsChanges(t *testing.T) {
	t.Parallel()
	texts := pairs[string, string]{{"a", "1"}, {"b", "22"}, {"c", "333"}}
	changed(t, "an entry less", texts, texts[:2])
	changed(t, "an entry more", texts, append(texts[:3:3], texts[0]))
	changed(t, "an empty entry more", texts, append(texts[:3:3], pairs[string, string]{{"", ""}}...))
	changed(t, "a longer key", texts, pairs[string, string]{{"a", "1"}, {"bb", "22"}, {"c", "333"}})
	changed(t, "a longer value", texts, pairs[string, string]{{"a", "1"}, {"b", "22"}, {"c", "4444"}})
	changed(t, "a much longer value", texts, pairs[string, string]{{"a", strings.Repeat("x", 1000)}, {"b", ""}, {"c", ""}})
	changed(t, "a shorter value", texts, pairs[string, string]{{"a", "1"}, {"b", "2"}, {"c", "333"}})
	changed(t, "nothing left", texts, nil)
	changed(t, "something at last", nil, texts)
	numbers := pairs[int, int]{{1, 1}, {2, 2}}
	changed(t, "a number less", numbers, numbers[:1])
	changed(t, "a number more", numbers, append(numbers[:2:2], pairs[int, int]{{3, 3}}...))
	mixed := pairs[int, string]{{1, "a"}, {2, strings.Repeat("b", longRef)}}
	changed(t, "a long value shorter", mixed, pairs[int, string]{{1, "a"}, {2, "b"}})
	changed(t, "a long value longer", mixed, pairs[int, string]{{1, mixed[1].v}, {2, mixed[1].v}})
}

func changed[K, V any](t *testing.T, title string, before, after pairs[K, V]) {
	t.Helper()
	n, size, err := Size(before.all())
	if err != nil {
		t.Fatal(err)
	}
	mem := make([]byte, size)
	if err := Fill(mem, n, after.all()); !errors.Is(err, errChanged) {
		t.Errorf("%s: %v, want %v", title, err, errChanged)
	}
	if _, err := Open[K, V](mem); err == nil {
		t.Errorf("%s: there is a table after an error", title)
	}
}

func TestFillFindsKeysThatComeTwice(t *testing.T) {
	t.Parallel()
	twice(t, pairs[string, int]{{"a", 1}, {"key", 1}, {"b", 1}, {"key", 2}}, `the key "key" is there twice`)
	twice(t, pairs[string, int]{{"", 1}, {"", 1}}, `the key "" is there twice`)
	twice(t, pairs[int32, string]{{-7, "a"}, {1, ""}, {-7, "b"}}, `the key -7 is there twice`)
	twice(t, pairs[uint64, int8]{{1 << 63, 1}, {1 << 63, 1}}, `the key 9223372036854775808 is there twice`)
}

// TestFillFindsOneKeyThatComesTwice among many, so that others share its bucket.
func TestFillFindsOneKeyThatComesTwice(t *testing.T) {
	t.Parallel()
	var p pairs[int, string]
	for i := range 1000 {
		p = append(p, pairs[int, string]{{i, "value"}}...)
	}
	for i := range 20 {
		p[999].k = i * 37
		twice(t, p, fmt.Sprintf("the key %d is there twice", i*37))
	}
}

// TestFillStops reading a sequence that doesn't end.
func TestFillStops(t *testing.T) {
	t.Parallel()
	endless := func(yield func(int, int) bool) {
		for i := 0; yield(i, i); i++ {
			if i == 10 {
				t.Error("read on behind the last entry")
				return
			}
		}
	}
	n, size, err := Size(pairs[int, int]{{1, 1}}.all())
	if err != nil {
		t.Fatal(err)
	}
	if err := Fill(make([]byte, size), n, endless); !errors.Is(err, errChanged) {
		t.Errorf("%v, want %v", err, errChanged)
	}
}

func twice[K, V any](t *testing.T, p pairs[K, V], want string) {
	t.Helper()
	n, size, err := Size(p.all())
	if err != nil {
		t.Fatal(err)
	}
	if err := Fill(make([]byte, size), n, p.all()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestFillRefusesMemory(t *testing.T) {
	t.Parallel()
	seq := maps.All(map[string]int{"a": 1, "b": 2})
	n, size, err := Size(seq)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		n    int
		size int64
	}{{n, 0}, {n, 1}, {n, 127}, {n, 128}, {n, size - 1}, {n, size + 1}, {-1, size}, {n + 1, size}, {n - 1, size}, {1 << 30, size}} {
		if err := Fill(make([]byte, test.size), test.n, seq); err == nil {
			t.Errorf("no error for %d entries in %d bytes, though it is %d in %d", test.n, test.size, n, size)
		}
	}
}

func TestRefusedTypes(t *testing.T) {
	t.Parallel()
	seq := maps.All(map[string]any{"a": 1})
	if _, _, err := Size(seq); err == nil {
		t.Error("Size measured values of type any")
	}
	if err := Fill(make([]byte, 1000), 1, seq); err == nil {
		t.Error("Fill copied values of type any")
	}
	if _, err := Open[string, any](make([]byte, 1000)); err == nil {
		t.Error("Open opened values of type any")
	}
}

// TestFillTriesOtherSeeds has random numbers that don't do: a key that is the mark of empty slots, and a secret with which
// all hashes are the same.
func TestFillTriesOtherSeeds(t *testing.T) {
	t.Parallel()
	bad := []uint64{5, 3, 1000, 0, 0, 0, 0}
	numbers := map[int]int{3: 4, 5: 6, 7: 8}
	used := 0
	random := func() uint64 {
		if used++; used <= len(bad) {
			return bad[used-1]
		}
		return randomWord()
	}
	n, size, err := Size(maps.All(numbers))
	if err != nil {
		t.Fatal(err)
	}
	mem := make([]byte, size)
	if err := fill(mem, n, maps.All(numbers), random); err != nil {
		t.Fatal(err)
	}
	if used < len(bad)+4 {
		t.Errorf("%d random numbers were used, want at least %d", used, len(bad)+4)
	}
	m, err := Open[int, int](mem)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, m, numbers)
	if _, ok := m.Get(1000); ok || m.empty != 1000 {
		t.Errorf("the mark of empty slots, %d, is a key: %t", m.empty, ok)
	}
	if err := fill(make([]byte, size), n, maps.All(numbers), func() uint64 { return 0 }); err == nil {
		t.Error("a table was made without any random number")
	}
}
