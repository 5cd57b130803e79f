package brine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		opts brine.Options
	}{
		{"Workers", brine.Options{Workers: -1}},
		{"MaxTasks", brine.Options{MaxTasks: -1}},
		{"MaxMemory", brine.Options{MaxMemory: -1}},
		{"MaxMemory", brine.Options{MaxMemory: 1 << 20}},
		{"InFlight", brine.Options{InFlight: -1}},
		{"Grace", brine.Options{Grace: -1}},
		{"nowhere", brine.Options{Codec: unregisteredCodec{brine.JSON}}},
	} {
		within(t, 10*time.Second, test.name, func() {
			pool, err := brine.Open(t.Context(), counters, 1, &test.opts)
			if err == nil {
				pool.Close()
				t.Errorf("%s: no error", test.name)
			} else if !strings.Contains(err.Error(), test.name) || !strings.HasPrefix(err.Error(), "brine: ") {
				t.Errorf("%s: the error does not name it: %v", test.name, err)
			}
		})
	}
	// Zero is the default, as is nil.
	for _, opts := range []*brine.Options{nil, {}} {
		pool := open(t, counters, 1, opts)
		if s := pool.Stats(); s.Workers < 1 {
			t.Errorf("%d workers by default", s.Workers)
		}
		if n, err := brine.Call(t.Context(), pool, add, 1); n != 2 || err != nil {
			t.Error(n, err)
		}
	}
}

type unregisteredCodec struct{ brine.Codec }

func (unregisteredCodec) Name() string { return "nowhere" }

func TestBadLimits(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 1, &brine.Options{Workers: 1})
	for name, limits := range map[string]brine.Limits{
		"Timeout": {Timeout: -1}, "Retries": {Retries: -1}, "Chunk": {Chunk: -1},
	} {
		f := func() (f brine.Func[*counter, int, int]) {
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("%s: With panics: %v", name, v)
				}
			}()
			return add.With(limits)
		}()
		badEverywhere(t, pool, f, name)
	}
}

// badEverywhere gives a function to all verbs and wants an error that mentions the text, with no task run.
func badEverywhere[S any](t *testing.T, pool *brine.Pool[S], f brine.Func[S, int, int], text string) {
	t.Helper()
	verbs := map[string]func() error{
		"Call": func() error { _, err := brine.Call(t.Context(), pool, f, 1); return err },
		"Map":  func() error { _, err := brine.Map(t.Context(), pool, f, []int{1, 2}); return err },
		"Go":   func() error { _, err := brine.Go(t.Context(), pool, f, 1).Wait(t.Context()); return err },
		"All": func() error {
			var errs []error
			for _, err := range brine.All(t.Context(), pool, f, upTo(3)) {
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		},
		"Unordered": func() error {
			var errs []error
			for r := range brine.Unordered(t.Context(), pool, f, upTo(3)) {
				errs = append(errs, r.Err)
			}
			return errors.Join(errs...)
		},
	}
	for verb, run := range verbs {
		within(t, 10*time.Second, verb, func() {
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("%s with a bad %s panics: %v", verb, text, v)
				}
			}()
			if err := run(); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v, want an error that mentions %q", verb, err, text)
			}
		})
	}
}

