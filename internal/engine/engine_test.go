//go:build linux

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/shm"
)

// patience is how long a test waits for what should take milliseconds.
const patience = 20 * time.Second

func config(mode string, workers int) Config {
	return Config{
		Workers: workers, Grace: 5 * time.Second, Stdout: io.Discard, Stderr: io.Discard, Logger: slog.New(slog.DiscardHandler),
		Path: "/proc/self/exe", Args: []string{"brine: worker of a test"}, Env: append(os.Environ(), childMode+"="+mode, quick),
		Build: testBuild, Kind: "kind", Config: []byte("config"), Arena: testArena,
	}
}

// hurried is a configuration for workers that have to be ended: they get little time to do it by themselves.
func hurried(mode string, workers int) Config {
	cfg := config(mode, workers)
	cfg.Grace = 100 * time.Millisecond
	return cfg
}

func open(t testing.TB, cfg Config) *Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Kill)
	return e
}

// testArena is how large the arenas of a test's workers are.
const testArena = 16 << 20

// work is numbered tasks that are to be answered with their arguments.
type work struct {
	mu       sync.Mutex
	ended    map[int]error
	twice    []int
	flushes  int
	closing  int
	unsent   map[int]bool  // tasks whose argument can't be encoded
	unread   map[int]bool  // tasks whose result can't be decoded
	fill     int           // bytes added to each argument
	slow     time.Duration // what decoding a result takes
	failures map[int]*Failure
}

func (w *work) arg(i int) string { return fmt.Sprintf("task %d%s", i, strings.Repeat(".", w.fill)) }

func (w *work) Estimate(i int) int { return len(w.arg(i)) }

func (w *work) Encode(dst []byte, i int, refs *shm.Refs) ([]byte, error) {
	if w.unsent[i] {
		return nil, errors.New("can't be sent")
	}
	return append(dst, w.arg(i)...), nil
}

func (w *work) Decode(i int, b []byte) error {
	time.Sleep(w.slow)
	if w.unread[i] {
		return errors.New("can't be read")
	}
	var err error
	if string(b) != w.arg(i) {
		err = fmt.Errorf("result %q", b)
	}
	w.end(i, err)
	return nil
}

func (w *work) Fail(i int, f *Failure) {
	w.mu.Lock()
	if w.failures == nil {
		w.failures = make(map[int]*Failure)
	}
	w.failures[i] = f
	w.mu.Unlock()
	w.end(i, fmt.Errorf("cause %d: %w", f.Cause, errors.Join(append(deaths(f), f.Err)...)))
}

func deaths(f *Failure) (errs []error) {
	for _, d := range f.Deaths {
		errs = append(errs, d.Err)
	}
	return errs
}

func (w *work) end(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil {
		w.ended = make(map[int]error)
	}
	if _, ok := w.ended[i]; ok {
		w.twice = append(w.twice, i)
	}
	w.ended[i] = err
}

func (w *work) Flushed() {
	w.mu.Lock()
	w.flushes++
	w.mu.Unlock()
}

func (w *work) Closing() {
	w.mu.Lock()
	w.closing++
	w.mu.Unlock()
}

// await waits for the end of a job of n tasks, and checks that each ended once.
func (w *work) await(t testing.TB, j *Job, n int) {
	t.Helper()
	select {
	case <-j.Done():
	case <-time.After(patience):
		w.mu.Lock()
		defer w.mu.Unlock()
		t.Fatalf("it hangs: %d of %d tasks have ended", len(w.ended), n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ended) != n || len(w.twice) > 0 || (n > 0 && w.flushes == 0) {
		t.Fatalf("%d of %d tasks have ended, these twice: %v; %d flushes", len(w.ended), n, w.twice, w.flushes)
	}
}

// errs returns what the tasks ended with, by their numbers.
func (w *work) errs(n int) []error {
	list := make([]error, n)
	for i := range list {
		list[i] = w.ended[i]
	}
	return list
}

func submit(t testing.TB, e *Engine, n int, set func(*Job)) (*work, *Job) {
	t.Helper()
	w := &work{}
	j := NewJob(context.Background(), e.Function("f"), w, 0)
	if set != nil {
		set(j)
	}
	if err := e.Submit(j, n, false); err != nil {
		t.Fatal(err)
	}
	return w, j
}

func closed(t testing.TB, e *Engine) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- e.Close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("Close hangs")
		return nil
	}
}

