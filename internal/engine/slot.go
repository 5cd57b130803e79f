package engine

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/brinepool/brine/internal/link"
)

const (
	// startAttempts is how often a replacement that dies before it is ready is started again.
	startAttempts = 5
	// systemAttempts is how often the system is asked again for what a worker needs.
	systemAttempts = 66
	// startWait is the pause before the second attempt; it doubles, up to maxStartWait.
	startWait    = 10 * time.Millisecond
	maxStartWait = time.Second
	// fruitlessDeaths is how many workers in a row may die without having answered or begun anything before the task
	// that they were sent first is held to be the reason.
	fruitlessDeaths = 3
)

// slot is the place of one worker: its goroutine starts it, drives it, buries it and starts the next.
type slot struct {
	e    *Engine
	id   int
	wake chan struct{} // one token from whoever took the slot off the idle list

	shares shares

	w    *conn // guarded by e.mu; nil while there is none
	idle bool  // guarded by e.mu
	loan *Loan // guarded by e.mu; of the worker, while another program drives it

	fruitless int // deaths in a row that tell nothing
	barren    int // workers in a row that ended without having answered anything
}

func (s *slot) awake() { s.wake <- struct{}{} }

// run keeps a worker in the slot until the engine ends. The outcome of the first start goes to first.
func (s *slot) run(first chan<- error) {
	defer s.e.running.Done()
	for attempt := 0; ; attempt++ {
		w, err := s.start()
		if first != nil {
			first <- err
			first = nil
			if err != nil {
				return
			}
		}
		if err != nil {
			if s.again(attempt, err) {
				continue
			}
			s.giveUp(err)
			return
		}
		attempt = -1
		if !s.serve(w) {
			return
		}
		if w.fruitful {
			s.barren = 0
		} else if s.barren++; s.barren > 1 && !s.pause(s.barren-2) {
			return
		}
	}
}

// pause waits before an attempt, longer for each one before it. It returns false when there is to be none.
func (s *slot) pause(attempt int) bool {
	wait := time.NewTimer(min(startWait<<min(attempt, 10), maxStartWait))
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-s.e.stopping:
		return false
	}
}

// again waits before a failed start is repeated; false means that there is no sense in it. An initializer that
// returned an error or panicked has given its answer. A worker that died may do better, but not for ever. One that was
// killed by somebody has said nothing; that, and a system that is short of descriptors or processes, is given a minute.
func (s *slot) again(attempt int, err error) bool {
	attempts := systemAttempts
	if start, ok := errors.AsType[*StartError](err); ok {
		if start.Failure.Cause != Crashed {
			return false
		}
		if attempts = startAttempts; start.Failure.Deaths[0].byOthers() {
			attempts = systemAttempts
		}
	}
	var bad *protocolError
	if errors.Is(err, errOtherBuild) || errors.As(err, &bad) {
		return false
	}
	if s.ended() || attempt+1 >= attempts {
		return false
	}
	s.e.cfg.Logger.Warn("brine: a worker could not be started, trying again", "kind", s.e.cfg.Kind, "err", err)
	return s.pause(attempt)
}

func (s *slot) ended() bool {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	return s.e.killed || (s.e.closing && len(s.e.jobs) == 0)
}

// giveUp leaves the slot empty. When the last one does, the pool has no workers and all its tasks fail.
func (s *slot) giveUp(err error) {
	e := s.e
	if s.ended() {
		return
	}
	e.cfg.Logger.Error("brine: giving up a worker", "kind", e.cfg.Kind, "err", err)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost++
	if e.lost < len(e.slots) {
		return
	}
	e.down = fmt.Errorf("brine: the pool has no workers left: %w", err)
	e.failQueued(Refused, e.down)
}

// serve drives a worker until it ends, and says whether another is to be started in its place.
func (s *slot) serve(w *conn) bool {
	e := s.e
	err := s.drive(w)
	if err != nil {
		if errors.Is(err, errGivenUp) {
			s.await(w, givenUpWait)
		}
		s.bury(w, err)
	} else {
		s.quit(w)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.killed && !(e.closing && len(e.jobs) == 0)
}

// await waits for the end of a worker.
func (s *slot) await(w *conn, most time.Duration) {
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-w.proc.Ended():
	case <-late.C:
	}
}

