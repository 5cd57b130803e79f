package brine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

// act is one task of a history, and what the model expects of it.
type act struct {
	deed    deed
	retries int
}

// outcome is what the model says of a task: what it returns, or how it fails, and how often it runs.
func (a act) outcome() (out int, kind string, runs int) {
	switch a.deed.How {
	case "error", "sentinel", "eof":
		return 0, "remote", 1
	case "panic", "nilmap":
		return 0, "panic", 1
	case "goexit":
		return 0, "goexit", 1
	case "kill", "exit", "goroutine":
		return 0, "crash", a.retries + 1
	case "once":
		if a.retries >= a.deed.N {
			return a.deed.N, "", a.deed.N + 1
		}
		return 0, "crash", a.retries + 1
	case "wait":
		return 0, "timeout", a.retries + 1
	}
	return a.deed.N, "", 1
}

func kindOf(err error) string {
	_, remote := errors.AsType[*brine.RemoteError](err)
	_, panicked := errors.AsType[*brine.PanicError](err)
	_, crashed := errors.AsType[*brine.CrashError](err)
	_, task := errors.AsType[*brine.TaskError](err)
	switch {
	case err == nil:
		return ""
	case !task:
		return "no *TaskError"
	case errors.Is(err, brine.ErrTimeout):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, brine.ErrClosed):
		return "closed"
	case panicked:
		return "panic"
	case crashed:
		return "crash"
	case remote:
		return "remote"
	}
	return "goexit"
}

var weights = []string{
	"", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
	"error", "sentinel", "eof", "panic", "nilmap", "goexit", "kill", "exit", "goroutine", "once", "wait", "sleep",
}

func randomAct(r *rand.Rand, log string, retries int) act {
	a := act{deed{How: weights[r.IntN(len(weights))], N: r.IntN(3), Log: log}, retries}
	if a.deed.How == "exit" {
		a.deed.N = r.IntN(4)
	}
	return a
}

// TestHistories runs random histories of calls side by side and compares each result, and how often each task ran,
// with what a model in this process says.
func TestHistories(t *testing.T) {
	t.Parallel()
	random := seed(t)
	for range 4 {
		source := rand.New(rand.NewPCG(random.Uint64(), 1))
		t.Run("", func(t *testing.T) {
			t.Parallel()
			opts := &brine.Options{
				Workers: 1 + source.IntN(3), MaxTasks: []int{0, 0, 7, 50}[source.IntN(4)], InFlight: 1 + source.IntN(40),
				Stderr: io.Discard, Grace: time.Second,
			}
			pool := open(t, brine.Stateless, struct{}{}, opts)
			dir := t.TempDir()
			var group sync.WaitGroup
			want := 0
			for verb := range 12 {
				limits := brine.Limits{Retries: source.IntN(3), Chunk: []int{0, 1, 5, 64}[source.IntN(4)], Timeout: 400 * time.Millisecond}
				acts := make([]act, 1+source.IntN(25))
				for i := range acts {
					acts[i] = randomAct(source, fmt.Sprintf("%s/%d-%d", dir, verb, i), limits.Retries)
				}
				want += len(acts)
				which := source.IntN(5)
				group.Go(func() { history(t, pool, do.With(limits), acts, which) })
			}
			within(t, 60*time.Second, fmt.Sprintf("history with %+v", opts), group.Wait)
			if s := pool.Stats(); s.Done+s.Failed != int64(want) {
				t.Errorf("Done %d + Failed %d, want %d", s.Done, s.Failed, want)
			}
		})
	}
}

func history(t *testing.T, pool *brine.Pool[struct{}], f brine.Func[struct{}, deed, int], acts []act, which int) {
	deeds := make([]deed, len(acts))
	for i, a := range acts {
		deeds[i] = a.deed
	}
	seq := func(yield func(deed) bool) {
		for _, d := range deeds {
			if !yield(d) {
				return
			}
		}
	}
	seen := make([]int, len(acts))
	check := func(i int, out int, err error) {
		wantOut, wantKind, _ := acts[i].outcome()
		seen[i]++
		if kind := kindOf(err); out != wantOut || kind != wantKind {
			t.Errorf("task %+v: %d, %q, want %d, %q: %v", acts[i], out, kind, wantOut, wantKind, err)
		}
		if task, ok := errors.AsType[*brine.TaskError](err); ok && which != 0 && which != 4 && task.Index != i {
			t.Errorf("task %+v: index %d, want %d", acts[i], task.Index, i)
		}
	}
	ctx := t.Context()
	switch which {
	case 0:
		for i, d := range deeds {
			out, err := brine.Call(ctx, pool, f, d)
			check(i, out, err)
		}
	case 1:
		outs, err := brine.Map(ctx, pool, f, deeds)
		first := -1
		for i, a := range acts {
			seen[i]++
			wantOut, kind, _ := a.outcome()
			if kind != "" && first < 0 {
				first = i
				seen[i]--
				check(i, outs[i], err)
			} else if outs[i] != wantOut {
				t.Errorf("Map: result %d is %d, want %d of %+v", i, outs[i], wantOut, a)
			}
		}
		if first < 0 && err != nil {
			t.Errorf("Map: %v", err)
		}
	case 2:
		i := 0
		for out, err := range brine.All(ctx, pool, f, seq) {
			check(i, out, err)
			i++
		}
	case 3:
		for r := range brine.Unordered(ctx, pool, f, seq) {
			if r.Index < 0 || r.In != deeds[r.Index] {
				t.Errorf("Unordered: %+v", r)
				continue
			}
			check(r.Index, r.Out, r.Err)
		}
	case 4:
		futures := make([]*brine.Future[int], len(deeds))
		for i, d := range deeds {
			futures[i] = brine.Go(ctx, pool, f, d)
		}
		for i, future := range futures {
			out, err := future.Wait(ctx)
			check(i, out, err)
		}
	}
	for i, a := range acts {
		_, _, runs := a.outcome()
		if seen[i] != 1 {
			t.Errorf("verb %d: task %+v ended %d times", which, a, seen[i])
		}
		if n := marks(t, a.deed.Log); n != runs {
			t.Errorf("verb %d: task %+v ran %d times, want %d", which, a, n, runs)
		}
	}
}

