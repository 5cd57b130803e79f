package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"
)

const (
	workers = 4
	lists   = 100
	ones    = 100 // in each list
	factor  = 9999
	total   = lists * ones * factor // 99,990,000, as in the original
	setups  = 3                     // of each pool and size, of which the median counts
)

// sizes are those of the original.
var sizes = []int{100_000, 630_957, 3_981_071, 25_118_864, 158_489_319}

// pool is worker processes that have the fixed data.
type pool interface {
	Sums(ctx context.Context, lists [][]int64) ([]int64, error) // in order
	PIDs() []int
	Close() error
}

// kind is a way to make such a pool.
type kind struct {
	name string
	open func(ctx context.Context, data []int64) (pool, error)
}

func kinds(chunk int) []kind {
	withChunk := func(ctx context.Context, data []int64) (pool, error) { return openBrine(ctx, data, chunk) }
	return []kind{{"brine", withChunk}, {"custom", openCustom}}
}

// weigh is the function that is mapped. It depends on the fixed data.
func weigh(data, list []int64) (sum int64) {
	for _, x := range list {
		sum += data[factor] * x
	}
	return sum
}

// trial is one kind of pool with one size of fixed data, and what was measured of it.
type trial struct {
	kind      kind
	size      int
	pool      pool
	setup     time.Duration // from having the data to the first answer, median
	round     time.Duration // median
	iteration time.Duration // set-up and the first rounds in a row, divided by the number of those
	memory    int64         // of the workers in bytes, -1 where it is not known
	rounds    []time.Duration
}

// measure sets up all pools, and then has them work in turn, so that a busy moment of the machine hits no size alone.
func measure(ctx context.Context, s settings) (trials []*trial, err error) {
	defer func() {
		for _, t := range trials {
			if t.pool != nil {
				err = errors.Join(err, t.pool.Close())
			}
		}
	}()
	work := slices.Repeat([][]int64{slices.Repeat([]int64{1}, ones)}, lists)
	for _, size := range s.sizes {
		data := fixedData(size)
		for _, k := range s.kinds {
			t := &trial{kind: k, size: size}
			trials = append(trials, t)
			if err := t.setUp(ctx, data, work); err != nil {
				return trials, fmt.Errorf("%s with %d integers: %w", k.name, size, err)
			}
		}
		debug.FreeOSMemory() // the data too
	}
	order := rand.New(rand.NewPCG(1, 2))
	for range s.turns {
		for _, i := range order.Perm(len(trials)) {
			t := trials[i]
			for range s.rounds {
				took, err := t.once(ctx, work)
				if err != nil {
					return trials, fmt.Errorf("%s with %d integers: %w", t.kind.name, t.size, err)
				}
				t.rounds = append(t.rounds, took)
			}
		}
	}
	for _, t := range trials {
		t.round = median(t.rounds)
		t.iteration = t.setup
		for _, took := range t.rounds[:s.rounds] {
			t.iteration += took
		}
		t.iteration /= time.Duration(s.rounds)
	}
	return trials, nil
}

func fixedData(size int) []int64 {
	data := make([]int64, size)
	for i := range data {
		data[i] = int64(i)
	}
	return data
}

// setUp opens the pool several times, and leaves the last one open.
func (t *trial) setUp(ctx context.Context, data []int64, work [][]int64) error {
	var took []time.Duration
	for range setups {
		if t.pool != nil {
			if err := t.pool.Close(); err != nil {
				return err
			}
			t.pool = nil
		}
		start := time.Now()
		p, err := t.kind.open(ctx, data)
		if err != nil {
			return err
		}
		t.pool = p
		if _, err := t.once(ctx, work); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	t.setup = median(took)
	var err error
	t.memory, err = memory(t.pool.PIDs())
	return err
}

// once maps the lists, adds up, and checks the total.
func (t *trial) once(ctx context.Context, work [][]int64) (time.Duration, error) {
	start := time.Now()
	sums, err := t.pool.Sums(ctx, work)
	if err != nil {
		return 0, err
	}
	var got int64
	for _, n := range sums {
		got += n
	}
	took := time.Since(start)
	if got != total {
		return 0, fmt.Errorf("the total is %d, want %d", got, total)
	}
	return took, nil
}

func median(ds []time.Duration) time.Duration {
	ds = slices.Sorted(slices.Values(ds))
	return (ds[(len(ds)-1)/2] + ds[len(ds)/2]) / 2
}

// flatness returns how many times as long a round takes with the slowest size as with the fastest.
func flatness(trials []*trial, kind string) float64 {
	var ds []time.Duration
	for _, t := range trials {
		if t.kind.name == kind {
			ds = append(ds, t.round)
		}
	}
	if len(ds) == 0 {
		return 0
	}
	return float64(slices.Max(ds)) / float64(slices.Min(ds))
}
