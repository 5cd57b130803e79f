package brine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

// fragile is a worker state that can't be encoded, from an initializer that ends as it is told.
type fragile struct {
	fragileConfig
	//lint:ignore U1000 it is here for its type, which can't be encoded
	mu   sync.Mutex
	done chan struct{}
	on   func()
	//lint:ignore U1000 it is here for its type, which can't be encoded
	process *os.Process
}

type fragileConfig struct {
	Open, Close       string // how they end
	OpenLog, CloseLog string // get a byte for each call
	After             int    // openings that succeed
}

func openFragile(ctx context.Context, c fragileConfig) (*fragile, error) {
	mark(c.OpenLog)
	how := c.Open
	if c.After > 0 {
		if info, err := os.Stat(c.OpenLog); err == nil && info.Size() <= int64(c.After) {
			how = ""
		}
	}
	switch how {
	case "error":
		return nil, fmt.Errorf("no state today: %w", errTaken)
	case "panic":
		panic("initializer panics")
	case "exit":
		os.Exit(4)
	case "exit0":
		os.Exit(0)
	case "goexit":
		runtime.Goexit()
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case "hang":
		hangForEver()
	case "loop":
		spinForEver()
	case "nil":
		return nil, nil
	}
	return &fragile{fragileConfig: c, done: make(chan struct{}), on: func() {}}, nil
}

func (f *fragile) Close() error {
	if f == nil {
		return nil
	}
	mark(f.CloseLog)
	switch f.fragileConfig.Close {
	case "error":
		return fmt.Errorf("can't close: %w", errTaken)
	case "panic":
		panic("Close panics")
	case "hang":
		hangForEver()
	}
	return nil
}

func (f *fragile) Do(ctx context.Context, d deed) (int, error) { return doDeed(ctx, d) }

func (f *fragile) IsNil(context.Context, int) (bool, error) { return f == nil, nil }

// resource is a state of interface type.
type resource interface{ Get() int }

type fixed int

func (f fixed) Get() int { return int(f) }

// valueCloser is a state that is no pointer and has a Close.
type valueCloser struct{ Log string }

func (v valueCloser) Close() error { mark(v.Log); return nil }

var (
	fragiles     = brine.Define(openFragile)
	fragileDo    = brine.Method(fragiles, (*fragile).Do)
	fragileIsNil = brine.Method(fragiles, (*fragile).IsNil)
	resources    = brine.DefineNamed("resource", func(_ context.Context, n int) (resource, error) { return fixed(n), nil })
	get          = brine.MethodNamed("get", resources, func(r resource, _ context.Context, n int) (int, error) { return r.Get() + n, nil })
	valueClosers = brine.DefineNamed("value closer", func(_ context.Context, log string) (valueCloser, error) { return valueCloser{log}, nil })
	valueLog     = brine.MethodNamed("value log", valueClosers, func(v valueCloser, _ context.Context, _ int) (string, error) { return v.Log, nil })
)

// A failing initializer is Open's error, at once; no worker is started again and again.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		how, text string
		target    error
	}{
		{"error", "no state today", errTaken},
		{"panic", "initializer panics", nil},
		{"exit", "4", nil},
		{"exit0", "exit", nil},
		{"goexit", "Goexit", nil},
		{"kill", "killed", nil},
	}
	for _, test := range tests {
		t.Run(test.how, func(t *testing.T) {
			t.Parallel()
			log := t.TempDir() + "/open"
			const workers = 3
			within(t, 20*time.Second, "Open", func() {
				pool, err := brine.Open(t.Context(), fragiles, fragileConfig{Open: test.how, OpenLog: log}, &brine.Options{Workers: workers, Stderr: io.Discard})
				if err == nil || pool != nil {
					t.Fatalf("Open = %v, %v", pool, err)
				}
				t.Log(err)
				if !strings.Contains(err.Error(), test.text) || !strings.HasPrefix(err.Error(), "brine: ") {
					t.Errorf("the error does not say %q after brine: %v", test.text, err)
				}
				if test.target != nil && !errors.Is(err, test.target) {
					t.Errorf("errors.Is does not find %v", test.target)
				}
			})
			opened := marks(t, log)
			if opened < 1 || opened > workers {
				t.Errorf("the initializer ran %d times for %d workers", opened, workers)
			}
			if test.how == "panic" {
				return
			}
			// Nothing is left that could start another.
			for _, command := range childProcesses() {
				if strings.Contains(command, log) {
					t.Errorf("a worker is left: %s", command)
				}
			}
		})
	}
}

func TestOpenIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"wait", "hang", "loop"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			within(t, 20*time.Second, "Open", func() {
				_, err := brine.Open(ctx, fragiles, fragileConfig{Open: how}, &brine.Options{Workers: 2, Grace: 100 * time.Millisecond})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Open = %v", err)
				}
			})
		})
	}
	// But only the start: the pool outlives it.
	ctx, cancel := context.WithCancel(t.Context())
	pool, err := brine.Open(ctx, counters, 1, &brine.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	cancel()
	if n, err := brine.Call(t.Context(), pool, add, 1); n != 2 || err != nil {
		t.Errorf("a pool whose opening context has ended: %d, %v", n, err)
	}
}

func TestStateOncePerWorker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := fragileConfig{OpenLog: dir + "/open", CloseLog: dir + "/close"}
	pool := open(t, fragiles, config, &brine.Options{Workers: 3})
	if n := marks(t, config.OpenLog); n != 3 {
		t.Errorf("%d initializers ran before Open returned, want 3", n)
	}
	if _, err := brine.Map(t.Context(), pool, fragileDo, make([]deed, 1000)); err != nil {
		t.Fatal(err)
	}
	_, err := brine.Call(t.Context(), pool, fragileDo, deed{How: "exit", N: 1})
	_ = as[*brine.CrashError](t, err)
	eventually(t, 10*time.Second, "the dead worker's successor", func() bool { return marks(t, config.OpenLog) == 4 && len(workerPIDs(pool.Stats())) == 3 })
	if n := marks(t, config.CloseLog); n != 0 {
		t.Errorf("%d states closed while the pool runs", n)
	}
	within(t, 20*time.Second, "Close", func() {
		if err := pool.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if opened, closed := marks(t, config.OpenLog), marks(t, config.CloseLog); opened != 4 || closed != 3 {
		t.Errorf("%d opened, %d closed, want 4 and 3: the one that crashed is not", opened, closed)
	}
}

func TestStateClose(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ how, text string }{{"error", "can't close: taken"}, {"panic", "Close panics"}, {"hang", ""}} {
		t.Run(test.how, func(t *testing.T) {
			t.Parallel()
			config := fragileConfig{Close: test.how, CloseLog: t.TempDir() + "/close"}
			pool := open(t, fragiles, config, &brine.Options{Workers: 2, Grace: 200 * time.Millisecond, Stderr: io.Discard})
			begun := time.Now()
			within(t, 20*time.Second, "Close", func() {
				err := pool.Close()
				t.Log(err)
				if err == nil || !strings.Contains(err.Error(), test.text) {
					t.Errorf("Close = %v, want %q", err, test.text)
				}
				if test.how == "error" && !errors.Is(err, errTaken) {
					t.Errorf("errors.Is does not find what Close returned in %v", err)
				}
			})
			if d := time.Since(begun); d > 10*time.Second {
				t.Errorf("Close took %v with 0.2 s of grace", d)
			}
			if n := marks(t, config.CloseLog); n != 2 {
				t.Errorf("%d states closed, want 2", n)
			}
		})
	}
	t.Run("not by Kill", func(t *testing.T) {
		t.Parallel()
		config := fragileConfig{CloseLog: t.TempDir() + "/close"}
		pool := open(t, fragiles, config, &brine.Options{Workers: 2})
		pool.Kill()
		pool.Close()
		if n := marks(t, config.CloseLog); n != 0 {
			t.Errorf("%d states closed by Kill", n)
		}
	})
	t.Run("of a value", func(t *testing.T) {
		t.Parallel()
		log := t.TempDir() + "/close"
		pool := open(t, valueClosers, log, &brine.Options{Workers: 2})
		if s, err := brine.Call(t.Context(), pool, valueLog, 0); s != log || err != nil {
			t.Error(s, err)
		}
		pool.Close()
		if n := marks(t, log); n != 2 {
			t.Errorf("%d states closed, want 2", n)
		}
	})
}

