package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// Marker is the environment variable that tells a started program that it is a worker, and Depth the one that tells it,
// and all its descendants, how many pools they are nested in. The parent sets both: what a started program does cannot
// make it forget how deep it is.
const (
	Marker = "BRINE_WORKER"
	Depth  = "BRINE_DEPTH"
)

var errOtherBuild = errors.New("the worker is another build")

// StartError says that a worker's state could not be opened.
type StartError struct {
	Kind    string
	Worker  uint32   // as the front end knows it
	Failure *Failure // Erred, Panicked or Crashed
}

func (e *StartError) Error() string {
	switch f := e.Failure; f.Cause {
	case Panicked:
		return fmt.Sprintf("brine: the initializer of %s panicked: %s", e.Kind, f.Value)
	case Crashed:
		if s := f.Deaths[0].State; s != nil {
			return fmt.Sprintf("brine: the worker of %s died before it was ready: %v", e.Kind, s)
		}
		return fmt.Sprintf("brine: the worker of %s died before it was ready", e.Kind)
	default:
		return fmt.Sprintf("brine: the initializer of %s: %v", e.Kind, f.Err)
	}
}

// CloseError says that a worker's state could not be closed.
type CloseError struct{ Failure *Failure }

func (e *CloseError) Error() string {
	if e.Failure.Cause == Panicked {
		return "brine: closing the worker's state panicked: " + e.Failure.Value
	}
	return "brine: closing the worker's state: " + e.Failure.Err.Error()
}

func (e *CloseError) Unwrap() error { return e.Failure.Err }

// readyFailure turns a Ready or Bye message into a failure, nil for none.
func readyFailure(m *link.ReadyMessage) *Failure {
	switch m.Status {
	case link.OK:
		return nil
	case link.Panicked:
		var p link.PanicMessage
		if err := p.Parse(m.Body); err != nil {
			return &Failure{Cause: Erred, Err: err}
		}
		return &Failure{Cause: Panicked, Value: p.Value, Stack: p.Stack}
	default:
		return &Failure{Cause: Erred, Err: remoteError(m.Body), Raw: m.Body}
	}
}

// start starts a worker and waits until its state is open.
func (s *slot) start() (*conn, error) {
	w, err := s.launch()
	if err != nil {
		return nil, err
	}
	m, err := w.greet()
	if w.config.Len > 0 {
		w.link.Arena.Free(w.config) // it has been read
	}
	if err == nil {
		if f := readyFailure(m); f != nil {
			err = &StartError{s.e.cfg.Kind, w.proc.Worker(), f}
		}
	}
	if err == nil {
		lines := w.acct.Lines(s.e.cfg.Kind)
		n := int64(len(s.e.cfg.Config)) + s.e.cfg.Beside
		if n > 0 {
			lines[ledger.Config][ledger.Decode].Add(1, n, n, time.Duration(m.Decode))
		}
		now := s.e.now()
		w.acct.Ready(now)
		s.e.ledger.Note(ledger.Event{At: now, PID: w.proc.Pid(), Kind: ledger.Ready})
		return w, nil
	}
	if d := s.discard(w, reason(err)); errors.Is(err, errEnded) {
		s.e.mu.Lock()
		killed := s.e.killed
		s.e.mu.Unlock()
		if killed {
			return nil, ErrClosed
		}
		s.e.counts.deaths.Add(1)
		err = &StartError{s.e.cfg.Kind, w.proc.Worker(), &Failure{Cause: Crashed, Deaths: []Death{d}}}
	}
	return nil, err
}

