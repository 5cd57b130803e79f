package brine_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

func TestContextAlreadyDone(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	file := t.TempDir() + "/ran"
	d := deed{Log: file}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, expired} {
		verbs := map[string]func() error{
			"Call": func() error { _, err := brine.Call(ctx, pool, do, d); return err },
			"Map":  func() error { _, err := brine.Map(ctx, pool, do, []deed{d, d, d}); return err },
			"Go":   func() error { _, err := brine.Go(ctx, pool, do, d).Wait(t.Context()); return err },
			"Open": func() error { _, err := brine.Open(ctx, counters, 1, nil); return err },
		}
		for verb, run := range verbs {
			within(t, 10*time.Second, verb, func() {
				if err := run(); !errors.Is(err, ctx.Err()) || errors.Is(err, brine.ErrTimeout) {
					t.Errorf("%s: %v, want %v", verb, err, ctx.Err())
				}
			})
		}
	}
	if n := marks(t, file); n != 0 {
		t.Errorf("%d tasks ran", n)
	}
}

func TestCancelQueued(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	dir := t.TempDir()
	blocker := brine.Go(t.Context(), pool, do, deed{How: "await", Log: dir + "/go", N: 1})
	ctx, cancel := context.WithCancel(t.Context())
	queued := make([]*brine.Future[int], 50)
	for i := range queued {
		queued[i] = brine.Go(ctx, pool, do, deed{Log: dir + "/ran"})
	}
	other := brine.Go(t.Context(), pool, double, 4)
	cancel()
	for _, f := range queued {
		within(t, 10*time.Second, "a cancelled task that waits", func() {
			_, err := f.Wait(t.Context())
			if !errors.Is(err, context.Canceled) {
				t.Errorf("queued: %v", err)
			}
		})
	}
	mark(dir + "/go")
	within(t, 10*time.Second, "the others", func() {
		if n, err := blocker.Wait(t.Context()); n != 1 || err != nil {
			t.Errorf("the running one: %d, %v", n, err)
		}
		if n, err := other.Wait(t.Context()); n != 8 || err != nil {
			t.Errorf("the one behind: %d, %v", n, err)
		}
	})
	if n := marks(t, dir+"/ran"); n != 0 {
		t.Errorf("%d cancelled tasks ran", n)
	}
	if s := pool.Stats(); s.Deaths != 0 {
		t.Errorf("%d deaths", s.Deaths)
	}
}

func TestCancelRunning(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		how   string
		death bool
	}{{"wait", false}, {"loop", true}, {"hang", true}} {
		t.Run(test.how, func(t *testing.T) {
			t.Parallel()
			pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, Grace: 200 * time.Millisecond, Stderr: io.Discard})
			log := t.TempDir() + "/ran"
			ctx, cancel := context.WithCancel(t.Context())
			f := brine.Go(ctx, pool, do.With(brine.Limits{Retries: 5}), deed{How: test.how, Log: log})
			eventually(t, 10*time.Second, "the task runs", func() bool { return marks(t, log) == 1 })
			cancel()
			begun := time.Now()
			within(t, 20*time.Second, "a cancelled task", func() {
				_, err := f.Wait(t.Context())
				if !errors.Is(err, context.Canceled) || errors.Is(err, brine.ErrTimeout) {
					t.Errorf("it ended with %v", err)
				}
			})
			if d := time.Since(begun); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
			if n, err := brine.Call(t.Context(), pool, double, 2); n != 4 || err != nil {
				t.Errorf("afterwards: %d, %v", n, err)
			}
			if n := marks(t, log); n != 1 {
				t.Errorf("it ran %d times", n)
			}
			if s := pool.Stats(); test.death != (s.Deaths > 0) || s.Retried != 0 {
				t.Errorf("Deaths %d, Retried %d", s.Deaths, s.Retried)
			}
		})
	}
}

// A deadline of the caller is the error of its calls, however the task takes it, and not the task's ErrTimeout.
func TestContextDeadline(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, Grace: 100 * time.Millisecond, Stderr: io.Discard})
	for _, how := range []string{"wait", "hang"} {
		verbs := map[string]func(ctx context.Context) error{
			"Call": func(ctx context.Context) error { _, err := brine.Call(ctx, pool, do, deed{How: how}); return err },
			"Map": func(ctx context.Context) error {
				_, err := brine.Map(ctx, pool, do, []deed{{}, {How: how}, {}})
				return err
			},
			"Go": func(ctx context.Context) error {
				_, err := brine.Go(ctx, pool, do, deed{How: how}).Wait(t.Context())
				return err
			},
		}
		for verb, run := range verbs {
			within(t, 20*time.Second, verb, func() {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if err := run(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, brine.ErrTimeout) {
					t.Errorf("%s of a task that would %s: %v, want context.DeadlineExceeded", verb, how, err)
				}
			})
		}
	}
}

// One call's cancellation is not another's, though they share chunks and workers.
func TestCancelLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	within(t, time.Minute, "Maps", func() {
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error)
			go func() {
				_, err := brine.Map(ctx, pool, double, numbers(20_000))
				result <- err
			}()
			first := brine.Go(t.Context(), pool, double, 1)
			if n, err := first.Wait(t.Context()); n != 2 || err != nil {
				t.Error(n, err)
			}
			cancel()
			outs, err := brine.Map(t.Context(), pool, double, numbers(1000))
			if err != nil || outs[999] != 1998 {
				t.Errorf("the Map that was not cancelled: %v", err)
			}
			if err := <-result; err != nil && err != context.Canceled { //nolint:errorlint // ctx.Err() itself, says Map
				t.Errorf("the Map that was: %v", err)
			}
		}
	})
	if s := pool.Stats(); s.Deaths != 0 {
		t.Errorf("%d deaths", s.Deaths)
	}
}

// A cancelled Map returns what had succeeded.
func TestCancelMap(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	log := t.TempDir() + "/ran"
	deeds := make([]deed, 1000)
	for i := range deeds {
		deeds[i] = deed{N: i + 1}
	}
	deeds[500] = deed{How: "wait", Log: log}
	// The worker that waits has at most one more task; the other one does all the rest.
	const sure = 990
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for marks(t, log) == 0 || pool.Stats().Done < sure {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	within(t, 20*time.Second, "Map", func() {
		outs, err := brine.Map(ctx, pool, do.With(brine.Limits{Chunk: 1}), deeds)
		if err != context.Canceled || len(outs) != len(deeds) { //nolint:errorlint // ctx.Err() itself
			t.Fatalf("%d results, %v", len(outs), err)
		}
		there := 0
		for i, out := range outs {
			switch out {
			case i + 1:
				there++
			case 0:
			default:
				t.Errorf("result %d is %d", i, out)
			}
		}
		if there < sure {
			t.Errorf("%d results of those that were there before the cancellation, want at least %d", there, sure)
		}
	})
}
