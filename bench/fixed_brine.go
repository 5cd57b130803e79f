package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/brinepool/brine"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// summing is the state of Brine's workers in fixed/int64: it keeps the data, whose memory is read after the task.
type summing struct {
	data *brine.Shared[int64]
}

// summed is what a worker answers.
type summed struct {
	PID int
	Sum int64
}

// Sum sums the data.
func (s *summing) Sum(_ context.Context, data *brine.Shared[int64]) (summed, error) {
	s.data = data
	return summed{os.Getpid(), sumInt64(data.Slice())}, nil
}

var (
	summings = brine.Define(func(context.Context, struct{}) (*summing, error) { return &summing{}, nil })
	callSum  = brine.Method(summings, (*summing).Sum)
)

// errUneven says that a worker summed twice, and another not at all.
var errUneven = errors.New("the tasks did not go to one worker each")

// brineFixed measures brine.Share and a task for each worker.
func brineFixed(_ context.Context, c entrant.Config) (entrant.Entrant, error) {
	data, want := fixedData(fixedLen(c))
	return entrant.Entrant{Sample: func(ctx context.Context) ([]float64, error) {
		for try := 1; ; try++ {
			values, err := brineSums(ctx, data, want)
			if !errors.Is(err, errUneven) || try == 5 {
				return values, err
			}
		}
	}}, nil
}

// brineSums measures once, in a new pool.
func brineSums(ctx context.Context, data []int64, want int64) (values []float64, err error) {
	pool, err := brine.Open(ctx, summings, struct{}{}, &brine.Options{Workers: fixedWorkers})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()

	start := time.Now()
	shared, err := brine.Share(data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, shared.Close()) }()
	ins := make([]*brine.Shared[int64], fixedWorkers)
	for i := range ins {
		ins[i] = shared
	}
	sums, err := brine.Map(ctx, pool, callSum.With(brine.Limits{Chunk: 1}), ins)
	spent := time.Since(start)
	if err != nil {
		return nil, err
	}
	pids := map[int]bool{}
	var list []int
	for _, s := range sums {
		if err := same(s.Sum, want); err != nil {
			return nil, err
		}
		if pids[s.PID] {
			return nil, fmt.Errorf("process %d: %w", s.PID, errUneven)
		}
		pids[s.PID] = true
		list = append(list, s.PID)
	}
	return fixedSample(spent, list, len(data))
}
