package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// The in-process entrants do a row's work without any second process: what a pool costs is the distance to them.

// identity is the empty task of the in-process loops, called as a pool has to call it: through a function value, with a context and an error.
//
//go:noinline
func identity(_ context.Context, n int) (int, error) { return n, nil }

// loopMap is Map without a pool: a new slice of results, one call an element.
func loopMap(ctx context.Context, f func(context.Context, int) (int, error), in []int) ([]int, error) {
	out := make([]int, len(in))
	for i, n := range in {
		v, err := f(ctx, n)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// mapper is Map with everything but the input filled in.
type mapper func(in []int) ([]int, error)

func inProcess(ctx context.Context) mapper {
	return func(in []int) ([]int, error) { return loopMap(ctx, identity, in) }
}

// mapRate measures million tasks a second of mapping size ints, again and again for a window.
func mapRate(c entrant.Config, size int, m mapper, done func() error) entrant.Entrant {
	in := ints(size)
	return entrant.Entrant{Close: done, Sample: func(context.Context) ([]float64, error) {
		perTask, err := meanMap(c.Window, m, in)
		if err != nil {
			return nil, err
		}
		return []float64{1e3 / perTask}, nil
	}}
}

func loopMapRate(size int) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		return mapRate(c, size, inProcess(ctx), nil), nil
	}
}

func loopGrowth(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
	return mapCost(c, inProcess(ctx), nil), nil
}

// growthSizes are the lengths at which cost/growth measures.
func growthSizes(c entrant.Config) []int {
	if c.Short {
		return []int{1e3, 1e4, 1e5, 1e6}
	}
	return []int{1e3, 1e4, 1e5, 1e6, 1e7}
}

// mapCost measures nanoseconds a task at each of the growth sizes.
func mapCost(c entrant.Config, m mapper, done func() error) entrant.Entrant {
	sizes := growthSizes(c)
	in := ints(sizes[len(sizes)-1])
	return entrant.Entrant{Close: done, Sample: func(context.Context) ([]float64, error) {
		var cost []float64
		for _, n := range sizes {
			perTask, err := meanMap(c.Window/2, m, in[:n])
			if err != nil {
				return nil, err
			}
			cost = append(cost, perTask)
		}
		return cost, nil
	}}
}

// meanMap maps in again and again until that has taken the window, and returns the mean nanoseconds a task.
func meanMap(window time.Duration, m mapper, in []int) (float64, error) {
	var spent time.Duration
	tasks := 0
	for spent < window {
		d, err := timeMap(m, in)
		if err != nil {
			return 0, err
		}
		spent += d
		tasks += len(in)
	}
	return float64(spent.Nanoseconds()) / float64(tasks), nil
}

// timeMap maps in and checks what came back; the check and the collection of the results are not in the time.
func timeMap(m mapper, in []int) (time.Duration, error) {
	if len(in) >= 1e5 {
		runtime.GC() // or a sample pays for the garbage of the one before it
	}
	start := time.Now()
	out, err := m(in)
	spent := time.Since(start)
	if err != nil {
		return 0, err
	}
	if err := same(len(out), len(in)); err != nil {
		return 0, err
	}
	for i, n := range out {
		if n != in[i] {
			return 0, same(n, in[i])
		}
	}
	return spent, nil
}

// goroutineMakespan runs the tasks of a makespan row, those that compute, on goroutines.
func goroutineMakespan(tasks string) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		return makespan(taskTimes(tasks, c), newBurner().Burn, goroutines(ctx, makespanWorkers), nil), nil
	}
}

// goroutines runs the tasks of a makespan row on workers goroutines that take one task at a time: no process, no chunk, no wait for
// the next task. It is the schedule to compare with, and it meets the same noise.
func goroutines(ctx context.Context, workers int) taskRunner {
	return func(task serviceFunc, times []int64) ([]int64, error) {
		var (
			next atomic.Int64
			wg   sync.WaitGroup
			out  = make([]int64, len(times))
		)
		for range workers {
			wg.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(times)); i = next.Add(1) - 1 {
					out[i], _ = task(ctx, times[i])
				}
			})
		}
		wg.Wait()
		return out, nil
	}
}

// ints returns 0 … n-1.
func ints(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}