func TestStateTypes(t *testing.T) {
	t.Parallel()
	pool := open(t, resources, 40, &brine.Options{Workers: 1})
	if n, err := brine.Call(t.Context(), pool, get, 2); n != 42 || err != nil {
		t.Errorf("a state of interface type: %d, %v", n, err)
	}
	nils := open(t, fragiles, fragileConfig{Open: "nil"}, &brine.Options{Workers: 1})
	if isNil, err := brine.Call(t.Context(), nils, fragileIsNil, 0); !isNil || err != nil {
		t.Errorf("a nil state: %v, %v", isNil, err)
	}
}

// A worker that can't be replaced, for its initializer fails now: that is logged, work ends with an error, and nothing
// is started again and again.
func TestReplacementFails(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"error", "exit"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			var logged lockedBuffer
			config := fragileConfig{Open: how, After: 1, OpenLog: t.TempDir() + "/open"}
			pool := open(t, fragiles, config, &brine.Options{
				Workers: 1, Stderr: io.Discard, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
			})
			if n, err := brine.Call(t.Context(), pool, fragileDo, deed{N: 1}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			within(t, 30*time.Second, "the task that kills", func() {
				_, err := brine.Call(t.Context(), pool, fragileDo, deed{How: "kill"})
				_ = as[*brine.CrashError](t, err)
			})
			within(t, 30*time.Second, "a task without workers", func() {
				_, err := brine.Call(t.Context(), pool, fragileDo, deed{N: 1})
				t.Log(err)
				if err == nil {
					t.Error("it succeeded")
				}
			})
			if n := marks(t, config.OpenLog); n > 20 {
				t.Errorf("the initializer ran %d times", n)
			}
			if logged.String() == "" {
				t.Error("nothing was logged")
			}
		})
	}
}

// What workers print is handed on whole, also beyond any buffer.
func TestOutput(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer // one Write at a time, and none after Close
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Stdout: &stdout, Stderr: &stderr})
	const each = 3_000_000
	deeds := make([]deed, 6)
	for i := range deeds {
		deeds[i] = deed{How: []string{"stdout", "stderr"}[i%2], N: each}
	}
	within(t, time.Minute, "Map", func() {
		if _, err := brine.Map(t.Context(), pool, do, deeds); err != nil {
			t.Error(err)
		}
		pool.Close()
	})
	for name, b := range map[string]*bytes.Buffer{"stdout": &stdout, "stderr": &stderr} {
		if b.Len() < 3*each || b.Len() > 3*each+3*97_000 {
			t.Errorf("%s has %d bytes of %d", name, b.Len(), 3*each)
		}
	}
}

// refusing is a writer that fails, slowly or with a panic.
type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errors.New("refused") }

// The stdout of workers flooded, 100 MB on stderr, and a writer that refuses: nothing is lost but output.
func TestFlood(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]io.Writer{"discard": io.Discard, "refusing": refusing{}} {
		pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Stdout: w, Stderr: w})
		within(t, time.Minute, name, func() {
			outs, err := brine.Map(t.Context(), pool, do, []deed{
				{How: "stderr", N: 100_000_000}, {N: 1}, {How: "stdout", N: 50_000_000}, {N: 2}, {How: "stdout", N: 1_000_000},
			})
			if name == "discard" && err != nil || outs[1] != 1 || outs[3] != 2 {
				t.Errorf("%v, %v", outs, err)
			}
			_, err = brine.Call(t.Context(), pool, do, deed{How: "goroutine"})
			crash(2, 0, "doDeed")(t, err)
			if c := as[*brine.CrashError](t, err); len(c.Stderr) > 1<<20 || !strings.Contains(c.Cause(), "in a goroutine of the task") {
				t.Errorf("%s: %d bytes of stderr kept, cause %q", name, len(c.Stderr), c.Cause())
			}
		})
	}
}
