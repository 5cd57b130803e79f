package brine_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

// crashesIn counts the CrashErrors of an error's whole tree.
func crashesIn(err error) int {
	n := 0
	if _, ok := err.(*brine.CrashError); ok { //nolint:errorlint // the tree is walked here
		n++
	}
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case interface{ Unwrap() error }:
		n += crashesIn(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			n += crashesIn(err)
		}
	}
	return n
}

// The time of a task is its own: not that of the chunk, not that of the queue.
func TestTimeoutIsPerTask(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	deeds := make([]deed, 64)
	for i := range deeds {
		deeds[i] = deed{How: "sleep", N: 20}
	}
	within(t, time.Minute, "Map", func() {
		outs, err := brine.Map(t.Context(), pool, do.With(brine.Limits{Timeout: 900 * time.Millisecond, Chunk: 64}), deeds)
		if err != nil || outs[63] != 20 {
			t.Errorf("64 tasks of 20 ms, 0.9 s each: %v", err)
		}
	})
	if s := pool.Stats(); s.Deaths != 0 {
		t.Errorf("%d workers died", s.Deaths)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	tests := []struct {
		how, stack string // how it is stuck, and where
		death      bool
	}{
		{"loop", "spinForEver", true},
		{"hang", "hangForEver", true},
		{"deaf", "", true},
		{"stop", "", true},
		{"wait", "doDeed", false},
		{"overtime", "", false},
	}
	for _, test := range tests {
		t.Run(test.how, func(t *testing.T) {
			t.Parallel()
			pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Grace: 300 * time.Millisecond, Stderr: io.Discard})
			dir := t.TempDir()
			deeds := make([]deed, 130)
			for i := range deeds {
				deeds[i] = deed{N: i, Log: markPath(dir, i)}
			}
			const bad = 9
			deeds[bad].How = test.how
			begun := time.Now()
			within(t, 30*time.Second, "Map", func() {
				outs, err := brine.Map(t.Context(), pool, do.With(brine.Limits{Timeout: 300 * time.Millisecond, Chunk: 64}), deeds)
				task := as[*brine.TaskError](t, err)
				if task.Index != bad || task.Attempt != 1 || !errors.Is(err, brine.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%+v", task)
				}
				if test.stack != "" && !strings.Contains(whole(err), test.stack) {
					t.Errorf("no stack in %s:\n%s", test.stack, whole(err))
				}
				if test.stack != "" && test.death && !strings.Contains(err.Error(), test.stack) {
					t.Errorf("the text does not say where it was stuck: %v", err)
				}
				for i := range deeds {
					if i != bad && outs[i] != i || marks(t, deeds[i].Log) != 1 {
						t.Errorf("task %d: %d, ran %d times", i, outs[i], marks(t, deeds[i].Log))
					}
				}
			})
			if d := time.Since(begun); d > 10*time.Second {
				t.Errorf("0.6 s took %v", d)
			}
			if s := pool.Stats(); test.death != (s.Deaths == 1) || s.Deaths > 1 || s.Failed != 1 {
				t.Errorf("Deaths %d, Failed %d", s.Deaths, s.Failed)
			}
		})
	}
}

// whole is everything that an error says, with the reports that its text leaves out.
func whole(err error) string {
	var b strings.Builder
	b.WriteString(err.Error())
	if crash, ok := errors.AsType[*brine.CrashError](err); ok {
		b.Write(crash.Report)
		b.Write(crash.Stderr)
	}
	if p, ok := errors.AsType[*brine.PanicError](err); ok {
		b.WriteString(p.Stack)
	}
	return b.String()
}

