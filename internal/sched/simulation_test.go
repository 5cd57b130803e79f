package sched

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// What things cost in the simulation, as measured (docs/RATIONALE.md).
const (
	wakeUp    = 20 * time.Microsecond // of an idle worker, or of the parent that waits for results
	perChunk  = 3 * time.Microsecond  // a write, a read and the frame around it
	flushTime = time.Millisecond      // how long results are kept back while a chunk goes on
)

// TestMakespan runs jobs on a clock of its own and compares the time that they take with the least possible.
func TestMakespan(t *testing.T) {
	t.Parallel()
	uniform := func(d time.Duration) func(*rand.Rand) time.Duration {
		return func(*rand.Rand) time.Duration { return d }
	}
	// pareto has a heavy tail: a few tasks take most of the time. It is cut at a thousand times the shortest.
	pareto := func(r *rand.Rand) time.Duration {
		return time.Duration(float64(100*time.Microsecond) * math.Min(1000, math.Pow(1-r.Float64(), -1/1.3)))
	}
	for _, c := range []struct {
		name  string
		tasks int
		cost  func(*rand.Rand) time.Duration
		most  float64
	}{
		{"10us", 100_000, uniform(10 * time.Microsecond), 1.05},
		{"1ms", 4_000, uniform(time.Millisecond), 1.05},
		{"pareto", 10_000, pareto, 1.10},
	} {
		for _, workers := range []int{2, 8} {
			t.Run(fmt.Sprintf("%s/%d", c.name, workers), func(t *testing.T) {
				t.Parallel()
				var ratios []float64
				for seed := range uint64(31) {
					r := rand.New(rand.NewPCG(seed, 1))
					costs := make([]time.Duration, c.tasks)
					for i := range costs {
						costs[i] = c.cost(r)
					}
					s := simulation{costs: costs, workers: workers}
					ratios = append(ratios, s.run(t))
				}
				slices.Sort(ratios)
				t.Logf("makespan/ideal %.4f (least %.4f, most %.4f)", ratios[15], ratios[0], ratios[30])
				if ratios[15] > c.most {
					t.Errorf("makespan/ideal is %.3f in the median, want at most %.2f", ratios[15], c.most)
				}
			})
		}
	}
}

// simulation is a pool with a virtual clock. As in the engine, each worker's side in the parent refills it with as
// many chunks as it has credit for whenever results arrive, which is at the end of a chunk or after flushTime.
type simulation struct {
	costs   []time.Duration
	workers int

	q      Queue
	job    *Job
	events events
	ran    []int
}

type simWorker struct {
	pending []pending // sent, not begun
	held    int       // chunks sent and not ended
	free    time.Duration
	running bool
}

type pending struct {
	span Span
	sent time.Duration
}

// event is the arrival of results in the parent.
type event struct {
	at   time.Duration
	w    *simWorker
	n    int
	took time.Duration
	last bool // of its chunk
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(a, b int) bool { return e[a].at < e[b].at }
func (e events) Swap(a, b int)      { e[a], e[b] = e[b], e[a] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *simulation) run(t *testing.T) (ratio float64) {
	t.Helper()
	s.job = &Job{Cost: new(Cost)}
	s.ran = make([]int, len(s.costs))
	s.q.Extend(s.job, len(s.costs))
	for range s.workers {
		s.refill(&simWorker{}, 0)
	}
	var end time.Duration
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(event)
		end = e.at
		s.job.Cost.Observe(e.n, e.took)
		if e.last {
			e.w.held--
			e.w.running = false
			s.begin(e.w)
		}
		s.refill(e.w, e.at)
	}
	var sum, longest time.Duration
	for i, d := range s.costs {
		sum += d
		longest = max(longest, d)
		if s.ran[i] != 1 {
			t.Fatalf("task %d ran %d times", i, s.ran[i])
		}
	}
	return float64(end) / float64(max(sum/time.Duration(s.workers), longest))
}

func (s *simulation) refill(w *simWorker, now time.Duration) {
	for w.held < 2 && (w.held == 0 || s.job.Credit() == 2) {
		spans := s.q.Take(nil, s.workers, 1<<30)
		if len(spans) == 0 {
			return
		}
		w.held++
		w.pending = append(w.pending, pending{spans[0], now})
		s.begin(w)
	}
}

// begin has an idle worker run its next chunk, and puts the arrivals of its results among the events. A worker that has
// one waiting goes on at once; one that has to be woken takes its time.
func (s *simulation) begin(w *simWorker) {
	if w.running || len(w.pending) == 0 {
		return
	}
	span, sent := w.pending[0].span, w.pending[0].sent
	w.pending = w.pending[1:]
	w.running = true
	at := w.free + perChunk
	if sent > w.free {
		at = sent + wakeUp + perChunk
	}
	var frame event
	flushed := at
	for i := span.Lo; i < span.Hi; i++ {
		s.ran[i]++
		at += s.costs[i]
		frame.n++
		frame.took += s.costs[i]
		if last := i == span.Hi-1; last || at-flushed >= flushTime {
			frame.at, frame.w, frame.last = at+wakeUp, w, last
			heap.Push(&s.events, frame)
			frame, flushed = event{}, at
		}
	}
	w.free = at
}
