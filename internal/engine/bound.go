package engine

import (
	"slices"
	"sync/atomic"

	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// Bound are arguments that go to each worker once. They use Shared as long as a chunk is on its way that needs them.
type Bound struct {
	ID     uint64
	Bytes  []byte
	Shared []*shm.Segment
	Beside int64 // bytes that lie elsewhere, and belong to them

	// Passing says that the workers are to forget them when the job has ended, which is the only one that has them.
	Passing bool

	over atomic.Bool
}

// dismiss has the workers told, with the next that they are sent, to forget bound arguments whose job has ended.
func (e *Engine) dismiss(b *Bound) {
	b.Bytes = nil // a worker that stays idle is in no hurry to hear of it
	b.over.Store(true)
	e.dismissals.Add(1)
}

// forgetBound tells the worker which of its bound arguments have been dismissed since it was told last.
func (w *conn) forgetBound() {
	n := w.e.dismissals.Load()
	if n == w.dismissals {
		return
	}
	w.dismissals = n
	b := w.link.Buffer()
	w.bound = slices.DeleteFunc(w.bound, func(k *Bound) bool {
		over := k.over.Load()
		if over {
			b, _ = link.AppendFrame(b, link.Header{Type: link.Free, Chunk: k.ID}, nil)
		}
		return over
	})
	w.link.SetBuffer(b)
}
