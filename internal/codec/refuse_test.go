package codec

import (
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

type (
	hook   struct{ Run func() }
	hooked struct{ Hooks []hook }
	locked struct{ Mu sync.Mutex }
	//lint:ignore U1000 its type is what matters: nothing exported
	private struct{ secret int }
	typo    struct {
		A int `brine:"sned"`
	}
	mapped   struct{ M map[string]*chan int }
	keyed    struct{ M map[chan int]int }
	deep     struct{ Next *deepNext }
	deepNext struct {
		Back *deep
		In   struct{ Bad [2]unsafe.Pointer }
	}
	//lint:ignore U1000 its type is what matters: an embedded one that is no struct
	embedsInt struct{ notStruct }
	//lint:ignore U1000 embedded in the above
	notStruct int

	// textual falls back on text, and what was compiled on the way must not
	// stay: alsoBad is as bad inside as it is beside.
	textual struct {
		Bad  alsoBad
		Self []*textual
		//lint:ignore U1000 its type is what matters
		f func()
	}
	alsoBad  struct{ F func() }
	fallback struct {
		T   textual
		Bad alsoBad
	}
)

func (textual) MarshalText() ([]byte, error) { return []byte("text"), nil }
func (*textual) UnmarshalText(b []byte) error {
	return nil
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const pkg = "codec."
	tests := []struct {
		name string
		typ  reflect.Type
		path string
		says string
	}{
		{"func in a slice", reflect.TypeFor[hooked](), "hooked.Hooks[].Run", "func cannot be sent: leave the field out"},
		{"root is a pointer", reflect.TypeFor[*hooked](), "hooked.Hooks[].Run", "func cannot be sent"},
		{"map of pointers to chan", reflect.TypeFor[mapped](), "mapped.M[]", "chan cannot be sent"},
		{"chan as a key", reflect.TypeFor[keyed](), "keyed.M[key]", "chan cannot be sent"},
		{"mutex", reflect.TypeFor[locked](), "locked.Mu.mu", `tag the field that holds the sync.Mutex brine:"-"`},
		{"atomic", reflect.TypeFor[struct{ N atomic.Int64 }](), "", "unexported field"},
		{"unexported", reflect.TypeFor[private](), "private.secret", `export it, tag it brine:"send" to send it or brine:"-" to leave it out`},
		{"unknown tag", reflect.TypeFor[typo](), "typo.A", `unknown tag brine:"sned"`},
		{"recursive", reflect.TypeFor[deep](), "deep.Next.In.Bad[]", "unsafe.Pointer cannot be sent"},
		{"embedded int", reflect.TypeFor[embedsInt](), "embedsInt.notStruct", "unexported field"},
		{"after a fallback", reflect.TypeFor[fallback](), "fallback.Bad.F", "func cannot be sent"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for range 2 { // the second answer comes from the cache
				_, err := For(test.typ)
				if err == nil {
					t.Fatal("no error")
				}
				if want := "brine: " + pkg + test.path + ": "; test.path != "" && !strings.HasPrefix(err.Error(), want) {
					t.Errorf("got %q, want it to begin with %q", err, want)
				}
				if !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %q, want it to say %q", err, test.says)
				}
			}
		})
	}
	t.Run("unnamed roots", func(t *testing.T) {
		t.Parallel()
		for typ, want := range map[reflect.Type]string{
			reflect.TypeFor[[]hook]():         "brine: []codec.hook.Run: func ",
			reflect.TypeFor[map[int]*hook]():  "brine: map[int]*codec.hook.Run: func ",
			reflect.TypeFor[chan int]():       "brine: chan int: chan ",
			reflect.TypeFor[[]func()]():       "brine: []func(): func ",
			reflect.TypeFor[[2][]hook]():      "brine: [2][]codec.hook.Run: func ",
			reflect.TypeFor[unsafe.Pointer](): "brine: unsafe.Pointer: unsafe.Pointer ",
		} {
			if _, err := For(typ); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: got %v, want it to begin with %q", typ, err, want)
			}
		}
		if _, err := For(nil); err == nil {
			t.Error("no error for nil")
		}
	})
	t.Run("text is the last resort", func(t *testing.T) {
		t.Parallel()
		p, err := For(reflect.TypeFor[textual]())
		if err != nil || p.node.way != asMarshal {
			t.Errorf("got %v, %v", p, err)
		}
		if _, err := For(reflect.TypeFor[alsoBad]()); err == nil {
			t.Error("no error for what the text hides")
		}
	})
}

func TestForIsShared(t *testing.T) {
	t.Parallel()
	type mine struct {
		Next *mine
		S    []string
	}
	var group sync.WaitGroup
	plans := make([]*Plan, 16)
	for i := range plans {
		group.Go(func() {
			var err error
			if plans[i], err = For(reflect.TypeFor[mine]()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, p := range plans {
		if p != plans[0] {
			t.Error("two plans of one type")
		}
	}
}
