package engine

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// placed is an argument in the arena.
type placed struct {
	index int
	at    link.Place
	bound bool // what goes out ahead of the chunk, once
}

// pack encodes the argument of a task behind b or, when it is large, in the arena with its place behind b. It returns
// the size of the encoded argument, and passes the worker the shared data that it refers to.
func (w *conn) pack(b []byte, j *Job, i int) (_ []byte, size int, at link.Place, err error) {
	known := len(w.refs.List())
	defer func() {
		if err != nil {
			w.refs.Cut(known)
		}
	}()
	arena := w.link.Arena
	item := len(b)
	b, _ = link.AppendItem(b)
	room := b // behind the item's head, unless the value is likely to be large
	if n := j.work.Estimate(i); n >= link.ArenaFrom {
		if place := arena.Alloc(n); place != nil {
			room = place
		}
	}
	value, err := j.work.Encode(room, i, &w.refs)
	if err != nil {
		return b[:item], 0, at, err
	}
	if err = w.passAll(j.Func.sent, w.knows[j.Func.number], known); err != nil {
		return b[:item], 0, at, err
	}
	inline := len(room) > 0
	if inline {
		b, value = value[:len(b)], value[len(b):]
	}
	if size = len(value); size >= link.ArenaFrom {
		if at, ok := arena.Store(value); ok {
			return link.AppendPlaced(b[:item], link.OK, at), size, at, nil
		}
	}
	if size > link.MaxPayload-link.ItemSize {
		return b[:item], 0, at, link.ErrTooLarge
	}
	if inline {
		b = b[:len(b)+size]
	} else {
		b = append(b, value...)
	}
	link.EndItem(b, item, link.OK)
	return b, size, at, nil
}

// load appends an item for a value that is encoded already, in the arena when it is large.
func (w *conn) load(b, value []byte) ([]byte, link.Place) {
	if len(value) >= link.ArenaFrom {
		if at, ok := w.link.Arena.Store(value); ok {
			return link.AppendPlaced(b, link.OK, at), at
		}
	}
	b, item := link.AppendItem(b)
	b = append(b, value...)
	link.EndItem(b, item, link.OK)
	return b, link.Place{}
}

// passAll passes the segments that the chunk refers to, from the number-th on.
func (w *conn) passAll(sent, line *ledger.Lines, number int) error {
	for _, s := range w.refs.List()[number:] {
		if err := w.pass(sent, line, s); err != nil {
			return err
		}
	}
	return nil
}

// pass passes the worker the descriptor of a segment, unless it has it. The caller uses the segment. sent and line are
// where it is accounted for, in the parent and for the worker.
func (w *conn) pass(sent, line *ledger.Lines, s *shm.Segment) error {
	fresh, first := false, false
	err := s.Pass(w, func(fd int) error {
		fresh = true
		return w.link.Share(s.ID(), s.Size(), fd)
	})
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil // the worker is gone; its owner will find out
	}
	if err != nil || !fresh {
		return err
	}
	// The engine is a holder too, though it is sent nothing: so it counts each piece as published once, whichever of its
	// workers comes first, and hears when the piece is gone.
	e := w.e
	_ = s.Pass(e, func(int) error {
		first = true
		return nil
	})
	e.mu.Lock()
	w.segments[s.ID()] = s
	e.shared[s.ID()] = s
	e.mu.Unlock()
	if first {
		sent[ledger.Shared][ledger.Encode].Add(1, s.Size(), s.Size(), 0)
	}
	line[ledger.Shared][ledger.Decode].Add(1, s.Size(), s.Size(), 0)
	return nil
}

// Forget tells the worker that nobody needs a segment any more.
func (w *conn) Forget(id uint64) {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	delete(w.segments, id)
	if !w.closed {
		w.unsent = append(w.unsent, id)
		w.forgetMore()
	}
}

// forgetAgain is when the worker is told the rest of what it is to forget, after the control socket was full.
const forgetAgain = 10 * time.Millisecond

// forgetMore tells the worker of what it is to forget, as far as the control socket has room, and sees to the rest. The
// caller holds e.mu.
func (w *conn) forgetMore() {
	if w.closed {
		return
	}
	n := 0
	for n < len(w.unsent) && w.link.Control(link.Forget, w.unsent[n]) {
		n++
	}
	w.unsent = slices.Delete(w.unsent, 0, n)
	if len(w.unsent) > 0 && !w.telling {
		w.telling = true
		time.AfterFunc(forgetAgain, func() {
			w.e.mu.Lock()
			defer w.e.mu.Unlock()
			w.telling = false
			w.forgetMore()
		})
	}
}

// Forget takes the engine's note of a segment out.
func (e *Engine) Forget(id uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.shared, id)
}

// answeredUpTo gives the places of arguments back whose tasks have been answered: those below index.
func (w *conn) answeredUpTo(f *flight, index int) {
	n := 0
	for n < len(f.placed) && f.placed[n].index < index {
		w.link.Arena.Free(f.placed[n].at)
		n++
	}
	f.placed = f.placed[n:]
}

// keep has a job use what a chunk of it used that is given back: tasks that were sent once can be sent again.
func (e *Engine) keep(f *flight) {
	if len(f.refs) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	f.job.kept = append(f.job.kept, f.refs...)
	f.refs = nil
}

// unload gives back all that a chunk used, which was answered or returned.
func (w *conn) unload(f *flight) {
	w.answeredUpTo(f, f.span.Hi)
	shm.ReleaseAll(f.refs)
	f.refs = nil
}
