package sched

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestGatherIsBounded(t *testing.T) {
	t.Parallel()
	var q Queue
	cost := new(Cost)
	cost.Observe(1, 10*time.Microsecond)
	for range 3 * gather {
		q.Extend(&Job{Cost: cost}, 1)
	}
	if got, want := len(q.Take(nil, 1, 1<<30)), 3*gather/4+1; got != want {
		t.Errorf("gathered %d calls, want %d as the tail rule says", got, want)
	}
	for range 100 * gather {
		q.Extend(&Job{Cost: cost}, 1)
	}
	if got := len(q.Take(nil, 1, 1<<30)); got != gather {
		t.Errorf("gathered %d calls of many, want %d", got, gather)
	}
	if got := len(q.Take(nil, 1, 10)); got != 10 {
		t.Errorf("gathered %d calls where 10 are the most", got)
	}
}

func TestTakeAppends(t *testing.T) {
	t.Parallel()
	var q Queue
	j := &Job{Cost: new(Cost), Chunk: 2}
	q.Extend(j, 4)
	spans := q.Take(q.Take(nil, 1, 10), 1, 10)
	if want := []Span{{Job: j, Lo: 0, Hi: 2}, {Job: j, Lo: 2, Hi: 4}}; !slices.Equal(spans, want) {
		t.Errorf("took %v, want %v", spans, want)
	}
}

func TestCost(t *testing.T) {
	t.Parallel()
	type sample struct {
		n int
		d time.Duration
	}
	for _, c := range []struct {
		name    string
		samples []sample
		lo, hi  time.Duration
	}{
		{"nothing is known", nil, 0, 0},
		{"the first sample counts whole", []sample{{4, 4 * time.Millisecond}}, time.Millisecond, time.Millisecond},
		{"nonsense counts not", []sample{{1, time.Second}, {0, time.Hour}, {-1, time.Hour}, {1, -1}}, time.Second, time.Second},
		{"no time is still known", []sample{{100, 0}}, 1, 1},
		{"one outlier moves little", []sample{{1, 1000}, {1, 2000}}, 1100, 1150},
		{"many tasks move half the way", []sample{{1, 1000}, {1000, 2000 * 1000}}, 1500, 1500},
		{"it gets down again", append([]sample{{1, time.Second}}, slices.Repeat([]sample{{16, 16 * time.Microsecond}}, 40)...), 1000, 1010},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var cost Cost
			for _, s := range c.samples {
				cost.Observe(s.n, s.d)
			}
			if got := cost.Task(); got < c.lo || got > c.hi {
				t.Errorf("a task takes %v, want %v to %v", got, c.lo, c.hi)
			}
		})
	}
}

// model is a job as it should be: what is to happen to each of its tasks.
type model struct {
	job      *Job
	state    []byte // by task: w waits, r came back, i issued, d done or dropped
	attempt  []int  // by task: that the next issue must have
	out      []Span
	returned int
}

// TestRandomHistories compares the queue with plain slices: whatever happens, every task that waits is issued once, and
// again only when it was returned.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 0))
		h := &history{t: t, seed: seed, r: r}
		for range 300 {
			h.step()
		}
		for h.q.Len() > 0 {
			before := h.q.Len()
			h.take(1 + r.IntN(50))
			if t.Failed() || h.q.Len() == before {
				t.Fatalf("seed %d: %d tasks wait and are not issued", seed, h.q.Len())
			}
		}
		for _, m := range h.models {
			if i := slices.IndexFunc(m.state, func(s byte) bool { return s == 'w' || s == 'r' }); i >= 0 {
				t.Fatalf("seed %d: the queue is empty, but task %d was never issued", seed, i)
			}
		}
	}
}

type history struct {
	t      *testing.T
	seed   uint64
	r      *rand.Rand
	q      Queue
	models []*model
}