func TestTasks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ workers, n, fill int }{
		{1, 1, 0}, {2, 10_000, 0}, {2, 1000, 5000}, {3, 20, 3 << 20}, {2, 0, 0},
	} {
		t.Run(fmt.Sprintf("%d of %d bytes", c.n, c.fill), func(t *testing.T) {
			t.Parallel()
			e := open(t, config("good", c.workers))
			w := &work{fill: c.fill}
			j := NewJob(context.Background(), e.Function("f"), w, 0)
			if err := e.Submit(j, c.n, true); err != nil {
				t.Fatal(err)
			}
			e.Finish(j)
			w.await(t, j, c.n)
			if err := errors.Join(w.errs(c.n)...); err != nil {
				t.Error(err)
			}
			if err := closed(t, e); err != nil {
				t.Error(err)
			}
			if got, want := e.Counts(), (Counts{Done: int64(c.n), Started: int64(c.workers)}); got != want {
				t.Errorf("counts %+v, want %+v", got, want)
			}
		})
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	e := open(t, config("good", 2))
	f := e.Function("f")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 300 {
				w := &work{}
				if err := e.Call(NewJob(context.Background(), f, w, 0)); err != nil {
					t.Error(err)
				}
				if err, ok := w.ended[0]; !ok || err != nil || len(w.twice) > 0 {
					t.Errorf("ended %v, with %v, twice %v", ok, err, w.twice)
				}
			}
		})
	}
	wg.Wait()
	if got := e.Counts().Done; got != 8*300 {
		t.Errorf("%d calls are counted", got)
	}
}

func TestExtend(t *testing.T) {
	t.Parallel()
	e := open(t, config("good", 2))
	w := &work{}
	j := NewJob(context.Background(), e.Function("f"), w, 0)
	if err := e.Submit(j, 1, true); err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		if err := e.Extend(j, n); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-j.Done():
		t.Fatal("done before Finish")
	default:
	}
	e.Finish(j)
	w.await(t, j, 1+99*50)
}

// TestUnsentAndUnread has tasks end that can't be encoded or decoded, and all others be answered.
func TestUnsentAndUnread(t *testing.T) {
	t.Parallel()
	e := open(t, config("good", 2))
	const n = 500
	w := &work{unsent: map[int]bool{0: true, 7: true, 8: true, 9: true, 100: true, n - 1: true}, unread: map[int]bool{1: true, 50: true}}
	j := NewJob(context.Background(), e.Function("f"), w, 10)
	if err := e.Submit(j, n, false); err != nil {
		t.Fatal(err)
	}
	w.await(t, j, n)
	for i, err := range w.errs(n) {
		switch {
		case w.unsent[i]:
			if f := w.failures[i]; f == nil || f.Cause != Unsent {
				t.Errorf("task %d can't be sent: %v", i, err)
			}
		case w.unread[i]:
			if f := w.failures[i]; f == nil || f.Cause != Unread {
				t.Errorf("the result of task %d can't be read: %v", i, err)
			}
		case err != nil:
			t.Errorf("task %d: %v", i, err)
		}
	}
	if got := e.Counts(); got.Failed != 8 || got.Done != n-8 {
		t.Errorf("counts %+v", got)
	}
}

