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
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/proc"
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

// TestRogueStart has workers that never become ready in a way that makes sense: Open says so.
func TestRogueStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mode, want string }{
		{"hello of another version", fmt.Sprint("protocol ", link.Version+1)},
		{"hello of another build", "another build"},
		{"half a hello", "broke the protocol"},
		{"no hello", "broke the protocol"},
		{"two hellos", "broke the protocol"},
		{"noise at the start", ""}, // it looks like a frame that is yet to come
		{"half a ready", "broke the protocol"},
		{"failed without an error", "the initializer of kind"},
		{"panicked without a message", "the initializer of kind"},
		{"dies instead of ready", "died before it was ready"},
		{"die at once", "died before it was ready"},
		{"silence", context.DeadlineExceeded.Error()},
	} {
		for _, size := range []int{10, 8 << 20} {
			t.Run(fmt.Sprintf("%s, %d bytes of configuration", c.mode, size), func(t *testing.T) {
				t.Parallel()
				limit := patience
				if c.mode == "silence" || c.want == "" {
					limit = 300 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				cfg := config(c.mode, 2)
				cfg.Config = make([]byte, size)
				e, err := Open(ctx, cfg)
				if err == nil {
					e.Kill()
					t.Fatal("it is open")
				}
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("open: %v, want something of %q", err, c.want)
				}
				if ctx.Err() != nil && limit == patience {
					t.Error("it took all the time there was")
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

type rogueMode struct {
	mode    string
	breaks  bool // the protocol, so that the error says it
	charged bool // once is enough to end the task
}

var rogues = []rogueMode{
	{"ready twice", true, false},
	{"results that nobody asked for", true, false},
	{"wrong chunk", true, false},
	{"wrong first", true, false},
	{"huge first", true, false},
	{"no results", true, false},
	{"too many results", true, false},
	{"fewer items than it says", true, false},
	{"no account", true, false},
	{"item beyond the payload", true, false},
	{"item of all ones", true, false},
	{"item of no status", true, false},
	{"frame of no type", true, false},
	{"hello again", true, false},
	{"bye at once", true, false},
	{"returns what it never got", true, false},
	{"begins nonsense", true, false},
	{"claims much and dies", false, false},
	{"cut in a header", false, false},
	{"closes its result pipe", false, false},
	{"dies", false, false},
	{"begins and dies", false, true},
}

// TestRogueOnce has one worker misbehave: it is ended, and its tasks are run by the next.
func TestRogueOnce(t *testing.T) {
	t.Parallel()
	for _, r := range rogues {
		t.Run(r.mode, func(t *testing.T) {
			t.Parallel()
			rogueOnce(t, r)
		})
	}
}

func rogueOnce(t *testing.T, r rogueMode) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "once")
	e := open(t, config(file+":"+r.mode, 1))
	const n = 30
	w, j := submit(t, e, n, nil)
	w.await(t, j, n)
	failed := 0
	for i, err := range w.errs(n) {
		if err == nil {
			continue
		}
		failed++
		if f := w.failures[i]; f == nil || f.Cause != Crashed {
			t.Errorf("task %d: %v", i, err)
		}
	}
	if r.charged && failed != 1 || !r.charged && failed > 1 {
		t.Errorf("%d tasks failed: %v", failed, errors.Join(w.errs(n)...))
	}
	if err := closed(t, e); err != nil {
		t.Error(err)
	}
	if c := e.Counts(); c.Deaths != 1 || c.Started != 2 {
		t.Errorf("counts %+v", c)
	}
}

// TestRogueForEver has every worker misbehave: each task ends with an error that says so.
func TestRogueForEver(t *testing.T) {
	t.Parallel()
	for _, r := range rogues {
		t.Run(r.mode, func(t *testing.T) {
			t.Parallel()
			rogueForEver(t, r)
		})
	}
}

func rogueForEver(t *testing.T, r rogueMode) {
	t.Helper()
	e := open(t, hurried(r.mode, 2))
	const n = 1
	w, j := submit(t, e, n, func(j *Job) { j.Retries = 1 })
	w.await(t, j, n)
	for i, f := range w.failures {
		if f.Cause != Crashed {
			t.Errorf("task %d failed with cause %d, %v", i, f.Cause, f.Err)
		}
		for _, d := range f.Deaths {
			if says := d.Err != nil && strings.Contains(d.Err.Error(), "broke the protocol"); says != r.breaks {
				t.Errorf("task %d: its worker ended with %v", i, d.Err)
			}
		}
		if f.Cause == Crashed && (len(f.Deaths) != 2 || f.Attempt != 2) {
			t.Errorf("task %d: %d deaths, attempt %d", i, len(f.Deaths), f.Attempt)
		}
	}
	if len(w.failures) == 0 {
		t.Error("no task failed")
	}
	_ = closed(t, e)
}

// TestTooManyItems has frames hold more than they say. What they say stands, and the worker ends.
func TestTooManyItems(t *testing.T) {
	t.Parallel()
	e := open(t, hurried("more items than it says", 1))
	const n = 5
	w, j := submit(t, e, n, nil)
	w.await(t, j, n)
	for i, err := range w.errs(n) {
		if err == nil || (w.failures[i] == nil && err.Error() != `result "x"`) {
			t.Errorf("task %d: %v", i, err)
		}
	}
	if c := e.Counts(); c.Done+c.Failed != n || c.Deaths == 0 {
		t.Errorf("counts %+v", c)
	}
}

// TestNoise writes what looks like a frame of 1.6 GB: the worker seems to be sending until its time is up.
func TestNoise(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "once")
	e := open(t, hurried(file+":noise", 1))
	w, j := submit(t, e, 5, func(j *Job) { j.Timeout = 20 * time.Millisecond })
	select {
	case <-j.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the limit of 20 ms is not kept")
	}
	w.await(t, j, 5)
}

// TestDeathsBetweenAnswers has each worker answer two chunks and die before it begins the third. No task is to blame,
// however often that happens.
func TestDeathsBetweenAnswers(t *testing.T) {
	t.Parallel()
	for _, answered := range []int{1, 2} {
		t.Run(fmt.Sprint(answered), func(t *testing.T) {
			t.Parallel()
			e := open(t, config(fmt.Sprint("answers some and dies#", answered), 1))
			const n = 24
			w := &work{}
			j := NewJob(context.Background(), e.Function("f"), w, 1)
			if err := e.Submit(j, n, false); err != nil {
				t.Fatal(err)
			}
			w.await(t, j, n)
			if err := errors.Join(w.errs(n)...); err != nil {
				t.Errorf("a task is blamed: %v", err)
			}
		})
	}
}

// TestDiesAfterTheFirst loses a worker in the middle of each chunk: what it had answered counts, also when that was
// still in its journal, and the task that it would have run next is charged.
func TestDiesAfterTheFirst(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"dies after the first", "dies with a result in the journal"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			e := open(t, config(mode, 2))
			const n, chunk = 40, 4
			w := &work{}
			j := NewJob(context.Background(), e.Function("f"), w, chunk)
			if err := e.Submit(j, n, false); err != nil {
				t.Fatal(err)
			}
			w.await(t, j, n)
			// Of each span of tasks that is left of a chunk, the first is answered and the second charged.
			if c := e.Counts(); c.Done != n/2 || c.Failed != n/2 || c.Deaths != n/2 {
				t.Errorf("counts %+v", c)
			}
			for i, f := range w.failures {
				if f.Cause != Crashed || i%2 == 0 || f.Deaths[0].State.ExitCode() != 3 {
					t.Errorf("task %d: %+v", i, f)
				}
			}
		})
	}
}

