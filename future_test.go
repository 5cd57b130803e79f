package brine_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

// lockedBuffer collects what is printed.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestFuture(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	file := t.TempDir() + "/go"
	f := brine.Go(t.Context(), pool, do, deed{How: "await", Log: file, N: 9})
	select {
	case <-f.Done():
		t.Fatal("done before its end")
	default:
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Wait(ctx); err != ctx.Err() { //nolint:errorlint // it is to be this very error
		t.Errorf("Wait with a context that is done: %v", err)
	}
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if n, err := f.Wait(t.Context()); n != 9 || err != nil {
				t.Errorf("Wait = %d, %v", n, err)
			}
		})
	}
	mark(file)
	within(t, 10*time.Second, "Wait", group.Wait)
	<-f.Done()
	// A result that is there is preferred to a context that is done, as one would expect of what costs nothing.
	if n, err := f.Wait(t.Context()); n != 9 || err != nil {
		t.Errorf("Wait again = %d, %v", n, err)
	}
}

func TestThen(t *testing.T) {
	t.Parallel()
	var logged lockedBuffer
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	file := t.TempDir() + "/go"
	var called atomic.Int64
	count := func(n int, err error) {
		if n != 9 || err != nil {
			t.Errorf("callback got %d, %v", n, err)
		}
		called.Add(1)
	}
	f := brine.Go(t.Context(), pool, do, deed{How: "await", Log: file, N: 9})
	for range 3 {
		f.Then(count)
	}
	f.Then(func(int, error) { panic("in a callback") })
	f.Then(func(int, error) { runtime.Goexit() })
	calling := make(chan struct{})
	f.Then(func(n int, err error) { // a callback may use the pool
		defer close(calling)
		if m, err := brine.Call(t.Context(), pool, double, n); m != 18 || err != nil {
			t.Errorf("Call in a callback: %d, %v", m, err)
		}
		called.Add(1)
	})
	f.Then(count)
	if called.Load() != 0 {
		t.Error("called before the end")
	}
	mark(file)
	<-f.Done()
	inner := make(chan struct{})
	f.Then(func(int, error) { close(inner) })
	within(t, 10*time.Second, "Then of a finished future", func() { <-inner })
	f.Then(count)
	within(t, 10*time.Second, "Call in a callback", func() { <-calling })
	errs := make(chan error, 1)
	brine.Go(t.Context(), pool, do, deed{How: "error"}).Then(func(_ int, err error) { errs <- err })
	if _, ok := errors.AsType[*brine.TaskError](<-errs); !ok {
		t.Error("the callback of a failed task has no *TaskError")
	}
	within(t, 10*time.Second, "Close", func() { pool.Close() })
	if n := called.Load(); n != 6 {
		t.Errorf("%d calls, want 6", n)
	}
	if text := logged.String(); !strings.Contains(text, "in a callback") || !strings.Contains(text, "future_test.go") {
		t.Errorf("the panic is not in the log with its stack: %s", text)
	}
	// After Close.
	after := make(chan struct{})
	f.Then(func(n int, err error) { count(n, err); close(after) })
	within(t, 10*time.Second, "Then after Close", func() { <-after })
	g := brine.Go(t.Context(), pool, double, 1)
	after = make(chan struct{})
	g.Then(func(_ int, err error) {
		if !errors.Is(err, brine.ErrClosed) {
			t.Errorf("callback after Close got %v", err)
		}
		close(after)
	})
	within(t, 10*time.Second, "Then of what came after Close", func() { <-after })
}

// A callback that takes its time blocks neither the workers nor other callbacks.
func TestThenBlocksNothing(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	release := make(chan struct{})
	var called atomic.Int64
	for range 200 {
		brine.Go(t.Context(), pool, double, 1).Then(func(int, error) { <-release; called.Add(1) })
	}
	within(t, 10*time.Second, "Call beside callbacks that block", func() {
		if n, err := brine.Call(t.Context(), pool, double, 4); n != 8 || err != nil {
			t.Error(n, err)
		}
	})
	closed := make(chan struct{})
	go func() { defer close(closed); pool.Close() }()
	eventually(t, 10*time.Second, "Close has begun", func() bool {
		_, err := brine.Call(t.Context(), pool, double, 1)
		return errors.Is(err, brine.ErrClosed)
	})
	select {
	case <-closed:
		t.Error("Close did not wait for callbacks")
	default:
	}
	close(release)
	within(t, 10*time.Second, "Close", func() { <-closed })
	if called.Load() != 200 {
		t.Errorf("%d callbacks of 200", called.Load())
	}
}

