package codec

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
	"unsafe"
)

func TestFixedSize(t *testing.T) {
	t.Parallel()
	check := func(name string, typ reflect.Type, want int, wantOK bool) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := For(typ)
			if err != nil {
				t.Fatal(err)
			}
			if n, ok := p.FixedSize(); n != want || ok != wantOK {
				t.Errorf("got %d, %v, want %d, %v", n, ok, want, wantOK)
			}
		})
	}
	check("int", reflect.TypeFor[int](), 8, true)
	check("struct with padding", reflect.TypeFor[flat](), int(unsafe.Sizeof(flat{})), true)
	check("empty", reflect.TypeFor[struct{}](), 0, true)
	check("time", reflect.TypeFor[time.Time](), 16, true)
	check("array of times", reflect.TypeFor[[3]time.Time](), 48, true)
	check("struct with a time", reflect.TypeFor[struct {
		A int
		T time.Time
		B int32
	}](), 28, true)
	check("blank bulk", reflect.TypeFor[struct {
		A int32
		_ [60]byte
		B int32
	}](), 9, true)
	check("blank pointer", reflect.TypeFor[struct {
		A int64
		_ *int
		B int64
	}](), 16, true)
	check("blank pointer inside", reflect.TypeFor[struct {
		In struct {
			A int64
			_ *int
		}
		B int64
	}](), 16, true)
	check("skipped bulk", reflect.TypeFor[bulky](), 626, true)
	check("string", reflect.TypeFor[string](), 0, false)
	check("pointer", reflect.TypeFor[*int](), 0, false)
	check("any", reflect.TypeFor[any](), 0, false)
	check("methods", reflect.TypeFor[netip.Addr](), 0, false)
}

func TestSliceOfFixed(t *testing.T) {
	t.Parallel()
	type timed struct {
		N int
		T time.Time
	}
	t.Run("copied", func(t *testing.T) { t.Parallel(); runs(t, []flat{{A: 1, D: true}, {B: 2}}) })
	t.Run("stepwise", func(t *testing.T) { t.Parallel(); runs(t, []timed{{1, time.Unix(5, 6)}, {2, time.Time{}}}) })
	t.Run("none", func(t *testing.T) { t.Parallel(); runs(t, []int{}) })
	t.Run("empty", func(t *testing.T) { t.Parallel(); runs(t, make([]struct{}, 5)) })
	t.Run("not fixed", func(t *testing.T) {
		t.Parallel()
		c := coder[string](t)
		if b, err := c.AppendSlice([]byte("x"), []string{"a"}); err == nil || string(b) != "x" {
			t.Errorf("got %q, %v", b, err)
		}
		if err := c.DecodeSlice(nil, nil); err == nil {
			t.Error("no error")
		}
	})
	t.Run("bad bool", func(t *testing.T) {
		t.Parallel()
		vs := []bool{true, true}
		if err := coder[bool](t).DecodeSlice([]byte{0, 2}, vs); err == nil || !vs[0] || !vs[1] {
			t.Errorf("got %v, %v", vs, err)
		}
	})
}

func runs[T any](t *testing.T, vs []T) {
	t.Helper()
	c := coder[T](t)
	b, err := c.AppendSlice(nil, vs)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]T, len(vs))
	if err := c.DecodeSlice(b, out); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(out, vs) {
		t.Errorf("got %v, want %v", out, vs)
	}
	if n, _ := c.FixedSize(); n > 0 {
		if err := c.DecodeSlice(append(b, 0), out); err == nil {
			t.Error("no error for a byte too many")
		}
	}
}
