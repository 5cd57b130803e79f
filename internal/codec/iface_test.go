package codec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"
)

type (
	shape  interface{ Area() float64 }
	square struct{ Side float64 }
	circle struct{ R float64 }
	unreg  struct{ A int }
	oneWay struct{ P *int }
	result struct {
		Err   error
		Value any
	}
)

func (s square) Area() float64  { return s.Side * s.Side }
func (c *circle) Area() float64 { return 3 * c.R * c.R }

func TestInterfaces(t *testing.T) {
	t.Parallel()
	Register(square{})
	Register(&circle{})
	Register(oneWay{})
	Register([1]*int{})
	t.Run("built in", func(t *testing.T) {
		t.Parallel()
		for _, v := range []any{
			nil, true, 1, int8(1), uint64(3), 2.5, 1i, "s", "",
			[]byte{1},
			[]any{1, nil, []any{"x"}},
			map[string]any{"a": []int{1}},
			time.Unix(1, 2), time.Second,
			[]string{"a"},
			[]int(nil),
			map[string]string{"a": "b"},
			struct{}{},
			map[any]any{1: 2},
		} {
			same(t, v)
			same(t, []any{v, v, "between", v})
		}
	})
	t.Run("registered", func(t *testing.T) {
		t.Parallel()
		same(t, []shape{square{2}, &circle{1}, nil, (*circle)(nil)})
		same(t, []any{square{2}, &circle{1}})
		x := 5
		same(t, []any{oneWay{&x}, oneWay{}, [1]*int{&x}})
	})
	t.Run("not registered", func(t *testing.T) {
		t.Parallel()
		v := struct{ Items []any }{[]any{1, "x", unreg{}}}
		b, err := coder[struct{ Items []any }](t).Append([]byte("dst"), &v)
		if err == nil || string(b) != "dst" {
			t.Fatalf("got %q, %v", b, err)
		}
		for _, want := range []string{"brine: encode ", ".Items[2]: ", "codec.unreg is not registered", "brine.Register"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("got %q, want it to say %q", err, want)
			}
		}
	})
	t.Run("wrong type", func(t *testing.T) {
		t.Parallel()
		v := any("no shape")
		b, err := coder[any](t).Append(nil, &v)
		if err != nil {
			t.Fatal(err)
		}
		var s shape
		if err := coder[shape](t).Decode(b, &s); err == nil || !strings.Contains(err.Error(), "a string is no codec.shape") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("unhashable key", func(t *testing.T) {
		t.Parallel()
		v := map[any]int{"a": 1}
		b, err := coder[map[any]int](t).Append(nil, &v)
		if err != nil {
			t.Fatal(err)
		}
		// The same with a []int, which was never a key.
		var e encoder
		e.u32(1)
		e.u32(ifaceNew)
		_ = e.string("[]int")
		e.u32(0)
		e.buf = append(e.buf, make([]byte, len(b)+50)...)
		if err := coder[map[any]int](t).Decode(e.buf, &v); err == nil || !strings.Contains(err.Error(), "cannot be one") {
			t.Errorf("got %v", err)
		}
	})
}

func TestErrorFields(t *testing.T) {
	t.Parallel()
	_, perr := fs.Stat(noFS{}, "x")
	out := there(t, result{Err: fmt.Errorf("wrapped: %w", io.EOF), Value: perr})
	var remote *RemoteError
	if !errors.As(out.Err, &remote) || !errors.Is(out.Err, io.EOF) || out.Err.Error() != "wrapped: EOF" {
		t.Errorf("got %#v", out.Err)
	}
	if p, ok := out.Value.(*fs.PathError); !ok || p.Path != "x" || !errors.Is(p, fs.ErrNotExist) {
		t.Errorf("got %#v", out.Value)
	}
	same(t, result{Err: &fs.PathError{Op: "open", Path: "x"}})
	v := result{Value: io.EOF} // in an any it must be registered
	if _, err := coder[result](t).Append(nil, &v); err == nil {
		t.Error("no error")
	}
}

type noFS struct{}

func (noFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	t.Run("again", func(t *testing.T) {
		t.Parallel()
		Register(square{})
		Register(square{})
	})
	t.Run("nil", func(t *testing.T) {
		t.Parallel()
		panics(t, "brine: Register(nil)", func() { Register(nil) })
	})
	t.Run("cannot cross", func(t *testing.T) {
		t.Parallel()
		panics(t, "brine: codec.hook.Run: func cannot be sent", func() { Register(hook{}) })
	})
	t.Run("name clash", func(t *testing.T) {
		t.Parallel()
		type twin struct{ A int }
		Register(twin{})
		func() {
			type twin struct{ B int }
			panics(t, "two types are called github.com/brinepool/brine/internal/codec.twin", func() { Register(twin{}) })
		}()
	})
	t.Run("full names", func(t *testing.T) {
		t.Parallel()
		const pkg = "github.com/brinepool/brine/internal/codec."
		for typ, want := range map[reflect.Type]string{
			reflect.TypeFor[map[string][]*square](): "map[string][]*" + pkg + "square",
			reflect.TypeFor[[3]error]():             "[3]error",
			reflect.TypeFor[time.Duration]():        "time.Duration",
		} {
			if got := fullName(typ); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

func panics(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), want) {
			t.Errorf("panicked with %v, want %q", r, want)
		}
	}()
	f()
}
