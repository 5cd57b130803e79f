package codec

import (
	"reflect"
	"runtime"
	"testing"
)

// TestExplainLarge explains a million entries in next to no memory. It runs alone,
// as what others ask for would count too.
func TestExplainLarge(t *testing.T) {
	large := struct {
		Cache  map[int]string
		Chunks [][]byte
	}{make(map[int]string), make([][]byte, 100)}
	for i := range 1_000_000 {
		large.Cache[i] = "as long as most"
	}
	for i := range large.Chunks {
		large.Chunks[i] = make([]byte, 1<<20)
	}
	v := reflect.ValueOf(&large)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	part := Explain(v.Type().Elem(), v.UnsafePointer())
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("took %d bytes of memory", took)
	}
	if want := int64(4 + 1_000_000*(8+4+15) + 4 + 100*(4+1<<20)); part.Bytes != want {
		t.Errorf("%d bytes, want %d", part.Bytes, want)
	}
	checkSums(t, &part)
}

func BenchmarkExplain(b *testing.B) {
	m := make(map[int]string)
	for i := range 1 << 18 {
		m[i] = "as long as most"
	}
	typ, v := reflect.TypeOf(m), reflect.ValueOf(&m).UnsafePointer()
	plan, err := For(typ)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		var buf []byte
		for b.Loop() {
			if buf, err = plan.Append(buf[:0], v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("explain", func(b *testing.B) {
		for b.Loop() {
			Explain(typ, v)
		}
	})
}
