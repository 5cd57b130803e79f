package brine_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

// oddFails fails for odd numbers.
func oddFails(_ context.Context, n int) (int, error) {
	if n%2 == 1 {
		return n, errors.New("odd")
	}
	return n + 1, nil
}

var odd = brine.Plain(oddFails)

func TestMap(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 5, &brine.Options{Workers: 3})
	for _, n := range []int{1, 2, 3, 4, 15, 16, 17, 64, 1000, 100_000} {
		for _, chunk := range []int{0, 1, 2, 64, 1 << 30} {
			if chunk == 1 && n > 1000 {
				continue
			}
			outs, err := brine.Map(t.Context(), pool, add.With(brine.Limits{Chunk: chunk}), numbers(n))
			if err != nil || len(outs) != n {
				t.Fatalf("%d tasks, chunks of %d: %d results, %v", n, chunk, len(outs), err)
			}
			for i, out := range outs {
				if out != i+5 {
					t.Fatalf("%d tasks, chunks of %d: result %d is %d", n, chunk, i, out)
				}
			}
		}
	}
}

func TestMapOfNothing(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 5, &brine.Options{Workers: 1})
	for name, ins := range map[string][]int{"nil": nil, "empty": {}} {
		within(t, 10*time.Second, name, func() {
			if outs, err := brine.Map(t.Context(), pool, add, ins); len(outs) != 0 || err != nil {
				t.Errorf("Map of a %s slice = %v, %v", name, outs, err)
			}
		})
	}
	pool.Close()
	if _, err := brine.Map(t.Context(), pool, add, nil); !errors.Is(err, brine.ErrClosed) {
		t.Errorf("Map of nothing on a closed pool: %v, want ErrClosed", err)
	}
}

func TestMapKeepsWhatSucceeded(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	for _, chunk := range []int{0, 1, 7, 64} {
		ins := numbers(1000)
		ins[1] = 0 // so that the first to fail is 3
		outs, err := brine.Map(t.Context(), pool, odd.With(brine.Limits{Chunk: chunk}), ins)
		var task *brine.TaskError
		var remote *brine.RemoteError
		switch {
		case !errors.As(err, &task):
			t.Fatalf("chunks of %d: no *TaskError: %v", chunk, err)
		case task.Index != 3 || task.Attempt != 1 || task.Func != odd.Name():
			t.Errorf("chunks of %d: %+v, want index 3, attempt 1", chunk, task)
		case !errors.As(err, &remote) || remote.Message != "odd" || remote.Type != "*errors.errorString":
			t.Errorf("chunks of %d: no *RemoteError as expected: %#v", chunk, task.Err)
		}
		if len(outs) != len(ins) {
			t.Fatalf("%d results", len(outs))
		}
		for i, out := range outs {
			want := ins[i] + 1
			if ins[i]%2 == 1 {
				want = 0
			}
			if out != want {
				t.Fatalf("chunks of %d: result %d is %d, want %d", chunk, i, out, want)
			}
		}
	}
	if s := pool.Stats(); s.Deaths != 0 || s.Retried != 0 || s.Failed != 4*499 || s.Done != 4*501 {
		t.Errorf("deaths %d, retried %d, failed %d, done %d", s.Deaths, s.Retried, s.Failed, s.Done)
	}
}

// Several calls share the workers; a long one does not lock others out for its whole length.
func TestMapShares(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		ins := make([]deed, 100_000)
		for i := range ins {
			ins[i] = deed{How: "sleep", N: 1}
		}
		_, err := brine.Map(ctx, pool, do, ins)
		done <- err
	}()
	eventually(t, 10*time.Second, "the long Map has begun", func() bool { return pool.Stats().Done > 0 })
	within(t, 10*time.Second, "Call beside a Map of 100 seconds", func() {
		for i := range 20 {
			if n, err := brine.Call(t.Context(), pool, double, i); n != 2*i || err != nil {
				t.Error(n, err)
			}
		}
	})
	cancel()
	within(t, 10*time.Second, "cancelled Map", func() {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled Map: %v", err)
		}
	})
}

// Map over many items holds no more than its input, its output and what is in flight.
func TestMapMemory(t *testing.T) {
	checkLeaks(t)
	pool := open(t, counters, 1, &brine.Options{Workers: 2})
	ins := numbers(3_000_000)
	const own = 2 * 8 * 3_000_000
	peak := watchHeap(t, func() {
		outs, err := brine.Map(t.Context(), pool, add, ins)
		if err != nil || outs[len(outs)-1] != len(ins) {
			t.Error(err)
		}
	})
	if peak > own+64<<20 {
		t.Errorf("the heap had %d MB; input and output are %d MB", peak>>20, own>>20)
	}
}

// watchHeap returns the most that the heap held while f ran, garbage that a collection every millisecond leaves included.
func watchHeap(t *testing.T, f func()) uint64 {
	t.Helper()
	stop, result := make(chan struct{}), make(chan uint64)
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	base := stats.HeapAlloc // of tests that are paused, which hold what they hold
	go func() {
		peak := base
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				result <- peak
				return
			case <-ticker.C:
				runtime.GC()
				runtime.ReadMemStats(&stats)
				peak = max(peak, stats.HeapAlloc)
			}
		}
	}()
	f()
	close(stop)
	return <-result - base
}