func TestCloseWaits(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	file := t.TempDir() + "/go"
	first := brine.Go(t.Context(), pool, do, deed{How: "await", Log: file, N: 1})
	futures := make([]*brine.Future[int], 500)
	for i := range futures {
		futures[i] = brine.Go(t.Context(), pool, double, i)
	}
	mapped := make(chan error, 1)
	eventually(t, 10*time.Second, "the second worker works", func() bool { return pool.Stats().Done > 0 })
	closed := make(chan error, 1)
	go func() { closed <- pool.Close() }()
	eventually(t, 10*time.Second, "Close has begun", func() bool {
		_, err := brine.Call(t.Context(), pool, double, 1)
		return errors.Is(err, brine.ErrClosed)
	})
	go func() {
		_, err := brine.Map(t.Context(), pool, double, numbers(10))
		mapped <- err
	}()
	if err := <-mapped; !errors.Is(err, brine.ErrClosed) {
		t.Errorf("Map while closing: %v", err)
	}
	select {
	case err := <-closed:
		t.Errorf("Close did not wait for a task: %v", err)
	default:
	}
	mark(file)
	within(t, 10*time.Second, "Close", func() {
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	for i, f := range futures {
		select {
		case <-f.Done():
		default:
			t.Fatal("Close returned before a future was done")
		}
		if n, err := f.Wait(t.Context()); n != 2*i || err != nil {
			t.Errorf("future %d: %d, %v", i, n, err)
		}
	}
	if n, err := first.Wait(t.Context()); n != 1 || err != nil {
		t.Errorf("the first: %d, %v", n, err)
	}
	within(t, 10*time.Second, "what comes after Close", func() {
		if err := pool.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		pool.Kill()
		if _, err := brine.Call(t.Context(), pool, double, 1); !errors.Is(err, brine.ErrClosed) {
			t.Errorf("Call: %v", err)
		}
		if _, err := brine.Map(t.Context(), pool, double, numbers(10)); !errors.Is(err, brine.ErrClosed) {
			t.Errorf("Map: %v", err)
		}
		if _, err := brine.Go(t.Context(), pool, double, 1).Wait(t.Context()); !errors.Is(err, brine.ErrClosed) {
			t.Errorf("Go: %v", err)
		}
		if s := pool.Stats(); s.Done < 501 || len(workerPIDs(s)) != 0 {
			t.Errorf("Stats after Close: %+v", s)
		}
	})
}

// Several Closes at once, and a Kill into a Close that waits.
func TestCloseAtOnce(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	f := brine.Go(t.Context(), pool, do, deed{How: "hang"})
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() { pool.Close() })
	}
	eventually(t, 10*time.Second, "Close has begun", func() bool {
		_, err := brine.Go(t.Context(), pool, double, 1).Wait(t.Context())
		return errors.Is(err, brine.ErrClosed)
	})
	within(t, 10*time.Second, "Kill of a pool that closes", func() {
		pool.Kill()
		group.Wait()
	})
	if _, err := f.Wait(t.Context()); !errors.Is(err, brine.ErrClosed) {
		t.Errorf("the future: %v", err)
	}
}

func TestKillEndsFutures(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Grace: time.Minute})
	var called atomic.Int64
	var group sync.WaitGroup
	futures := make([]*brine.Future[int], 300)
	for i := range futures {
		group.Add(1)
		futures[i] = brine.Go(t.Context(), pool, do.With(brine.Limits{Retries: 5}), deed{How: []string{"loop", "hang", "wait"}[i%3]})
		futures[i].Then(func(_ int, err error) {
			defer group.Done()
			called.Add(1)
			if !errors.Is(err, brine.ErrClosed) {
				t.Errorf("a callback got %v", err)
			}
		})
	}
	begun := time.Now()
	within(t, 20*time.Second, "Kill", pool.Kill)
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("Kill took %v", d)
	}
	gone(t, pool.Stats())
	for _, f := range futures {
		within(t, 10*time.Second, "Wait", func() {
			if _, err := f.Wait(t.Context()); !errors.Is(err, brine.ErrClosed) {
				t.Errorf("a future ended with %v", err)
			}
		})
	}
	within(t, 10*time.Second, "callbacks", group.Wait)
	within(t, 10*time.Second, "Close and Kill after Kill", func() {
		if err := pool.Close(); err != nil {
			t.Errorf("Close after Kill: %v", err)
		}
		pool.Kill()
	})
}
