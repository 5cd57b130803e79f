package main

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// makespanWorkers is the number of workers in the makespan rows, and of goroutines beside them.
const makespanWorkers = 2

// serviceFunc runs for about d nanoseconds and returns how long it took by its own clock.
type serviceFunc func(ctx context.Context, d int64) (int64, error)

// taskRunner runs task once for each of the times and returns what the tasks measured, in order. A pool has its own task and ignores this one.
type taskRunner func(task serviceFunc, times []int64) ([]int64, error)

// taskTimes are the service times, in nanoseconds, of the tasks called "equal" or "pareto".
func taskTimes(tasks string, c entrant.Config) []int64 {
	if tasks == "pareto" {
		return paretoTimes(c)
	}
	return equalTimes(c)
}

// equalTimes are tasks of 1 ms.
func equalTimes(c entrant.Config) []int64 {
	n := 1000
	if c.Short {
		n = 300
	}
	return slices.Repeat([]int64{int64(time.Millisecond)}, n)
}

// paretoTimes are heavy-tailed: Pareto with shape 1.3 and a mean of 1 ms before they are cut off at 200 ms (0.9 ms after), from a fixed seed.
func paretoTimes(c entrant.Config) []int64 {
	const (
		shape = 1.3
		mean  = float64(time.Millisecond)
		least = mean * (shape - 1) / shape
		most  = 200 * float64(time.Millisecond)
	)
	n := 2000
	if c.Short {
		n = 400
	}
	r := rand.New(rand.NewPCG(13, 1964))
	times := make([]int64, n)
	for i := range times {
		times[i] = int64(min(most, least*math.Pow(1-r.Float64(), -1/shape)))
	}
	return times
}

// makespan measures one run of all tasks: its time, the ideal, both in milliseconds, and the first over the second. The ideal is what
// the tasks themselves measured, divided by the workers, but never less than the longest task.
func makespan(times []int64, task serviceFunc, run taskRunner, done func() error) entrant.Entrant {
	return entrant.Entrant{Close: done, Sample: func(context.Context) ([]float64, error) {
		start := time.Now()
		took, err := run(task, times)
		span := time.Since(start)
		if err != nil {
			return nil, err
		}
		if err := same(len(took), len(times)); err != nil {
			return nil, err
		}
		var sum, longest int64
		for _, d := range took {
			sum += d
			longest = max(longest, d)
		}
		ideal := max(float64(sum)/makespanWorkers, float64(longest)) / 1e6
		ms := float64(span.Nanoseconds()) / 1e6
		return []float64{ms, ideal, ms / ideal}, nil
	}}
}

// burner keeps a core busy for a time by a fixed amount of work, found once: a neighbour that takes the core away makes the task
// longer, as it does with real work.
type burner struct {
	turns float64 // turns of spin in a nanosecond
	sink  uint64
}

// newBurner calibrates by the fastest of several runs, the one least disturbed.
func newBurner() *burner {
	const turns = 200_000
	b := &burner{}
	best := time.Duration(math.MaxInt64)
	for range 20 {
		start := time.Now()
		b.sink += spin(turns)
		best = min(best, time.Since(start))
	}
	b.turns = turns / float64(best.Nanoseconds())
	return b
}

// spin does turns steps of a linear congruential generator, each of which needs the one before.
func spin(turns int) uint64 {
	x := uint64(turns)
	for range turns {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}

// Burn is a serviceFunc that computes.
func (b *burner) Burn(_ context.Context, d int64) (int64, error) {
	start := time.Now()
	if spin(int(float64(d)*b.turns)) == 1 {
		return 0, nil // never: but the compiler does not know
	}
	return time.Since(start).Nanoseconds(), nil
}

// Sleep is a serviceFunc that waits.
func (*burner) Sleep(_ context.Context, d int64) (int64, error) {
	start := time.Now()
	time.Sleep(time.Duration(d))
	return time.Since(start).Nanoseconds(), nil
}
