package frozen

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// The benchmarks look up keys in random order, in a table and in the Go map that it was made of. Keys that are strings
// are not the map's own, which would be found by their address, and the value is looked at. Run them with -cpu 1.

const (
	many = 1_000_000
	few  = 1_000
)

func BenchmarkStringString(b *testing.B) { benchmark(b, many, stringKey, stringValue, touchString) }
func BenchmarkStringStringFew(b *testing.B) {
	benchmark(b, few, stringKey, stringValue, touchString)
}
func BenchmarkIntString(b *testing.B) { benchmark(b, many, intKey, stringValue, touchString) }
func BenchmarkIntStringFew(b *testing.B) {
	benchmark(b, few, intKey, stringValue, touchString)
}

func BenchmarkInt64Int64(b *testing.B)    { benchmark(b, many, int64Key, int64Value, touchInt64) }
func BenchmarkInt64Int64Few(b *testing.B) { benchmark(b, few, int64Key, int64Value, touchInt64) }
func BenchmarkStringInt(b *testing.B)     { benchmark(b, many, stringKey, intKey, touchInt) }
func BenchmarkStringIntFew(b *testing.B)  { benchmark(b, few, stringKey, intKey, touchInt) }
func BenchmarkString100Int(b *testing.B)  { benchmark(b, many/4, longKey, intKey, touchInt) }
func BenchmarkScatteredInts(b *testing.B) { benchmark(b, many, scattered, int64Value, touchInt64) }

func stringKey(i int) string   { return fmt.Sprintf("key-%06d", i) }
func longKey(i int) string     { return fmt.Sprintf("%090d-%06d", 0, i) }
func stringValue(i int) string { return fmt.Sprintf("value of %011d", i) }
func intKey(i int) int         { return i }
func int64Key(i int) int64     { return int64(i) }
func int64Value(i int) int64   { return int64(i) * 3 }
func scattered(i int) int64    { return int64(uint64(i) * 0x9e3779b97f4a7c15) }

func touchString(s string) int { return int(s[len(s)-1]) }
func touchInt(i int) int       { return i }
func touchInt64(i int64) int   { return int(i) }

func benchmark[K comparable, V any](b *testing.B, n int, key func(int) K, value func(int) V, touch func(V) int) {
	m := make(map[K]V)
	for i := range n {
		m[key(i)] = value(i)
	}
	frozen := freeze(b, m)
	hits, misses := make([]K, n), make([]K, n)
	for i, j := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		hits[i], misses[i] = key(j), key(n+j)
	}
	own(hits)
	own(misses)
	runtime.GC()
	for _, test := range []struct {
		name string
		keys []K
	}{{"hit", hits}, {"miss", misses}} {
		b.Run(test.name+"/frozen", func(b *testing.B) {
			sum, i := 0, 0
			for b.Loop() {
				if v, ok := frozen.Get(test.keys[i]); ok {
					sum += touch(v)
				}
				if i++; i == n {
					i = 0
				}
			}
			sink = sum
		})
		b.Run(test.name+"/map", func(b *testing.B) {
			sum, i := 0, 0
			for b.Loop() {
				if v, ok := m[test.keys[i]]; ok {
					sum += touch(v)
				}
				if i++; i == n {
					i = 0
				}
			}
			sink = sum
		})
	}
}

var sink int

// own lays the bytes of keys behind one another, in the order of their use, so that reading them takes little time.
func own[K any](keys []K) {
	s, ok := any(keys).([]string)
	if !ok {
		return
	}
	all := strings.Join(s, "")
	for i, k := range s {
		s[i], all = all[:len(k)], all[len(k):]
	}
}

func freeze[K comparable, V any](tb testing.TB, m map[K]V) *Map[K, V] {
	tb.Helper()
	n, size, err := Size(maps.All(m))
	if err != nil {
		tb.Fatal(err)
	}
	mem := shared(tb, size)
	if err := Fill(mem, n, maps.All(m)); err != nil {
		tb.Fatal(err)
	}
	frozen, err := Open[K, V](mem)
	if err != nil {
		tb.Fatal(err)
	}
	return frozen
}

func BenchmarkFreeze(b *testing.B) {
	m := make(map[string]string)
	for i := range many {
		m[stringKey(i)] = stringValue(i)
	}
	for b.Loop() {
		freeze(b, m)
	}
}

func BenchmarkAll(b *testing.B) {
	m := make(map[string]string)
	for i := range many {
		m[stringKey(i)] = stringValue(i)
	}
	frozen := freeze(b, m)
	b.Run("frozen", func(b *testing.B) {
		for b.Loop() {
			for k, v := range frozen.All() {
				sink += len(k) + len(v)
			}
		}
	})
	b.Run("map", func(b *testing.B) {
		for b.Loop() {
			for k, v := range m {
				sink += len(k) + len(v)
			}
		}
	})
}