// launch starts the process and sends the first frame.
func (s *slot) launch() (*conn, error) {
	e := s.e
	l, child, err := link.New(e.cfg.Arena)
	if err != nil {
		return nil, fmt.Errorf("brine: %w", err)
	}
	now := e.now()
	p, err := e.cfg.Launch(l, child)
	link.CloseAll(child)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("brine: %w", err)
	}
	e.counts.started.Add(1)
	w := &conn{e: e, link: l, proc: p, nextID: 1, acct: e.ledger.Open("worker", p.Pid(), now), shares: &s.shares, segments: make(map[uint64]*shm.Segment)}
	e.ledger.Note(ledger.Event{At: now, PID: p.Pid(), Kind: ledger.Started})
	e.mu.Lock()
	s.w = w
	if e.killed {
		p.Kill(ErrClosed)
	}
	e.mu.Unlock()
	go s.kick(w)
	sent, line := e.parent.Lines(e.cfg.Kind), w.acct.Lines(e.cfg.Kind)
	for _, seg := range e.cfg.Shared {
		if err := w.pass(sent, line, seg); err != nil {
			s.discard(w, err)
			return nil, fmt.Errorf("brine: config of %s: %w", e.cfg.Kind, err)
		}
	}
	m := link.InitMessage{
		Version: link.Version, Build: e.cfg.Build, MaxMemory: e.cfg.MaxMemory,
		Kind: e.cfg.Kind, Codec: e.cfg.Codec,
	}
	m.Config, w.config = w.load(nil, e.cfg.Config)
	b, at := link.AppendHeader(l.Buffer())
	b = m.Append(b)
	err = link.EndFrame(b, at, link.Header{Type: link.Init})
	if err != nil {
		s.discard(w, err)
		return nil, fmt.Errorf("brine: config of %s: %w", e.cfg.Kind, err)
	}
	l.SetBuffer(b)
	_ = l.Flush()
	return w, nil
}

// kickAfter is how long after a worker's death its owner has to have noticed.
const kickAfter = 50 * time.Millisecond

// kick sees to it that the owner of a worker notices its death.
func (s *slot) kick(w *conn) {
	<-w.proc.Ended()
	time.AfterFunc(kickAfter, func() {
		s.e.mu.Lock()
		defer s.e.mu.Unlock()
		switch {
		case s.w != w:
		case s.loan != nil:
			w.kickDue = true // what comes now would be the borrower's to read
		default:
			w.link.Kick()
		}
	})
}

// environment returns a worker's. Variables of the same names are taken out first: of two, a program sees the one that
// comes first.
func environment(env []string, depth int) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return name == Marker || name == Depth
	})
	return append(env, Marker+"=1", fmt.Sprintf("%s=%d", Depth, depth))
}

// greet reads until the worker says how opening its state went.
func (w *conn) greet() (*link.ReadyMessage, error) {
	hello := false
	for ended := false; ; {
		for {
			h, payload, ok := w.link.Next()
			if !ok {
				break
			}
			switch {
			case h.Type == link.Hello && !hello:
				if err := w.checkHello(payload); err != nil {
					return nil, err
				}
				hello = true
				w.acct.Spoke(w.e.now())
			case h.Type == link.Ready && hello:
				m := new(link.ReadyMessage)
				if err := m.Parse(payload); err != nil {
					return nil, violation("%w", err)
				}
				m.Body = append([]byte(nil), m.Body...)
				return m, nil
			default:
				return nil, violation("unexpected frame at the start: %v", h.Type)
			}
		}
		if ended {
			return nil, errEnded
		}
		ended = w.link.Exchange() != nil // at the end of the stream there may be more than there was before
	}
}

func (w *conn) checkHello(payload []byte) error {
	var m link.HelloMessage
	if err := m.Parse(payload); err != nil {
		return violation("%w", err)
	}
	if m.Version != link.Version {
		return fmt.Errorf("brine: %w: it speaks protocol %d, this program %d", errOtherBuild, m.Version, link.Version)
	}
	if m.Build != w.e.cfg.Build {
		return fmt.Errorf("brine: %w (%s) than this program (%s): was the binary replaced? start the program again", errOtherBuild, m.Build, w.e.cfg.Build)
	}
	return nil
}

// discard ends a worker that has no tasks.
func (s *slot) discard(w *conn, why error) Death {
	if w.why == "" {
		w.why = reasonFor(why, nil, false)
	}
	w.proc.Kill(why)
	<-w.proc.Ended()
	d := Death{Autopsy: w.proc.Autopsy(), PID: w.proc.Pid(), Worker: w.proc.Worker(), MaxMemory: s.e.cfg.MaxMemory}
	s.e.mu.Lock()
	s.w = nil
	if w.timer != nil {
		w.timer.Stop()
	}
	w.active = nil
	w.closed = true
	w.link.Close() // under mu, where Cancel and the watch look at it
	segments := w.segments
	w.segments = nil
	s.e.mu.Unlock()
	for _, seg := range segments {
		seg.Drop(w)
	}
	w.ended(d)
	return d
}