func TestMaxTasks(t *testing.T) {
	t.Parallel()
	cfg := config("good", 2)
	cfg.MaxTasks = 7
	e := open(t, cfg)
	w, j := submit(t, e, 100, nil)
	w.await(t, j, 100)
	if err := errors.Join(w.errs(100)...); err != nil {
		t.Error(err)
	}
	if err := closed(t, e); err != nil {
		t.Error(err)
	}
	if c := e.Counts(); c.Started < 100/7 || c.Started > 30 || c.Deaths != 0 {
		t.Errorf("counts %+v", c)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(*Engine)
	}{
		{"close", func(e *Engine) { _ = e.Close() }},
		{"kill", func(e *Engine) { e.Kill() }},
		{"both at once", func(e *Engine) {
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(e.Kill)
				wg.Go(func() { _ = e.Close() })
			}
			wg.Wait()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := open(t, config("good", 2))
			w, j := submit(t, e, 3, nil)
			w.await(t, j, 3)
			c.end(e)
			c.end(e) // harmless
			j = NewJob(context.Background(), e.Function("f"), &work{}, 0)
			if err := e.Submit(j, 1, false); !errors.Is(err, ErrClosed) {
				t.Errorf("submit: %v", err)
			}
			if err := e.Call(j); !errors.Is(err, ErrClosed) {
				t.Errorf("call: %v", err)
			}
		})
	}
}

// TestKillWithWork kills the pool while tasks run, wait to be run, and wait for more.
func TestKillWithWork(t *testing.T) {
	t.Parallel()
	e := open(t, hurried("hangs", 2))
	w, j := submit(t, e, 1000, nil)
	streaming := &work{}
	stream := NewJob(context.Background(), e.Function("f"), streaming, 0)
	if err := e.Submit(stream, 1, true); err != nil {
		t.Fatal(err)
	}
	e.Kill()
	w.await(t, j, 1000)
	if err := e.Extend(stream, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("extend: %v", err)
	}
	e.Finish(stream)
	streaming.await(t, stream, 1)
	for i, err := range append(w.errs(1000), streaming.errs(1)...) {
		if !errors.Is(err, ErrClosed) {
			t.Fatalf("task %d: %v", i, err)
		}
	}
}

// sent returns how many chunks the first worker has that are not answered.
func sent(e *Engine) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.slots[0].w; w != nil {
		return len(w.active)
	}
	return 0
}

// TestCancel ends a job whose worker hangs, or never begins. Another job goes on.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"hangs", "never begins", "closes its task pipe"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "once")
			e := open(t, hurried(file+":"+mode, 1))
			ctx, cancel := context.WithCancel(context.Background())
			w := &work{}
			j := NewJob(ctx, e.Function("f"), w, 0)
			if err := e.Submit(j, 100, false); err != nil {
				t.Fatal(err)
			}
			for sent(e) == 0 {
				runtime.Gosched()
			}
			cancel()
			other, k := submit(t, e, 10, nil)
			w.await(t, j, 100)
			for i, err := range w.errs(100) {
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("task %d: %v", i, err)
				}
			}
			other.await(t, k, 10)
			if err := errors.Join(other.errs(10)...); err != nil {
				t.Errorf("another job: %v", err)
			}
		})
	}
}

// TestTimeout has a task be over its time, in a worker that hangs in it or before it has begun.
func TestTimeout(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"hangs", "never begins"} {
		for _, retries := range []int{0, 2} {
			t.Run(fmt.Sprintf("%s, %d retries", mode, retries), func(t *testing.T) {
				t.Parallel()
				e := open(t, hurried(mode, 1))
				w, j := submit(t, e, 1, func(j *Job) { j.Timeout, j.Retries = 20*time.Millisecond, retries })
				select {
				case <-j.Done():
				case <-time.After(5 * time.Second):
					t.Fatal("the limit of 20 ms is not kept")
				}
				w.await(t, j, 1)
				if f := w.failures[0]; f == nil || f.Cause != TimedOut || f.Attempt != retries+1 || len(f.Deaths) != retries+1 {
					t.Errorf("it ended as %+v", f)
				}
			})
		}
	}
}

func TestOpenCancelled(t *testing.T) {
	t.Parallel()
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		go cancel() // at any moment
		e, err := Open(ctx, config("good", 2))
		if err == nil {
			e.Kill()
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("open: %v", err)
		}
		cancel()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if e, err := Open(ctx, config("good", 2)); err == nil {
		e.Kill()
		t.Error("open with a context that is done")
	}
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
