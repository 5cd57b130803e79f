//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/shm"
)

// segments makes shared data, which is called so that leaktest finds it.
func segments(t testing.TB, n int) []*shm.Segment {
	t.Helper()
	list := make([]*shm.Segment, n)
	for i := range list {
		var err error
		if list[i], err = shm.Publish("brine journal of "+t.Name(), fmt.Appendf(nil, "segment %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// released has the makers let go of their segments: then there are no others.
func released(t testing.TB, list []*shm.Segment) {
	t.Helper()
	shm.ReleaseAll(list)
	for i, s := range list {
		if !s.Closed() {
			t.Errorf("segment %d is still used", i)
		}
	}
}

// TestGivesBack has flights end in every way there is. Each gives its places in the arena back, and the shared data that
// it used.
func TestGivesBack(t *testing.T) {
	t.Parallel()
	const n = 60
	failed := func(want int) func(t *testing.T, w *blobs) {
		return func(t *testing.T, w *blobs) {
			t.Helper()
			if len(w.failures) != want {
				t.Errorf("%d tasks failed, want %d: %v", len(w.failures), want, errors.Join(w.errs(n)...))
			}
		}
	}
	for _, c := range []struct {
		name, mode string
		once       bool // the mode is of the first worker
		set        func(w *blobs, j *Job)
		during     func(e *Engine, j *Job)
		check      func(t *testing.T, w *blobs)
	}{
		{name: "answered", mode: "good", check: failed(0)},
		{name: "returned", mode: "returns the first", check: failed(0)},
		{name: "unsent", mode: "good", set: func(w *blobs, _ *Job) { w.unsent = map[int]bool{0: true, 5: true, 6: true, n - 1: true} }, check: failed(4)},
		{name: "none sent", mode: "good", set: func(w *blobs, _ *Job) {
			w.unsent = make(map[int]bool)
			for i := range n {
				w.unsent[i] = true
			}
		}, check: failed(n)},
		{name: "died", mode: "dies after the first", once: true, check: func(*testing.T, *blobs) {}},
		{name: "died at once", mode: "begins and dies", once: true, check: failed(1)},
		{name: "broke the protocol", mode: "place far away", once: true, check: failed(1)},
		{name: "over its time", mode: "hangs", once: true, set: func(_ *blobs, j *Job) { j.Timeout = 20 * time.Millisecond }, check: failed(1)},
		{name: "cancelled and returned", mode: "returns what is cancelled", during: func(e *Engine, j *Job) { e.Cancel(j, context.Canceled) }, check: failed(n)},
		{name: "cancelled and ended", mode: "hangs", once: true, during: func(e *Engine, j *Job) { e.Cancel(j, context.Canceled) }, check: failed(n)},
	} {
		for _, chunk := range []int{1, 7} {
			t.Run(fmt.Sprintf("%s, in chunks of %d", c.name, chunk), func(t *testing.T) {
				t.Parallel()
				mode := c.mode
				if c.once {
					mode = filepath.Join(t.TempDir(), "once") + ":" + mode
				}
				e := open(t, hurried(mode, 1))
				w := &blobs{work: new(work), least: 1000, most: 200_000, shared: segments(t, 5)}
				j := NewJob(context.Background(), e.Function("f"), w, chunk)
				j.Sized = true
				bound := segments(t, 2)
				j.Bound = &Bound{ID: 1, Bytes: []byte("bound"), Shared: bound}
				if c.set != nil {
					c.set(w, j)
				}
				if err := e.Submit(j, n, false); err != nil {
					t.Fatal(err)
				}
				if c.during != nil {
					for sent(e) == 0 {
						runtime.Gosched()
					}
					c.during(e, j)
				}
				w.await(t, j, n)
				c.check(t, w)
				for i, err := range w.errs(n) {
					if err != nil && w.failures[i] == nil {
						t.Errorf("task %d: %v", i, err)
					}
				}
				idle(t, e, func(w *conn) { empty(t, w) })
				// Another job finds all the room there was.
				other := &blobs{work: new(work), least: 100_000, most: 200_000}
				k := NewJob(context.Background(), e.Function("f"), other, chunk)
				k.Sized = true
				if err := e.Submit(k, 10, false); err != nil {
					t.Fatal(err)
				}
				other.await(t, k, 10)
				if err := errors.Join(other.errs(10)...); err != nil {
					t.Error(err)
				}
				idle(t, e, func(w *conn) {
					if empty(t, w); len(w.active) > 0 {
						t.Errorf("%d chunks are active", len(w.active))
					}
				})
				released(t, w.shared)
				released(t, bound)
				idle(t, e, func(w *conn) {
					if len(w.segments) > 0 {
						t.Errorf("%d segments are still the worker's", len(w.segments))
					}
					if len(e.shared) > 0 {
						t.Errorf("%d segments are still counted as the engine's", len(e.shared))
					}
				})
				if err := closed(t, e); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestResultsComeBack has far more results than an arena holds, in each of the ways in which they are used: the worker
// is told of each place that is free again, so that it never needs the pipe.
func TestResultsComeBack(t *testing.T) {
	t.Parallel()
	const n, rounds, size = 30, 4, 600_000
	for _, c := range []struct {
		name string
		keep bool
		fail int // every so many results can't be read
	}{{"decoded", false, n + 1}, {"some unread", false, 3}, {"kept", true, n + 1}, {"some not kept", true, 2}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := open(t, config("good", 1))
			total := 0
			for round := range uint64(rounds) {
				b := &blobs{work: new(work), seed: round, least: size, most: size + 8}
				w := &refusing{keepers{b, make(chan func(), n)}, c.fail}
				var task Work = w
				if !c.keep {
					task = &reading{b, c.fail}
				}
				j := NewJob(context.Background(), e.Function("f"), task, 0)
				j.Sized = true
				if err := e.Submit(j, n, false); err != nil {
					t.Fatal(err)
				}
				stop := make(chan struct{})
				go func() { <-j.Done(); close(stop) }()
				w.letGo(3, stop)
				b.await(t, j, n)
				for i, err := range b.errs(n) {
					if f := b.failures[i]; (f != nil) != (i%c.fail == c.fail-1) || (f == nil && err != nil) || (f != nil && f.Cause != Unread) {
						t.Errorf("task %d: %v", i, err)
					}
				}
				total += n * size
			}
			idle(t, e, func(w *conn) {
				empty(t, w)
				if got := w.link.Received(); got > uint64(total)/20 {
					t.Errorf("%d of %d bytes came by the pipe", got, total)
				}
			})
			if err := closed(t, e); err != nil {
				t.Error(err)
			}
		})
	}
}

// reading is blobs of which some results can't be read.
type reading struct {
	*blobs
	fail int
}

func (w *reading) Decode(i int, b []byte) error {
	if i%w.fail == w.fail-1 {
		return errors.New("can't be read")
	}
	return w.blobs.Decode(i, b)
}

// refusing is keepers of which some results are not kept.
type refusing struct {
	keepers
	fail int
}

func (w *refusing) Keep(i int, b []byte, release func()) error {
	if i%w.fail == w.fail-1 {
		return errors.New("can't be kept")
	}
	return w.keepers.Keep(i, b, release)
}

// TestUnsentWithALimit has a task end that can't be encoded and has a time limit: its worker, which never heard of it, is
// not held to be over its time.
func TestUnsentWithALimit(t *testing.T) {
	t.Parallel()
	e := open(t, hurried("good", 1))
	w := &work{unsent: map[int]bool{0: true}}
	j := NewJob(t.Context(), e.Function("f"), w, 0)
	j.Sized = true
	j.Timeout = 10 * time.Millisecond
	if err := e.Submit(j, 1, false); err != nil {
		t.Fatal(err)
	}
	w.await(t, j, 1)
	idle(t, e, func(w *conn) {
		if len(w.active) > 0 {
			t.Errorf("%d chunks are active", len(w.active))
		}
	})
	time.Sleep(2 * (j.Timeout + e.Grace())) // for the end that should not come
	if c := e.Counts(); c.Deaths > 0 {
		t.Errorf("counts %+v", c)
	}
}

// TestKilledGivesBack kills the pool with everything under way.
func TestKilledGivesBack(t *testing.T) {
	t.Parallel()
	e := open(t, hurried("hangs", 2))
	w := &blobs{work: new(work), least: 100_000, most: 200_000, shared: segments(t, 3)}
	j := NewJob(context.Background(), e.Function("f"), w, 2)
	j.Sized = true
	if err := e.Submit(j, 100, false); err != nil {
		t.Fatal(err)
	}
	for sent(e) == 0 {
		runtime.Gosched()
	}
	e.Kill()
	w.await(t, j, 100)
	released(t, w.shared)
}

// TestConfigGivesBack has the configuration refer to shared data, which the engine uses until it ends, however it does.
func TestConfigGivesBack(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"good", "die at once", "dies instead of ready", "no hello"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cfg := config(mode, 2)
			list := segments(t, 3)
			for _, s := range list {
				if err := s.Retain(); err != nil {
					t.Fatal(err)
				}
			}
			cfg.Shared = list
			e, err := Open(t.Context(), cfg)
			if (err == nil) != (mode == "good") {
				t.Errorf("open: %v", err)
			}
			if err == nil {
				shm.ReleaseAll(list)
				for i, s := range list {
					if s.Closed() {
						t.Errorf("segment %d is gone, with a pool that needs it", i)
					}
				}
				if err := closed(t, e); err != nil {
					t.Error(err)
				}
			} else {
				shm.ReleaseAll(list)
			}
			for i, s := range list {
				if !s.Closed() {
					t.Errorf("segment %d is still used", i)
				}
			}
		})
	}
}

// told counts what workers said of a kind, by worker and segment.
func told(said, typ string) map[string]int {
	count := make(map[string]int)
	for line := range strings.Lines(said) {
		if rest, ok := strings.CutPrefix(line, typ+" "); ok {
			count[strings.TrimSpace(rest)]++
		}
	}
	return count
}

// awaitTold waits until workers have said something of a kind so many times.
func awaitTold(t testing.TB, stderr *output, typ string, n int) map[string]int {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(time.Millisecond) {
		if got := told(stderr.String(), typ); len(got) >= n || time.Now().After(deadline) {
			return got
		}
	}
}

// TestPassedOnce has many tasks refer to few segments. Each worker gets each once, and is told to forget it once, when
// nobody needs it any more.
func TestPassedOnce(t *testing.T) {
	t.Parallel()
	var stderr output
	cfg := config("tells", 2)
	cfg.Stderr = &stderr
	e := open(t, cfg)
	list := segments(t, 6)
	for round := range 3 {
		w := &blobs{work: new(work), least: 100, most: 50_000, shared: list[:5]}
		j := NewJob(context.Background(), e.Function("f"), w, 3)
		j.Sized = true
		j.Bound = &Bound{ID: uint64(round) + 1, Shared: list[3:]}
		if err := e.Submit(j, 200, false); err != nil {
			t.Fatal(err)
		}
		w.await(t, j, 200)
		if err := errors.Join(w.errs(200)...); err != nil {
			t.Error(err)
		}
	}
	if got := told(stderr.String(), "forget"); len(got) > 0 {
		t.Errorf("these were forgotten too early: %v", got)
	}
	shared := awaitTold(t, &stderr, "share", 2*len(list))
	released(t, list)
	forgot := awaitTold(t, &stderr, "forget", len(shared))
	if len(shared) < len(list) || len(forgot) != len(shared) {
		t.Errorf("%d were passed, %d forgotten", len(shared), len(forgot))
	}
	for _, s := range list {
		somebody := false
		for what, n := range shared {
			somebody = somebody || strings.HasSuffix(what, fmt.Sprint(" ", s.ID()))
			if n != 1 || forgot[what] != 1 {
				t.Errorf("%s was passed %d times and forgotten %d times", what, n, forgot[what])
			}
		}
		if !somebody {
			t.Errorf("segment %d was never passed", s.ID())
		}
	}
}

// TestForgetsReach has so many segments be let go of at once that they don't fit into a socket. Whoever has them is told
// of each: nobody else tells it, and the memory would stay until the worker's end.
func TestForgetsReach(t *testing.T) {
	t.Parallel()
	var stderr output
	cfg := config("tells", 1)
	cfg.Stderr = &stderr
	e := open(t, cfg)
	const n = 1500
	w := &blobs{work: new(work), least: 8, most: 8, shared: segments(t, n)}
	j := NewJob(context.Background(), e.Function("f"), w, 0)
	j.Sized = true
	if err := e.Submit(j, n, false); err != nil {
		t.Fatal(err)
	}
	w.await(t, j, n)
	released(t, w.shared)
	if got := awaitTold(t, &stderr, "forget", n); len(got) != n {
		t.Errorf("%d of %d segments were forgotten", len(got), n)
	}
}
