package main

import (
	"context"
	"time"

	"github.com/brinepool/brine"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// worker is the state of Brine's workers in all rows.
type worker struct {
	*burner
}

// newWorker calibrates only where a row asks for it: it takes a while.
func newWorker(_ context.Context, calibrate bool) (*worker, error) {
	w := &worker{}
	if calibrate {
		w.burner = newBurner()
	}
	return w, nil
}

// Int is the empty task.
func (*worker) Int(_ context.Context, n int) (int, error) { return n, nil }

var (
	workers   = brine.Define(newWorker)
	callInt   = brine.Method(workers, (*worker).Int)
	callBurn  = brine.Method(workers, (*worker).Burn)
	callSleep = brine.Method(workers, (*worker).Sleep)
)

func openPool(ctx context.Context, n int, calibrate bool) (*brine.Pool[*worker], error) {
	return brine.Open(ctx, workers, calibrate, &brine.Options{Workers: n})
}

// brineCall measures calls of an empty method: one caller if callers is 1, in microseconds a call, else in thousands of calls a second.
func brineCall(callers, n int) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		pool, err := openPool(ctx, n, false)
		if err != nil {
			return entrant.Entrant{}, err
		}
		call := func() error {
			out, err := brine.Call(ctx, pool, callInt, 7)
			if err != nil {
				return err
			}
			return same(out, 7)
		}
		if callers == 1 {
			return entrant.Latency(c, call, pool.Close)
		}
		return entrant.Throughput(c, callers, call, pool.Close)
	}
}

// brineMapper maps the empty method, chunks as Brine chooses them, on two workers.
func brineMapper(ctx context.Context) (mapper, func() error, error) {
	pool, err := openPool(ctx, 2, false)
	if err != nil {
		return nil, nil, err
	}
	return func(in []int) ([]int, error) { return brine.Map(ctx, pool, callInt, in) }, pool.Close, nil
}

func brineMapRate(size int) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		m, done, err := brineMapper(ctx)
		if err != nil {
			return entrant.Entrant{}, err
		}
		return mapRate(c, size, m, done), nil
	}
}

func brineGrowth(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
	m, done, err := brineMapper(ctx)
	if err != nil {
		return entrant.Entrant{}, err
	}
	return mapCost(c, m, done), nil
}

// brineMakespan runs the tasks of a makespan row on two workers.
func brineMakespan(tasks, kind string) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		pool, err := openPool(ctx, makespanWorkers, kind == "burn")
		if err != nil {
			return entrant.Entrant{}, err
		}
		f := callSleep
		if kind == "burn" {
			f = callBurn
		}
		run := func(_ serviceFunc, times []int64) ([]int64, error) { return brine.Map(ctx, pool, f, times) }
		return makespan(taskTimes(tasks, c), nil, run, pool.Close), nil
	}
}

// brineStream measures the peak memory of a process that streams n ints through All: resident, and on Go's heap, both in MB; and the
// time of an element, in nanoseconds.
func brineStream(n int) entrant.Maker {
	return func(ctx context.Context, _ entrant.Config) (entrant.Entrant, error) {
		pool, err := openPool(ctx, 2, false)
		if err != nil {
			return entrant.Entrant{}, err
		}
		return entrant.Entrant{Close: pool.Close, Sample: func(ctx context.Context) ([]float64, error) {
			stop, start, next := watchHeap(), time.Now(), 0
			for out, err := range brine.All(ctx, pool, callInt, count(n)) {
				if err == nil {
					err = same(out, next)
				}
				if err != nil {
					stop()
					return nil, err
				}
				next++
			}
			spent, heap := time.Since(start), stop()
			if err := same(next, n); err != nil {
				return nil, err
			}
			rss, err := peakRSS()
			return []float64{rss, heap, float64(spent.Nanoseconds()) / float64(n)}, err
		}}, nil
	}
}
