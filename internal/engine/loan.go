package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
)

// leased is the name under which the account has what borrowers ran of several functions.
const leased = "(leased)"

// givenUpWait is how long a worker that its borrower gave up has to end by itself, which it may be about to do.
const givenUpWait = 100 * time.Millisecond

var errGivenUp = errors.New("brine: who had leased the worker gave it up")

// Loan is an idle worker that another program drives, over the same pipes. The slot is off the idle list meanwhile, and
// its goroutine waits for a token.
type Loan struct {
	s       *slot
	w       *conn
	revoked bool // guarded by Engine.mu
}

// Receipt is what the borrower of a worker tells when it gives it back.
type Receipt struct {
	NextID   uint64 // the next chunk's
	Received uint64 // bytes that have come from the result pipe since the worker was started
	Tasks    int    // that it ran
	Failed   int    // of them
	Function string // that all of them called; empty if there were several
	Bytes    int64  // of their arguments
	Results  int64  // bytes of their results
	Spent    link.Spent
	Broken   bool // the worker is to be ended
}

// Lend returns an idle worker, nil if there is none or other work waits.
func (e *Engine) Lend() *Loan {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open() != nil || e.queue.Len() > 0 {
		return nil
	}
	for _, s := range slices.Backward(e.idle) {
		select {
		case <-s.w.proc.Ended():
			continue // its goroutine is about to bury it
		default:
		}
		if !s.w.link.Clean() || s.w.broken != nil {
			continue
		}
		s.unlie()
		s.loan = &Loan{s: s, w: s.w}
		e.lent++
		return s.loan
	}
	return nil
}

// Worker returns the number of the worker.
func (l *Loan) Worker() uint32 { return l.w.proc.Worker() }

// Position returns the id that the next chunk is to have, and how many bytes have come from the result pipe.
func (l *Loan) Position() (nextID, received uint64) { return l.w.nextID, l.w.link.Received() }

// Return gives the worker back. An error says that the receipt can't be right, and the worker is ended. A worker that
// was ended meanwhile, with the pool, needs no return.
func (l *Loan) Return(r Receipt) error {
	s, w, e := l.s, l.w, l.s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.loan != l {
		return nil
	}
	s.loan = nil
	e.lent--
	var err error
	id, received := l.Position()
	switch {
	case r.NextID < id || r.Received < received || r.Tasks < 0 || uint64(r.Tasks) > r.NextID-id || r.Failed < 0 || r.Failed > r.Tasks || r.Bytes < 0 || r.Results < 0:
		err = fmt.Errorf("brine: a leased worker at chunk %d and byte %d can't have come to chunk %d and byte %d with %d tasks, %d failed",
			id, received, r.NextID, r.Received, r.Tasks, r.Failed)
		w.broken = errGivenUp
	case r.Broken:
		w.broken = errGivenUp
		fallthrough
	default:
		w.nextID = r.NextID
		w.link.Passed(r.Received)
		w.ran(r)
	}
	if w.kickDue {
		w.link.Kick()
	}
	ended := false
	select {
	case <-w.proc.Ended():
		ended = true
	default:
	}
	if ended || w.broken != nil || e.queue.Len() > 0 || s.over(w) {
		s.awake()
	} else {
		s.lie()
	}
	return err
}

// ran books what a borrower ran.
func (w *conn) ran(r Receipt) {
	if r.Tasks == 0 {
		return
	}
	w.fruitful = true
	w.issued += r.Tasks
	name := r.Function
	if name == "" {
		name = leased
	}
	run := time.Duration(max(0, r.Spent.Run))
	w.acct.Ran(r.Tasks, run)
	now := w.e.now() // when the calls were in between isn't known
	at := now - time.Duration(max(0, r.Spent.Run)+max(0, r.Spent.Decode)+max(0, r.Spent.Encode))
	w.acct.Done(&ledger.Chunk{
		Function: name, Worker: w.acct.PID, Tasks: r.Tasks, Bytes: r.Bytes, Results: r.Results, Begun: at, Sent: at, Back: now, Read: now,
		Decode: time.Duration(max(0, r.Spent.Decode)), Run: run, Encode: time.Duration(max(0, r.Spent.Encode)),
	})
	lines := w.acct.Lines(name)
	lines[ledger.Argument][ledger.Decode].Add(r.Tasks, r.Bytes, 0, time.Duration(max(0, r.Spent.Decode)))
	lines[ledger.Result][ledger.Encode].Add(r.Tasks-r.Failed, r.Results, 0, time.Duration(max(0, r.Spent.Encode)))
	w.e.counts.done.Add(int64(r.Tasks - r.Failed))
	w.e.counts.failed.Add(int64(r.Failed))
}

// revoke asks for up to n lent workers back. The caller holds mu.
func (e *Engine) revoke(n int) {
	for _, s := range e.slots {
		if s.loan == nil {
			continue
		}
		if n--; n < 0 {
			return
		}
		if !s.loan.revoked {
			s.loan.revoked = true
			e.cfg.Revoke(s.loan.Worker())
		}
	}
}

// seize ends all loans without the borrowers. The caller holds mu and has killed the workers.
func (e *Engine) seize() {
	for _, s := range e.slots {
		if s.loan != nil {
			s.loan = nil
			e.lent--
			s.awake()
		}
	}
}
