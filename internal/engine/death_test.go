//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/proc"
)

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
				p = w.proc.(started).Process
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