// TestDiesWithMuchUnread has a worker die while the parent is far behind with reading what it wrote: all of that counts.
func TestDiesWithMuchUnread(t *testing.T) {
	t.Parallel()
	e := open(t, config(filepath.Join(t.TempDir(), "once")+":dies in the last of a chunk", 1))
	const n = 40
	w := &work{fill: 20_000, slow: 5 * time.Millisecond}
	j := NewJob(context.Background(), e.Function("f"), w, n)
	if err := e.Submit(j, n, false); err != nil {
		t.Fatal(err)
	}
	w.await(t, j, n)
	for i, err := range w.errs(n) {
		if f := w.failures[i]; (f == nil) != (i < n-1) || (f != nil && f.Cause != Crashed) {
			t.Errorf("task %d ended with %v", i, err)
		}
	}
	if c := e.Counts(); c.Done != n-1 || c.Failed != 1 || c.Deaths != 1 {
		t.Errorf("counts %+v", c)
	}
}

// TestIdleDeath kills a worker that has nothing to do: the next task doesn't notice.
func TestIdleDeath(t *testing.T) {
	t.Parallel()
	e := open(t, config("good", 1))
	for range 5 {
		var p *proc.Process
		for p == nil {
			e.mu.Lock()
			if w := e.slots[0].w; w != nil {
				p = w.proc
			}
			e.mu.Unlock()
			runtime.Gosched()
		}
		_ = syscall.Kill(p.Pid(), syscall.SIGKILL)
		w := &work{}
		if err := e.Call(NewJob(context.Background(), e.Function("f"), w, 0)); err != nil || w.ended[0] != nil {
			t.Errorf("call: %v, %v", err, w.ended[0])
		}
		<-p.Ended()
	}
}

