package main

import (
	"context"
	"errors"

	"github.com/brinepool/brine"
)

// summer is a worker's state: the fixed data, of which there is one copy for all.
type summer struct{ data *brine.Shared[int64] }

func openSummer(_ context.Context, data *brine.Shared[int64]) (*summer, error) {
	return &summer{data}, nil
}

// Sum is the task.
func (s *summer) Sum(_ context.Context, list []int64) (int64, error) {
	return weigh(s.data.Slice(), list), nil
}

var (
	summers = brine.Define(openSummer)
	sum     = brine.Method(summers, (*summer).Sum)
)

// brinePool is Brine's pool.
type brinePool struct {
	data    *brine.Shared[int64]
	workers *brine.Pool[*summer]
	sum     brine.Func[*summer, []int64, int64]
}

// openBrine opens a pool that gives its workers so many lists at a time, 0 for as many as Brine finds right.
func openBrine(ctx context.Context, ints []int64, chunk int) (pool, error) {
	data, err := brine.Share(ints)
	if err != nil {
		return nil, err
	}
	workers, err := brine.Open(ctx, summers, data, &brine.Options{Workers: workers})
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	return &brinePool{data, workers, sum.With(brine.Limits{Chunk: chunk})}, nil
}

// Sums has the workers sum up the lists.
func (p *brinePool) Sums(ctx context.Context, lists [][]int64) ([]int64, error) {
	return brine.Map(ctx, p.workers, p.sum, lists)
}

// PIDs returns the numbers of the worker processes.
func (p *brinePool) PIDs() (pids []int) {
	for _, s := range p.workers.Stats().Processes {
		if s.Name == "worker" && !s.Ended {
			pids = append(pids, s.PID)
		}
	}
	return pids
}

// Close ends the workers, and then the memory that they share.
func (p *brinePool) Close() error { return errors.Join(p.workers.Close(), p.data.Close()) }
