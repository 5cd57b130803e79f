package engine

import (
	"errors"
	"syscall"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// placed is an argument in the arena.
type placed struct {
	index int
	at    link.Place
}

// pack encodes the argument of a task behind b or, when it is large, in the arena with its place behind b. It returns
// the size of the encoded argument.
func (w *conn) pack(b []byte, j *Job, i int) (_ []byte, size int, at link.Place, err error) {
	known := len(w.refs.List())
	defer func() {
		if err != nil {
			w.refs.Cut(known)
		}
	}()
	arena := w.link.Arena
	var value []byte // encoded, and not behind b
	if j.Sized {
		if n := j.work.Estimate(i); n >= link.ArenaFrom {
			if room := arena.Alloc(n); room != nil {
				if value, err = j.work.Encode(room, i, &w.refs); err != nil {
					return b, 0, at, err
				}
			}
		}
	}
	item := len(b)
	if value == nil {
		b, _ = link.AppendItem(b)
		c, err := j.work.Encode(b, i, &w.refs)
		if err != nil {
			return b[:item], 0, at, err
		}
		if size = len(c) - len(b); size < link.ArenaFrom {
			link.EndItem(c, item, link.OK)
			return c, size, at, w.passAll(j.Func.sent, w.knows[j.Func.number], known)
		}
		b, value = c[:item], c[len(b):]
	}
	size = len(value)
	if err = w.passAll(j.Func.sent, w.knows[j.Func.number], known); err != nil {
		return b, 0, at, err
	}
	if size >= link.ArenaFrom && !arena.Holds(value) {
		if room := arena.Alloc(size); cap(room) >= size {
			value = append(room, value...)
		}
	}
	if size >= link.ArenaFrom && arena.Holds(value) {
		at, _ = arena.Keep(value)
		return link.AppendPlaced(b, link.OK, at), size, at, nil
	}
	if size > link.MaxPayload-link.ItemSize {
		return b, 0, at, link.ErrTooLarge
	}
	b, _ = link.AppendItem(b)
	b = append(b, value...) // which may lie just there already
	link.EndItem(b, item, link.OK)
	return b, size, at, nil
}

// load appends an item for a value that is encoded already, in the arena when it is large.
func (w *conn) load(b, value []byte) ([]byte, link.Place) {
	if len(value) >= link.ArenaFrom {
		if room := w.link.Arena.Alloc(len(value)); cap(room) >= len(value) {
			at, _ := w.link.Arena.Keep(append(room, value...))
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
	fresh := false
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
	e := w.e
	e.mu.Lock()
	w.segments[s.ID()] = s
	_, counted := e.shared[s.ID()]
	e.shared[s.ID()] = struct{}{}
	e.mu.Unlock()
	if !counted {
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
	delete(w.e.shared, id)
	if !w.closed {
		w.link.Control(link.Forget, id)
	}
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

// unload gives back all that a chunk used, which was answered or returned.
func (w *conn) unload(f *flight) {
	w.answeredUpTo(f, f.span.Hi)
	shm.ReleaseAll(f.refs)
	f.refs = nil
}