// TestRogueQuit has workers that don't end in an orderly way: Close doesn't wait for them beyond the grace period.
func TestRogueQuit(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"ignores quit", "long goodbye"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			e := open(t, hurried(mode, 2))
			w, j := submit(t, e, 3, nil)
			w.await(t, j, 3)
			start := time.Now()
			err := closed(t, e)
			if err == nil || !strings.Contains(err.Error(), "before it had closed its state") {
				t.Errorf("close: %v", err)
			}
			if d := time.Since(start); d > 10*time.Second || d < e.Grace() {
				t.Errorf("close took %v", d)
			}
		})
	}
}

// TestByeAfterAKick has the parent be so late that the worker's death is pointed out to it, before it has read the
// worker's last frames.
func TestByeAfterAKick(t *testing.T) {
	t.Parallel()
	e := open(t, config("good", 1))
	l, child, err := link.New(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		link.CloseAll(append([]int{child[0], l.CrashFD()}, child[2:]...))
		l.Close()
	}()
	b, err := link.AppendFrame(nil, link.Header{Type: link.Bye}, (&link.ReadyMessage{}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(child[1], b); err != nil {
		t.Fatal(err)
	}
	link.CloseAll(child[1:2])
	l.Kick()
	w := &conn{e: e, link: l, proc: e.slots[0].w.proc}
	if err := w.bye(); err != nil {
		t.Errorf("its state was closed, but: %v", err)
	}
}

// TestCrashLoop has workers die as soon as they are ready, with nothing to do: they are not started again as fast as
// the machine can.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	e := open(t, hurried("dies when ready", 1))
	deadline := time.After(500 * time.Millisecond)
	<-deadline // a rate needs time to be one
	if n := e.Counts().Started; n > 20 {
		t.Errorf("%d workers were started in half a second", n)
	}
}

// TestPipeHeldByAnother has a worker leave its result pipe to a child that left its group.
func TestPipeHeldByAnother(t *testing.T) {
	t.Parallel()
	var stderr output
	cfg := config(filepath.Join(t.TempDir(), "once")+":leaves a child with its pipe", 1)
	cfg.Stderr = &stderr
	e := open(t, cfg)
	w, j := submit(t, e, 1, nil)
	hung := false
	select {
	case <-j.Done():
	case <-time.After(3 * time.Second):
		hung = true
	}
	pid := 0
	if _, err := fmt.Sscanf(stderr.String(), "sleeper %d", &pid); err != nil {
		t.Fatal(err, stderr.String())
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	w.await(t, j, 1)
	if hung {
		t.Error("the pool waits for the end of somebody else's child")
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
