package engine

import (
	"errors"
	"time"

	"github.com/brinepool/brine/internal/link"
)

// Cancel ends a job: tasks that wait fail with err, those that run are told to stop, and their workers are ended when
// they have not after the grace period.
func (e *Engine) Cancel(j *Job, err error) {
	e.mu.Lock()
	if j.cancelled != nil {
		e.mu.Unlock()
		return
	}
	j.cancelled = err
	spans := e.queue.Drop(&j.queue)
	running := false
	for _, s := range e.slots {
		if s.w == nil {
			continue
		}
		for _, a := range s.w.active {
			if a.job == j {
				s.w.link.Control(link.Cancel, a.id)
				running = true
			}
		}
	}
	if running {
		j.force = time.AfterFunc(e.cfg.Grace, func() { e.force(j) })
	}
	e.mu.Unlock()
	for _, s := range spans {
		e.failSpan(j, s, Cancelled, err)
	}
	j.work.Flushed()
}

// force ends the workers that have neither stopped nor returned the chunks of a cancelled job.
func (e *Engine) force(j *Job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.slots {
		if s.w == nil {
			continue
		}
		for _, a := range s.w.active {
			if a.job == j {
				s.w.end(&cause{chunk: a.id})
			}
		}
	}
}

// recallAfter is how long a worker may be idle while another has a chunk waiting behind the one that it runs.
const recallAfter = 20 * time.Millisecond

// balance has chunks recalled that wait behind a task which takes much longer than its kind did before, if there are
// still idle workers in a while. The caller holds mu.
func (e *Engine) balance() {
	if e.recall != nil || e.killed {
		return
	}
	for _, s := range e.slots {
		if s.w != nil && s.w.recallable() {
			e.recall = time.AfterFunc(recallAfter, e.recallWaiting)
			return
		}
	}
}

func (e *Engine) recallWaiting() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recall = nil
	if len(e.idle) == 0 || e.queue.Len() > 0 {
		return // the next worker that becomes idle looks again
	}
	for _, s := range e.slots {
		if s.w != nil && s.w.recallable() {
			s.w.recalled = s.w.active[len(s.w.active)-1].id
			s.w.link.Control(link.Recall, s.w.recalled)
		}
	}
}

// recallable says whether the worker has a chunk that waits and was not asked for yet. The caller holds e.mu.
func (w *conn) recallable() bool {
	n := len(w.active)
	return n > 1 && w.active[n-1].id != w.recalled
}

// watch sees to it that the time limits of the worker's chunks are kept. The caller holds e.mu.
func (w *conn) watch() {
	limit := w.limit()
	if limit == 0 {
		return
	}
	// A timer that is set looks at all active chunks when it fires; that it may be too late for a new one.
	if due := time.Now().Add(limit); w.timer == nil || due.Before(w.due) {
		w.set(limit)
	}
}

func (w *conn) set(after time.Duration) {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.due = time.Now().Add(after)
	w.timer = time.AfterFunc(after, w.check)
}

// limit returns the shortest time after which a task of an active chunk could be due for its end, 0 for none.
func (w *conn) limit() time.Duration {
	shortest := time.Duration(0)
	for _, a := range w.active {
		if t := a.job.Timeout; t > 0 && (shortest == 0 || t < shortest) {
			shortest = t
		}
	}
	if shortest == 0 {
		return 0
	}
	return shortest + w.e.cfg.Grace
}

// check ends the worker if its running task has had its time and the grace period; the worker itself has told the
// task when its time was up.
func (w *conn) check() {
	e := w.e
	e.mu.Lock()
	defer e.mu.Unlock()
	w.timer = nil
	if len(w.active) == 0 {
		return
	}
	next := w.limit()
	current, started, now := w.link.Journal.Current(), w.link.Journal.Started(), link.Monotonic()
	begun := false
	for _, a := range w.active {
		if a.id != current {
			continue
		}
		begun = true
		if a.job.Timeout == 0 || started == 0 {
			break
		}
		left := a.job.Timeout + e.cfg.Grace - time.Duration(now-started)
		if left <= 0 {
			w.end(&cause{chunk: a.id, started: started})
			return
		}
		next = left
	}
	// A worker that does nothing, or only says so, has as long to begin as its task may take.
	if first := w.active[0]; !begun && first.since > 0 {
		left := first.job.Timeout + e.cfg.Grace - time.Duration(now-max(first.since, w.progress.Load()))
		if left <= 0 {
			w.end(&cause{chunk: first.id, unbegun: true})
			return
		}
		next = left
	}
	if next > 0 {
		w.set(next)
	}
}

func (c *cause) reason() error {
	switch {
	case c.unbegun:
		return errUnbegun
	case c.started != 0:
		return errOverTime
	}
	return errCancelled
}

// Why the engine ends workers.
var (
	errUnbegun   = errors.New("brine: it did not begin its tasks in the time that one may take")
	errOverTime  = errors.New("brine: its task was over its time")
	errCancelled = errors.New("brine: its task was cancelled and did not stop")
	errLate      = errors.New("brine: it took too long to end")
)

// end ends the worker by force, after it had the chance to print its stacks. The caller holds e.mu.
func (w *conn) end(c *cause) {
	if w.cause != nil {
		return
	}
	w.cause = c
	w.proc.Stop(c.reason())
}