func TestRetries(t *testing.T) {
	t.Parallel()
	const timeout = 200 * time.Millisecond
	tests := []struct {
		name                   string
		deed                   deed
		limits                 brine.Limits
		runs, crashes, retried int
		succeeds               bool
	}{
		{"none", deed{How: "kill"}, brine.Limits{}, 1, 1, 0, false},
		{"poison", deed{How: "kill"}, brine.Limits{Retries: 2}, 3, 3, 2, false},
		{"exit", deed{How: "exit"}, brine.Limits{Retries: 1}, 2, 2, 1, false},
		{"poison in a chunk", deed{How: "exit", N: 1}, brine.Limits{Retries: 2, Chunk: 64}, 3, 3, 2, false},
		{"timeout", deed{How: "hang"}, brine.Limits{Retries: 2, Timeout: timeout}, 3, 3, 2, false},
		{"timeout, cooperative", deed{How: "wait"}, brine.Limits{Retries: 2, Timeout: timeout}, 3, 0, 2, false},
		{"once", deed{How: "once", N: 1}, brine.Limits{Retries: 5, Chunk: 64}, 2, 0, 1, true},
		{"thrice", deed{How: "once", N: 3}, brine.Limits{Retries: 3}, 4, 0, 3, true},
		{"error", deed{How: "error"}, brine.Limits{Retries: 5}, 1, 0, 0, false},
		{"panic", deed{How: "panic"}, brine.Limits{Retries: 5}, 1, 0, 0, false},
		{"goexit", deed{How: "goexit"}, brine.Limits{Retries: 5}, 1, 0, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			grace := 100 * time.Millisecond
			if test.deed.How == "wait" { // and will stop, however busy the machine is
				grace = 20 * time.Second
			}
			pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Grace: grace, Stderr: io.Discard})
			dir := t.TempDir()
			deeds := make([]deed, 100)
			for i := range deeds {
				deeds[i] = deed{N: i, Log: markPath(dir, i)}
			}
			const bad = 20
			test.deed.Log = deeds[bad].Log
			deeds[bad] = test.deed
			within(t, 30*time.Second, "Map", func() {
				outs, err := brine.Map(t.Context(), pool, do.With(test.limits), deeds)
				for i := range deeds {
					runs := 1
					if i == bad {
						runs = test.runs
					} else if outs[i] != i {
						t.Errorf("neighbour %d: %d", i, outs[i])
					}
					if n := marks(t, deeds[i].Log); n != runs {
						t.Errorf("task %d ran %d times, want %d", i, n, runs)
					}
				}
				if test.succeeds {
					if err != nil || outs[bad] != test.deed.N {
						t.Errorf("%d, %v", outs[bad], err)
					}
					return
				}
				task := as[*brine.TaskError](t, err)
				if task.Index != bad || task.Attempt != test.runs {
					t.Errorf("index %d, attempt %d, want %d and %d", task.Index, task.Attempt, bad, test.runs)
				}
				if n := crashesIn(err); n != test.crashes {
					t.Errorf("%d CrashErrors in the error, want %d: %v", n, test.crashes, err)
				}
			})
			if s := pool.Stats(); s.Retried != int64(test.retried) {
				t.Errorf("Stats().Retried = %d, want %d", s.Retried, test.retried)
			}
		})
	}
}

// A chunk in which every other task kills its worker.
func TestPoisonedChunk(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Stderr: io.Discard})
	dir := t.TempDir()
	deeds := make([]deed, 40)
	for i := range deeds {
		deeds[i] = deed{N: i, Log: markPath(dir, i)}
		if i%2 == 1 {
			deeds[i].How = "kill"
		}
	}
	within(t, time.Minute, "All", func() {
		i := 0
		for out, err := range brine.All(t.Context(), pool, do.With(brine.Limits{Chunk: 64, Retries: 1}), func(yield func(deed) bool) {
			for _, d := range deeds {
				if !yield(d) {
					return
				}
			}
		}) {
			runs := 1
			if i%2 == 1 {
				runs = 2
				if task := as[*brine.TaskError](t, err); task.Index != i || task.Attempt != 2 || crashesIn(err) != 2 {
					t.Errorf("%d: %+v", i, task)
				}
			} else if out != i || err != nil {
				t.Errorf("%d: %d, %v", i, out, err)
			}
			if n := marks(t, deeds[i].Log); n != runs {
				t.Errorf("task %d ran %d times, want %d", i, n, runs)
			}
			i++
		}
		if i != len(deeds) {
			t.Errorf("%d results", i)
		}
	})
}

func TestMaxTasks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ tasks, max, workers, chunk, atLeast int }{
		{100, 10, 1, 0, 10}, {100, 1, 1, 0, 100}, {60, 7, 2, 64, 9}, {64, 10, 1, 64, 7},
	} {
		pool := open(t, counters, 0, &brine.Options{Workers: test.workers, MaxTasks: test.max})
		within(t, time.Minute, "Map", func() {
			pids, err := brine.Map(t.Context(), pool, who.With(brine.Limits{Chunk: test.chunk}), numbers(test.tasks))
			if err != nil {
				t.Error(err)
			}
			runs := map[int]int{}
			for _, pid := range pids {
				runs[pid]++
			}
			for pid, n := range runs {
				if n > test.max {
					t.Errorf("%+v: worker %d ran %d tasks", test, pid, n)
				}
			}
			if len(runs) < test.atLeast {
				t.Errorf("%+v: %d workers", test, len(runs))
			}
			if s := pool.Stats(); s.Deaths != 0 || s.Failed != 0 || s.Started < int64(test.atLeast) {
				t.Errorf("%+v: Deaths %d, Failed %d, Started %d", test, s.Deaths, s.Failed, s.Started)
			}
		})
	}
}

// A worker that is recycled closes its state.
func TestMaxTasksClosesState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := fragileConfig{OpenLog: dir + "/open", CloseLog: dir + "/close"}
	pool := open(t, fragiles, config, &brine.Options{Workers: 2, MaxTasks: 5})
	within(t, time.Minute, "Map", func() {
		if _, err := brine.Map(t.Context(), pool, fragileDo, make([]deed, 50)); err != nil {
			t.Error(err)
		}
		if err := pool.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if opened, closed := marks(t, config.OpenLog), marks(t, config.CloseLog); opened != closed || opened < 10 {
		t.Errorf("%d opened, %d closed", opened, closed)
	}
}
