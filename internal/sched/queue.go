// Package sched decides which tasks are sent together, in which order, and what happens to those that come back
// unfinished. It knows numbers of tasks and estimates of time; it knows no process, no byte and no clock, and takes
// no lock: its caller does.
package sched

import (
	"slices"
	"time"
)

const (
	// target is how long a chunk should take. Measured: 5, 10 or 20 ms make no difference above 1 %.
	target = 5 * time.Millisecond
	// worth is the time below which it doesn't pay to divide work further: a wake-up of an idle core takes 20 µs.
	worth = 50 * time.Microsecond
	// probe is the most tasks in a chunk while nothing is known of their cost.
	probe = 16
	// gather is the most single tasks of several jobs that are sent together.
	gather = 64
	// maxChunk bounds the bookkeeping of a chunk whose tasks seem to take no time.
	maxChunk = 1 << 17
)

// Span is a run of consecutive tasks of one job: [Lo, Hi).
type Span struct {
	Job     *Job
	Lo, Hi  int
	Attempt int // how often these tasks have been started before
}

// Len returns the number of tasks.
func (s Span) Len() int { return s.Hi - s.Lo }

// Job is a source of tasks, numbered from 0. Its fields but Owner belong to the queue.
type Job struct {
	Owner any   // what the caller keeps with the job
	Cost  *Cost // of the job's function
	Chunk int   // tasks in a chunk, 0 for as many as seem right

	next, limit int    // tasks [next, limit) have not been issued
	returned    []Span // came back, to be issued first
	deaths      map[int]int
	queued      bool
	dropped     bool
}

// Waiting returns how many tasks are to be issued.
func (j *Job) Waiting() int {
	n := j.limit - j.next
	for _, s := range j.returned {
		n += s.Len()
	}
	return n
}

// Queue holds jobs with tasks to issue and serves them in turn, a chunk each, so that a small job need not wait for
// the end of a large one. The zero value is empty and ready.
type Queue struct {
	jobs    []*Job // in turn; head is the index of the first
	head    int
	waiting int
}

// Len returns how many tasks wait.
func (q *Queue) Len() int { return q.waiting }

// Extend adds the next n tasks of j.
func (q *Queue) Extend(j *Job, n int) {
	if j.dropped || n <= 0 {
		return
	}
	j.limit += n
	q.waiting += n
	q.push(j)
}

// Return puts tasks that were issued, but not run, back to be issued before all others of their job, and the job
// before all others. It returns false when the job was dropped.
func (q *Queue) Return(s Span) bool {
	if s.Job.dropped {
		return false
	}
	if s.Len() == 0 {
		return true
	}
	s.Job.returned = append(s.Job.returned, s)
	q.waiting += s.Len()
	if s.Job.queued {
		// It waits for its turn, which comes now. Returns are rare enough for a search.
		i := q.head + slices.Index(q.jobs[q.head:], s.Job)
		copy(q.jobs[q.head+1:i+1], q.jobs[q.head:i])
		q.jobs[q.head] = s.Job
		return true
	}
	s.Job.queued = true
	if q.head > 0 {
		q.head--
		q.jobs[q.head] = s.Job
	} else {
		q.jobs = append([]*Job{s.Job}, q.jobs...)
	}
	return true
}

// Drop takes all waiting tasks of j out of the queue and returns them; none of j will be accepted any more.
func (q *Queue) Drop(j *Job) []Span {
	spans := j.returned
	if j.limit > j.next {
		spans = append(spans, Span{Job: j, Lo: j.next, Hi: j.limit})
	}
	q.waiting -= j.Waiting()
	j.returned, j.next, j.dropped = nil, j.limit, true
	return spans
}

func (q *Queue) push(j *Job) {
	if j.queued {
		return
	}
	j.queued = true
	if q.head > 0 && len(q.jobs) == cap(q.jobs) {
		n := copy(q.jobs, q.jobs[q.head:])
		clear(q.jobs[n:])
		q.jobs, q.head = q.jobs[:n], 0
	}
	q.jobs = append(q.jobs, j)
}

func (q *Queue) pop() *Job {
	for q.head < len(q.jobs) {
		j := q.jobs[q.head]
		q.jobs[q.head] = nil
		q.head++
		j.queued = false
		if j.Waiting() > 0 {
			return j
		}
	}
	q.jobs, q.head = q.jobs[:0], 0
	return nil
}

// Take issues what one of several workers should be sent next, appended to dst: one span, or several of single tasks
// where many small jobs wait. most bounds the tasks in all.
func (q *Queue) Take(dst []Span, workers, most int) []Span {
	start := len(dst)
	budget := 0
	for most > 0 {
		j := q.pop()
		if j == nil {
			break
		}
		if len(dst) == start {
			budget = min(most, q.share(j, workers))
		}
		s := q.cut(j, min(budget, most))
		dst = append(dst, s)
		if j.Waiting() > 0 {
			q.push(j)
		}
		budget -= s.Len()
		most -= s.Len()
		// More jobs may follow only when this one was a lone task, as concurrent calls are.
		if s.Len() > 1 || budget <= 0 || len(dst)-start >= gather || !q.lone() {
			break
		}
	}
	return dst
}

// lone says whether the next job consists of a single task.
func (q *Queue) lone() bool {
	for q.head < len(q.jobs) {
		if n := q.jobs[q.head].Waiting(); n > 0 {
			return n == 1
		}
		q.jobs[q.head].queued = false
		q.jobs[q.head] = nil
		q.head++
	}
	return false
}

// share returns how many tasks one chunk should hold: as many as take the target time, but never more than a
// fraction of what is left, so that the workers finish together (guided self-scheduling, with the tail rule
// rest/(4·workers)+1; measured against others in docs/RATIONALE.md).
func (q *Queue) share(j *Job, workers int) int {
	if j.Chunk > 0 {
		return j.Chunk
	}
	rest := q.waiting/(4*max(1, workers)) + 1
	task := j.Cost.Task()
	if task == 0 {
		return min(probe, rest)
	}
	even := max(q.waiting, j.limit)/max(1, workers) + 1 // of a small job, the last chunk is as large as the first
	return min(max(1, int(target/task)), max(rest, min(even, int(worth/task))), maxChunk)
}

func (q *Queue) cut(j *Job, n int) Span {
	var s Span
	if last := len(j.returned) - 1; last >= 0 {
		s = j.returned[last]
		j.returned = j.returned[:last]
		if s.Len() > n {
			j.returned = append(j.returned, Span{Job: j, Lo: s.Lo + n, Hi: s.Hi, Attempt: s.Attempt})
			s.Hi = s.Lo + n
		}
	} else {
		s = Span{Job: j, Lo: j.next, Hi: min(j.next+n, j.limit)}
		j.next = s.Hi
	}
	q.waiting -= s.Len()
	return s
}

// Credit returns how many chunks of j a worker may hold: a second one hides the time of a wake-up, unless it would
// wait behind a long task, or nothing is known yet.
func (j *Job) Credit() int {
	if t := j.Cost.Task(); t == 0 || t > target {
		return 1
	}
	return 2
}

// Died notes that the task i ended its worker, or had to be ended with it, and returns how often that has happened.
func (j *Job) Died(i int) int {
	if j.deaths == nil {
		j.deaths = make(map[int]int)
	}
	j.deaths[i]++
	return j.deaths[i]
}