// Histories with kills from outside, cancellations, breaks and an early end: nothing hangs, every task that is said to
// have succeeded has, and each ends once.
func TestWildHistories(t *testing.T) {
	t.Parallel()
	random := seed(t)
	for range 6 {
		source := rand.New(rand.NewPCG(random.Uint64(), 2))
		t.Run("", func(t *testing.T) {
			t.Parallel()
			opts := &brine.Options{Workers: 1 + source.IntN(3), InFlight: 1 + source.IntN(100), Grace: 100 * time.Millisecond, Stderr: io.Discard}
			pool := open(t, brine.Stateless, struct{}{}, opts)
			stop, killed := make(chan struct{}), make(chan int, 1)
			killing := rand.New(rand.NewPCG(source.Uint64(), 3))
			go func() { killed <- killer(pool, killing, 1000, 60*time.Millisecond, stop) }()
			var group sync.WaitGroup
			for range 10 {
				r := rand.New(rand.NewPCG(source.Uint64(), 4))
				group.Go(func() {
					for range 15 {
						wild(t, pool, r)
					}
				})
			}
			end := source.IntN(3)
			within(t, 60*time.Second, "wild history", func() {
				if end == 0 {
					eventually(t, 30*time.Second, "some work is done", func() bool { return pool.Stats().Done > 500 })
					pool.Kill()
				} else if end == 1 {
					eventually(t, 30*time.Second, "some work is done", func() bool { return pool.Stats().Done > 500 })
					pool.Close()
				}
				group.Wait()
			})
			close(stop)
			t.Logf("%d kills, end %d", <-killed, end)
		})
	}
}

func wild(t *testing.T, pool *brine.Pool[struct{}], r *rand.Rand) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if r.IntN(3) == 0 {
		var cancelTimeout context.CancelFunc
		ctx, cancelTimeout = context.WithTimeout(ctx, time.Duration(r.IntN(30))*time.Millisecond)
		defer cancelTimeout()
	}
	f := double.With(brine.Limits{Retries: r.IntN(50), Chunk: []int{0, 0, 1, 64}[r.IntN(4)]})
	n, until := 1+r.IntN(3000), r.IntN(4000)
	allowed := func(err error) bool {
		ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		return ended && ctx.Err() != nil || errors.Is(err, brine.ErrClosed) || kindOf(err) == "crash"
	}
	check := func(in, out int, err error) {
		if err == nil && out != 2*in || err != nil && !allowed(err) {
			t.Errorf("double %d is %d, %v", in, out, err)
		}
	}
	switch r.IntN(5) {
	case 0:
		out, err := brine.Call(ctx, pool, f, n)
		check(n, out, err)
	case 1:
		outs, err := brine.Map(ctx, pool, f, numbers(n))
		if err != nil && !allowed(err) {
			t.Errorf("Map: %v", err)
		}
		for i, out := range outs {
			if out != 2*i && (err == nil || out != 0) {
				t.Errorf("Map: %d is %d, %v", i, out, err)
			}
		}
	case 2:
		i := 0
		for out, err := range brine.All(ctx, pool, f, upTo(n)) {
			check(i, out, err)
			if i++; i == until {
				break
			}
		}
	case 3:
		seen := map[int]bool{}
		for result := range brine.Unordered(ctx, pool, f, upTo(n)) {
			check(result.In, result.Out, result.Err)
			if seen[result.Index] {
				t.Errorf("Unordered: %d twice", result.Index)
			}
			seen[result.Index] = true
			if len(seen) == until {
				break
			}
		}
	case 4:
		future := brine.Go(ctx, pool, do, deed{How: []string{"loop", "wait", "", "sleep"}[r.IntN(4)], N: 5})
		called := make(chan struct{})
		future.Then(func(int, error) { close(called) })
		if r.IntN(2) == 0 {
			cancel()
		} else {
			time.AfterFunc(time.Duration(r.IntN(20))*time.Millisecond, cancel)
		}
		<-called
		if _, err := future.Wait(t.Context()); err != nil && !allowed(err) {
			t.Errorf("Go: %v", err)
		}
	}
}
