package engine

import (
	"errors"

	"github.com/brinepool/brine/internal/sched"
)

// cause is why a worker was ended on purpose.
type cause struct {
	chunk   uint64
	started int64 // what the journal said of the task that was over its time; 0 for a cancellation
	unbegun bool  // the worker was given the chunk, and never began it in the time that a task of it may take
}

// bury takes leave of a worker that has ended or must: results that it had finished are handed out, the task that it
// was running is charged, and all others go back to the queue.
func (s *slot) bury(w *conn, why error) {
	e := s.e
	if !errors.Is(why, errEnded) {
		w.notePeak()
	}
	w.proc.Kill(reason(why))
	<-w.proc.Ended()
	// The pipe first, to its end; then what the journal still holds. A worker that broke the protocol is not read on.
	var bad *protocolError
	for !errors.As(why, &bad) && !errors.Is(why, errGivenUp) {
		if err := w.exchange(); err == nil {
			continue
		} else if errors.As(err, &bad) {
			break
		}
		if tail := w.link.Journal.Tail(w.link.Received()); len(tail) > 0 {
			w.link.Feed(tail)
			_ = w.deliver()
		}
		break
	}
	current, started := w.link.Journal.Current(), w.link.Journal.Started()
	e.mu.Lock()
	intended := w.cause
	killed := e.killed
	e.mu.Unlock()
	w.why = reasonFor(why, intended, killed)
	w.lost(current, intended)
	death := s.discard(w, reason(why))
	if bad != nil {
		death.Err = bad
	}
	e.counts.deaths.Add(1)
	s.settleFlights(w, current, started, intended, killed, death)
}

// reason is why a worker is ended by which its owner has lost faith in it: none, if it has ended of itself.
func reason(err error) error {
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}

// settleFlights decides on every task that a dead worker was sent and didn't answer: the one it was running is charged, the
// others go back. A worker that answered nothing and began nothing tells nothing; after some of those in a row, the first
// task is held to be the reason.
func (s *slot) settleFlights(w *conn, current uint64, started int64, intended *cause, killed bool, death Death) {
	e := s.e
	charged := false
	for _, f := range w.flights {
		if f.id == current && f.next < f.span.Hi {
			charged = true
		}
	}
	switch {
	case charged || w.fruitful || (death.Err == nil && current > 0 && current < w.nextID):
		s.fruitless = 0
	case len(w.flights) > 0 && intended == nil && !killed:
		s.fruitless++
	}
	for i, f := range w.flights {
		e.keep(&f)
		hit := f.id == current || (intended != nil && intended.unbegun && f.id == intended.chunk)
		if !charged && i == 0 && s.fruitless >= fruitlessDeaths {
			hit, s.fruitless = true, 0
		}
		if !hit || f.next >= f.span.Hi {
			e.giveBack(f.job, sched.Span{Job: f.span.Job, Lo: f.next, Hi: f.span.Hi, Attempt: f.span.Attempt})
			continue
		}
		w.charge(f, started, intended, killed, death)
	}
	w.flights = nil
}

// charge ends or retries the task that a worker was running when it died, and gives the rest of its chunk back.
func (w *conn) charge(f flight, started int64, intended *cause, killed bool, death Death) {
	e, j, i := w.e, f.job, f.next
	fail := &Failure{Cause: Crashed, Attempt: f.span.Attempt + 1}
	innocent := false
	if intended != nil {
		switch {
		case intended.unbegun && intended.chunk == f.id:
			fail.Cause, fail.Timeout = TimedOut, j.Timeout
		case intended.started == 0 && intended.chunk == f.id:
			// Cancelled: lose finds that its job is.
		case intended.started != 0 && intended.chunk == f.id && intended.started == started:
			fail.Cause, fail.Timeout = TimedOut, j.Timeout
			fail.Stack = w.stackOf(f.id, i-f.span.Lo)
		default:
			innocent = true // the one that was meant had just ended
		}
	}
	rest := sched.Span{Job: f.span.Job, Lo: i + 1, Hi: f.span.Hi, Attempt: f.span.Attempt}
	if innocent {
		rest.Lo = i
		e.giveBack(j, rest)
		return
	}
	e.giveBack(j, rest)
	if killed {
		death.Err = ErrClosed
	}
	j.addDeath(i, death)
	if !e.lose(j, i, fail) {
		e.counts.failed.Add(1)
		j.work.Flushed()
		e.settle(j, 1)
	}
}
