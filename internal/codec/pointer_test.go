package codec

import (
	"strings"
	"testing"
)

type ring struct {
	Name string
	Next *ring
	Any  any
}

func TestSharedPointers(t *testing.T) {
	t.Parallel()
	t.Run("slice", func(t *testing.T) {
		t.Parallel()
		a, b := 1, 1
		out := there(t, []*int{&a, &b, &a, nil})
		if out[0] != out[2] || out[0] == out[1] || out[3] != nil || *out[1] != 1 {
			t.Errorf("got %v", out)
		}
	})
	t.Run("many", func(t *testing.T) {
		t.Parallel()
		const n = 500 // well past the linear table and several blocks
		in := make([]*int, 0, 2*n)
		for i := range n {
			in = append(in, &i)
		}
		in = append(in, in...)
		out := there(t, in)
		for i := range n {
			if out[i] != out[i+n] || *out[i] != i || i > 0 && out[i] == out[i-1] {
				t.Fatalf("element %d: %p %p %d", i, out[i], out[i+n], *out[i])
			}
		}
	})
	t.Run("one place, two types", func(t *testing.T) {
		t.Parallel()
		type outer struct{ In int }
		o := &outer{3}
		out := there(t, struct {
			O *outer
			I *int
		}{o, &o.In})
		if out.O.In != 3 || *out.I != 3 {
			t.Errorf("got %v %v", *out.O, *out.I)
		}
	})
	t.Run("to nothing", func(t *testing.T) {
		t.Parallel()
		x := 5
		out := there(t, struct {
			A, B *struct{}
			P, Q *int
		}{&struct{}{}, nil, &x, &x})
		if out.A == nil || out.B != nil || out.P != out.Q || *out.P != 5 {
			t.Errorf("got %v", out)
		}
	})
	t.Run("to pointers", func(t *testing.T) {
		t.Parallel()
		x := 5
		p := &x
		pp := &p
		out := there(t, []**int{pp, pp})
		if out[0] != out[1] || **out[0] != 5 {
			t.Errorf("got %v", out)
		}
	})
}

func TestCycles(t *testing.T) {
	t.Parallel()
	Register((*ring)(nil))
	t.Run("ring", func(t *testing.T) {
		t.Parallel()
		a := &ring{Name: "a"}
		a.Next = &ring{Name: "b", Next: a}
		out := there(t, a)
		if out.Next.Next != out || out.Next.Name != "b" {
			t.Errorf("got %v", out)
		}
	})
	t.Run("through an interface", func(t *testing.T) {
		t.Parallel()
		a := &ring{Name: "a"}
		a.Any = map[string]any{"self": a}
		out := there(t, a)
		if out.Any.(map[string]any)["self"] != any(out) {
			t.Errorf("got %v", out)
		}
	})
	t.Run("pointer to itself", func(t *testing.T) {
		t.Parallel()
		type self *self
		var p self
		p = &p
		out := there(t, p)
		if *out == nil || *out != out {
			t.Errorf("got %v", out)
		}
	})
	t.Run("without pointers", func(t *testing.T) {
		t.Parallel()
		m := map[string]any{}
		m["m"] = m
		s := make(forst, 1)
		s[0] = s
		dst := []byte("dst")
		b, err := coder[map[string]any](t).Append(dst, &m)
		deepError(t, b, err)
		b, err = coder[forst](t).Append(dst, &s)
		deepError(t, b, err)
	})
}

func deepError(t *testing.T, b []byte, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "nested more than 10000 deep") || len(err.Error()) > 1000 {
		t.Errorf("got %v", err)
	}
	if string(b) != "dst" {
		t.Errorf("dst became %d bytes", len(b))
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	chain := func(n int) *tree {
		var top *tree
		for range n {
			top = &tree{Left: top}
		}
		return top
	}
	c := coder[*tree](t)
	most := chain(maxDepth - 1) // the last one's nil counts as well
	b, err := c.Append(nil, &most)
	if err != nil {
		t.Fatal(err)
	}
	var out *tree
	if err := c.Decode(b, &out); err != nil {
		t.Fatal(err)
	}
	more := chain(maxDepth)
	if _, err := c.Append([]byte("dst"), &more); err == nil {
		t.Error("no error")
	}
	deep := make([]byte, 0, 8*maxDepth)
	for range 2 * maxDepth {
		deep = append(deep, pointerNew, 0, 0, 0)
	}
	if err := c.Decode(deep, &out); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("got %v", err)
	}
}
