package engine

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/proc"
)

// shares are a slot's own of the parent's tallies, by number of function.
type shares []*ledger.Lines

// add sees to it that there is one of a function.
func (s *shares) add(parent *ledger.Process, number int, function string) {
	for len(*s) <= number {
		*s = append(*s, nil)
	}
	if (*s)[number] == nil {
		(*s)[number] = parent.Share(function)
	}
}

// now returns the time since the pool was opened, from which the ledger counts.
func (e *Engine) now() time.Duration { return time.Since(e.began) }

type counts struct{ done, failed, retried, deaths, started atomic.Int64 }

// Counts are numbers of tasks and workers since the pool was opened.
type Counts struct{ Done, Failed, Retried, Deaths, Started int64 }

// Counts returns numbers of tasks and workers.
func (e *Engine) Counts() Counts {
	return Counts{e.counts.done.Load(), e.counts.failed.Load(), e.counts.retried.Load(), e.counts.deaths.Load(), e.counts.started.Load()}
}

// Ledger returns the account of what crossed.
func (e *Engine) Ledger() *ledger.Ledger { return e.ledger }

// Snapshot returns the account at this moment, and how old the pool is.
func (e *Engine) Snapshot() (ledger.Snapshot, time.Duration) {
	var workers []*conn
	e.mu.Lock()
	for _, s := range e.slots {
		if s.w != nil {
			workers = append(workers, s.w)
		}
	}
	e.mu.Unlock()
	for _, w := range workers {
		w.notePeak()
	}
	now := e.now()
	if over := e.over.Load(); over > 0 {
		now = time.Duration(over)
	}
	return e.ledger.Snapshot(now), now
}

// notePeak notes how much memory the worker has had so far, which nobody can tell when it is gone.
func (w *conn) notePeak() {
	select {
	case <-w.proc.Ended(): // its number may be another's
	default:
		w.acct.Peak(proc.Peak(w.proc.Pid()))
	}
}

// book notes where the time of a chunk went, from a frame of its results that had come at a moment and was read then.
func (w *conn) book(f *flight, t *tally, spent link.Spent, at time.Time, took time.Duration) (back time.Duration) {
	way := &f.way
	way.Back = at.Sub(w.e.began)
	way.Read = way.Back + took
	way.Decode += time.Duration(max(0, spent.Decode) + max(0, spent.Bound))
	way.Run += time.Duration(max(0, spent.Run))
	way.Encode += time.Duration(max(0, spent.Encode))
	way.Results += t.bytes
	return way.Back
}

// busy notes since when the worker has been at the first of its chunks, as far as one knows, or that it has none.
func (w *conn) busy(since time.Duration) {
	if len(w.flights) == 0 {
		since = 0
	}
	w.acct.Busy(since)
}

// lost notes the chunk that a worker was busy with when it ended. What it did since it last answered counts as running.
func (w *conn) lost(current uint64, intended *cause) {
	now, since := w.e.now(), w.acct.BusySince()
	w.acct.Busy(0)
	for i := range w.flights {
		f := &w.flights[i]
		if f.next == f.span.Hi || f.id != current && (intended == nil || !intended.unbegun || f.id != intended.chunk) {
			continue
		}
		if since > 0 && i == 0 {
			f.way.Run += max(0, now-max(since, f.way.Sent))
			w.acct.Ran(0, max(0, now-since))
		}
		f.way.Back, f.way.Read = now, now
		f.way.Lost = "the worker died"
		if w.why != "" {
			f.way.Lost = "the worker was ended: " + w.why
		}
		w.acct.Done(&f.way)
		return
	}
}

// reasonFor says why a worker was ended that didn't end by itself, empty if it did.
func reasonFor(why error, intended *cause, killed bool) string {
	switch {
	case killed:
		return "the pool was ended"
	case intended != nil && intended.started == 0 && !intended.unbegun:
		return "its task was cancelled, and went on"
	case intended != nil:
		return "its task was over its time"
	case why != nil && !errors.Is(why, errEnded):
		return why.Error()
	}
	return ""
}

// ended notes the end of a worker. Who has closed its state has not died.
func (w *conn) ended(d Death) {
	now := w.e.now()
	w.acct.Peak(d.Memory)
	w.acct.Busy(0) // an orderly end leaves nothing
	w.acct.End(now)
	event := ledger.Event{At: now, PID: w.proc.Pid(), Kind: ledger.Died}
	switch {
	case w.why != "":
		event.Kind, event.Text = ledger.Killed, w.why
	case w.left:
		event.Kind = ledger.Ended
	case d.State != nil:
		event.Text = d.State.String()
	case d.Status != nil && d.Status.Signaled():
		event.Text = "signal: " + d.Status.Signal().String()
	case d.Status != nil:
		event.Text = fmt.Sprintf("exit status %d", d.Status.ExitStatus())
	}
	w.e.ledger.Note(event)
}