func (h *history) step() {
	r := h.r
	if len(h.models) == 0 || r.IntN(10) == 0 {
		j := &Job{Cost: new(Cost)}
		if r.IntN(3) == 0 {
			j.Chunk = 1 + r.IntN(20)
		}
		h.models = append(h.models, &model{job: j})
	}
	m := h.models[r.IntN(len(h.models))]
	m.job.Owner = m
	switch r.IntN(8) {
	case 0, 1:
		n := []int{0, 1, 1, 1, 5, 200}[r.IntN(6)]
		h.q.Extend(m.job, n)
		if !m.job.dropped {
			m.state = append(m.state, slices.Repeat([]byte{'w'}, n)...)
			m.attempt = append(m.attempt, make([]int, n)...)
		}
	case 2:
		m.job.Cost.Observe(1+r.IntN(100), time.Duration(r.Int64N(int64(20*time.Millisecond))))
	case 3, 4:
		h.giveBack(m)
	case 5:
		if r.IntN(10) == 0 {
			h.drop(m)
		}
	default:
		h.take([]int{0, 1, 3, 1 << 30}[r.IntN(4)])
	}
	waiting := 0
	for _, m := range h.models {
		n := 0
		for _, s := range m.state {
			if s == 'w' || s == 'r' {
				n++
			}
		}
		if n != m.job.Waiting() {
			h.t.Fatalf("seed %d: %d tasks of a job wait, the queue says %d", h.seed, n, m.job.Waiting())
		}
		waiting += n
	}
	if waiting != h.q.Len() {
		h.t.Fatalf("seed %d: %d tasks wait, the queue says %d", h.seed, waiting, h.q.Len())
	}
}

func (h *history) take(most int) {
	total := 0
	for i, s := range h.q.Take(nil, 1+h.r.IntN(8), most) {
		m := s.Job.Owner.(*model)
		total += s.Len()
		if s.Len() < 1 || (i > 0 && s.Len() > 1) {
			h.t.Fatalf("seed %d: span %d of a chunk is %v", h.seed, i, s)
		}
		if m.job.Chunk > 0 && s.Len() > m.job.Chunk {
			h.t.Fatalf("seed %d: %d tasks at once of a job with chunks of %d", h.seed, s.Len(), m.job.Chunk)
		}
		for k := s.Lo; k < s.Hi; k++ {
			switch {
			case m.state[k] != 'w' && m.state[k] != 'r':
				h.t.Fatalf("seed %d: task %d, which is %c, is issued", h.seed, k, m.state[k])
			case m.state[k] == 'w' && m.returned > 0:
				h.t.Fatalf("seed %d: new task %d is issued before %d that came back", h.seed, k, m.returned)
			case m.attempt[k] != s.Attempt:
				h.t.Fatalf("seed %d: task %d is attempt %d, want %d", h.seed, k, s.Attempt, m.attempt[k])
			}
			if m.state[k] == 'r' {
				m.returned--
			}
			m.state[k] = 'i'
		}
		m.out = append(m.out, s)
	}
	if total > most || (total == 0 && most > 0 && h.q.Len() > 0) {
		h.t.Fatalf("seed %d: %d tasks issued, at most %d wanted, %d left", h.seed, total, most, h.q.Len())
	}
}

// giveBack ends some tasks at the beginning of a span, and returns some of the others.
func (h *history) giveBack(m *model) {
	if len(m.out) == 0 {
		return
	}
	at := h.r.IntN(len(m.out))
	s := m.out[at]
	m.out = slices.Delete(m.out, at, at+1)
	back := s
	back.Lo += h.r.IntN(s.Len() + 1)
	back.Hi -= h.r.IntN(back.Len() + 1)
	back.Attempt += h.r.IntN(2)
	for k := s.Lo; k < s.Hi; k++ {
		m.state[k] = 'd'
	}
	if ok := h.q.Return(back); ok == m.job.dropped {
		h.t.Fatalf("seed %d: return gives %v, the job is dropped: %v", h.seed, ok, m.job.dropped)
	} else if !ok {
		return
	}
	for k := back.Lo; k < back.Hi; k++ {
		m.state[k], m.attempt[k] = 'r', back.Attempt
	}
	m.returned += back.Len()
}

func (h *history) drop(m *model) {
	for _, s := range h.q.Drop(m.job) {
		for k := s.Lo; k < s.Hi; k++ {
			if m.state[k] != 'w' && m.state[k] != 'r' {
				h.t.Fatalf("seed %d: drop gives task %d, which is %c", h.seed, k, m.state[k])
			}
			m.state[k] = 'd'
		}
	}
	m.returned = 0
}