func TestBadFunctions(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 1, &brine.Options{Workers: 1})
	badEverywhere(t, pool, brine.Func[*counter, int, int]{}, "zero")
	badEverywhere(t, pool, brine.Func[*counter, int, int]{}.With(brine.Limits{Retries: 1}), "zero")
	badEverywhere(t, pool, brine.Bind(brine.BoundFunc[*counter, int, int, int]{}, 1), "zero")
	if name := (brine.Func[*counter, int, int]{}).Name(); name == "" {
		t.Error("the zero Func has no name to say so")
	}
	badEverywhere[*counter](t, nil, add, "nil")
	// A function of another kind whose state is of the same type compiles; its types were not checked by Open.
	stateless := open(t, echoKinds, 0, &brine.Options{Workers: 1})
	if n, err := brine.Call(t.Context(), stateless, double, 2); n != 4 || err != nil {
		t.Errorf("a plain function on a kind of its own whose state is struct{}: %d, %v", n, err)
	}
	ints := open(t, intKinds, 0, &brine.Options{Workers: 1})
	if _, err := brine.Call(t.Context(), ints, refusedFunction, hasChan{}); err == nil || !strings.Contains(err.Error(), "kind") && !strings.Contains(err.Error(), "Inner.Deep") {
		t.Errorf("a method of another kind, with a type that can't be sent: %v", err)
	}
	within(t, 10*time.Second, "a nil kind", func() {
		defer func() {
			if v := recover(); v != nil {
				t.Errorf("Open of a nil kind panics: %v", v)
			}
		}()
		if _, err := brine.Open[int, int](t.Context(), nil, 1, nil); err == nil {
			t.Error("Open of a nil kind: no error")
		}
	})
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"marshal error", "marshal panic", "unmarshal error", "unmarshal panic", "unmarshal exit"} {
		within(t, 20*time.Second, how, func() {
			pool, err := brine.Open(t.Context(), poisonKinds, poison{how}, &brine.Options{Workers: 2, Stderr: io.Discard})
			t.Log(err)
			if err == nil {
				pool.Close()
				t.Errorf("%s: no error", how)
			} else if !strings.HasPrefix(err.Error(), "brine: ") {
				t.Errorf("%s: %v", how, err)
			}
		})
	}
	within(t, 20*time.Second, "unregistered type", func() {
		if _, err := brine.Open(t.Context(), anyKinds, any(unregistered{1}), nil); err == nil || !strings.Contains(err.Error(), "unregistered") {
			t.Errorf("a config of an unregistered type: %v", err)
		}
	})
	pool := open(t, poisonKinds, poison{"good"}, &brine.Options{Workers: 1})
	if n, err := brine.Call(t.Context(), pool, poisonLength, 0); n != 4 || err != nil {
		t.Error(n, err)
	}
}

var (
	poisonKinds  = brine.DefineNamed("poisonous config", func(_ context.Context, p poison) (poison, error) { return p, nil })
	poisonLength = brine.MethodNamed("poison length", poisonKinds, func(p poison, _ context.Context, _ int) (int, error) { return len(p.how), nil })
	intKinds     = brine.DefineNamed("int kind", func(_ context.Context, n int) (int, error) { return n, nil })
	anyKinds     = brine.DefineNamed("any config", func(_ context.Context, v any) (int, error) { return 0, nil })
)

// A nil context, callback or sequence is a mistake that must not take the pool with it.
func TestBadArguments(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	harmless := map[string]func(){
		"nil context": func() {
			//lint:ignore SA1012 a nil context is the mistake here
			_, _ = brine.Call(nil, pool, double, 1)
		},
		"nil callback": func() { brine.Go(t.Context(), pool, double, 1).Then(nil) },
		"nil sequence": func() {
			for range brine.All(t.Context(), pool, double, nil) {
				continue
			}
		},
		"nil writer": func() { _ = pool.Report(nil) },
	}
	for name, run := range harmless {
		within(t, 10*time.Second, name, func() {
			defer func() { t.Log(name, recover()) }()
			run()
		})
	}
	if n, err := brine.Call(t.Context(), pool, double, 1); n != 2 || err != nil {
		t.Error(n, err)
	}
	if err := pool.Report(refusing{}); err == nil {
		t.Error("Report to a writer that refuses: no error")
	}
}

// The caller's slice is read by Map alone while it runs; what it returns is not the caller's.
func TestMapLeavesItsInputAlone(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	ins := [][]byte{{1}, bytes.Repeat([]byte{2}, 10_000)}
	outs, err := brine.Map(t.Context(), pool, echoBytes, ins)
	if err != nil || !slices.Equal(outs[0], ins[0]) || !slices.Equal(outs[1], ins[1]) {
		t.Fatal(err)
	}
	outs[0][0], outs[1][0] = 9, 9
	if ins[0][0] != 1 || ins[1][0] != 2 {
		t.Error("results and arguments share memory")
	}
}