// drive sends and receives as long as there is work, and waits while there is none. It returns nil when the worker is
// to end in an orderly way, and the reason when it has ended or must.
func (s *slot) drive(w *conn) error {
	for {
		if w.broken != nil {
			return w.broken
		}
		w.refill()
		if w.outstanding() == 0 {
			orderly, err := s.rest(w)
			if orderly || err != nil {
				return err
			}
			continue
		}
		if err := w.exchange(); err != nil {
			return err
		}
		if w.woke {
			// Let those run whose tasks have ended: what they submit next can go out together.
			w.woke = false
			runtime.Gosched()
		}
	}
}

// rest makes the slot idle until somebody wakes it. It returns at once when there is work after all.
func (s *slot) rest(w *conn) (orderly bool, err error) {
	e := s.e
	e.mu.Lock()
	if s.over(w) {
		e.mu.Unlock()
		return true, nil
	}
	if e.queue.Len() > 0 {
		e.mu.Unlock()
		return false, nil
	}
	w.release()
	s.lie()
	e.balance()
	e.mu.Unlock()
	select {
	case <-s.wake:
	case <-w.proc.Ended():
		e.mu.Lock()
		mine := s.idle
		if mine {
			s.unlie()
		}
		e.mu.Unlock()
		if mine {
			return false, errEnded
		}
		<-s.wake // whoever leased the worker will find out and hand it back
	}
	return false, nil
}

// lie puts the slot on the idle list. The caller holds e.mu.
func (s *slot) lie() {
	s.idle = true
	s.e.idle = append(s.e.idle, s)
}

// unlie takes it off again. The caller holds e.mu.
func (s *slot) unlie() {
	s.idle = false
	for i, o := range s.e.idle {
		if o == s {
			s.e.idle = append(s.e.idle[:i], s.e.idle[i+1:]...)
			return
		}
	}
}

// lease has the calling goroutine, which took the slot off the idle list, drive its worker for the one task that it
// took from the queue. It returns false when the job goes on without the caller: then its done channel tells.
func (s *slot) lease(w *conn, j *Job) bool {
	e := s.e
	w.post()
	for w.broken == nil && w.outstanding() > 0 && j.left.Load() > 0 {
		w.broken = w.exchange()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	w.release()
	ended := j.left.Load() == 0
	if !ended {
		j.done = make(chan struct{}) // settle, which closes it, looks for it under e.mu
	}
	if w.broken != nil || w.outstanding() > 0 || e.queue.Len() > 0 || s.over(w) {
		s.awake()
	} else {
		s.lie()
	}
	return ended
}

// over says that an idle worker is to end. The caller holds e.mu.
func (s *slot) over(w *conn) bool {
	return s.e.killed || w.spent() || (s.e.closing && len(s.e.jobs) == 0)
}

// quit lets a worker close its state and exit.
func (s *slot) quit(w *conn) {
	e := s.e
	e.mu.Lock()
	killed := e.killed
	e.mu.Unlock()
	if killed {
		w.proc.Kill(ErrClosed)
	}
	w.notePeak()
	timer := time.AfterFunc(e.cfg.Farewell, func() { w.proc.Kill(errLate) })
	defer timer.Stop()
	err := w.bye()
	if !timer.Stop() {
		w.why = errLate.Error()
	}
	if killed {
		w.why = reasonFor(nil, nil, true)
	}
	s.discard(w, nil)
	if err != nil && !killed {
		e.mu.Lock()
		e.quitErrs = append(e.quitErrs, err)
		e.mu.Unlock()
	}
}

var errEnded = errors.New("the worker has ended")

// bye asks for an orderly end and waits for it.
func (w *conn) bye() error {
	b, at := link.AppendHeader(w.link.Buffer())
	_ = link.EndFrame(b, at, link.Header{Type: link.Quit})
	w.link.SetBuffer(b)
	_ = w.link.Flush()
	var answer *link.ReadyMessage
	for ended := false; ; {
		for {
			h, payload, ok := w.link.Next()
			if !ok {
				break
			}
			if h.Type == link.Bye {
				answer = new(link.ReadyMessage)
				if err := answer.Parse(payload); err != nil {
					return err
				}
				answer.Body = append([]byte(nil), answer.Body...)
			}
		}
		if ended {
			break
		}
		ended = w.link.Exchange() != nil // at the end of the stream there may be more than there was before
	}
	w.left = answer != nil
	if answer == nil {
		return fmt.Errorf("brine: worker %d was ended before it had closed its state", w.proc.Pid())
	}
	if f := readyFailure(answer); f != nil {
		return &CloseError{Failure: f}
	}
	return nil
}
