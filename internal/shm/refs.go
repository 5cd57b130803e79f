package shm

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Ref is a reference to a segment. A struct type whose first field is a Ref stands for shared data: a pointer to it
// crosses as the segment's number, and the segment beside it.
type Ref struct{ seg *Segment }

// NewRef returns a reference to s.
func NewRef(s *Segment) Ref { return Ref{s} }

// Segment returns the segment, nil in a zero Ref.
func (r *Ref) Segment() *Segment { return r.seg }

// Refs collects the segments that a value refers to, each once, as their user.
type Refs struct{ list []*Segment }

// Add takes up a segment.
func (r *Refs) Add(s *Segment) error {
	if slices.Contains(r.list, s) {
		return nil
	}
	if err := s.Retain(); err != nil {
		return err
	}
	r.list = append(r.list, s)
	return nil
}

// List returns the segments.
func (r *Refs) List() []*Segment { return r.list }

// Take returns the segments, and leaves none: releasing them is the caller's from then on.
func (r *Refs) Take() []*Segment {
	l := r.list
	r.list = nil
	return l
}

// Cut releases the segments that were added after the first n.
func (r *Refs) Cut(n int) {
	ReleaseAll(r.list[n:])
	r.list = r.list[:n]
}

// ReleaseAll releases segments.
func ReleaseAll(list []*Segment) {
	for _, s := range list {
		s.Release()
	}
}

// Source finds the segments that a process was passed.
type Source interface {
	// Get returns the segment that the sender knows by this number.
	Get(id uint64) (*Segment, error)
}

// Recorder is a Source that remembers what it was asked for.
type Recorder struct {
	Source
	IDs []uint64
}

// Get is Source's.
func (r *Recorder) Get(id uint64) (*Segment, error) {
	r.IDs = append(r.IDs, id)
	return r.Source.Get(id)
}

// Table holds the segments that a process was passed, by the numbers that they have in the process which passed them.
type Table struct {
	mu   sync.Mutex
	come chan struct{} // closed when something has come
	segs map[uint64]*Segment
	errs map[uint64]error
	gone []uint64 // that were removed last
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{come: make(chan struct{}), segs: make(map[uint64]*Segment), errs: make(map[uint64]error)}
}

// Put takes up a segment that was passed, or why it could not be.
func (t *Table) Put(id uint64, s *Segment, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.errs[id] = err
	} else {
		t.segs[id] = s
	}
	close(t.come)
	t.come = make(chan struct{})
}

// Holds reports whether an address lies in one of the segments.
func (t *Table) Holds(addr uintptr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.segs {
		if Contains(s.mem, addr) {
			return true
		}
	}
	return false
}

// Remove releases a segment.
func (t *Table) Remove(id uint64) {
	t.mu.Lock()
	s := t.segs[id]
	delete(t.segs, id)
	delete(t.errs, id)
	if t.gone = append(t.gone, id); len(t.gone) > 2*goneKept {
		t.gone = slices.Delete(t.gone, 0, goneKept)
	}
	t.mu.Unlock()
	if s != nil {
		s.Release()
	}
}

// Unused returns how many segments were removed and are still mapped, for something in this process refers to them, or
// did before the collector ran last.
func (t *Table) Unused() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(adopted.Load()) - len(t.segs)
}

// look returns a segment, or why there is none, or else what is closed when something comes.
func (t *Table) look(id uint64) (*Segment, <-chan struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, err := t.segs[id], t.errs[id]; s != nil || err != nil {
		return s, nil, err
	}
	if slices.Contains(t.gone, id) {
		return nil, nil, ErrClosed
	}
	return nil, t.come, nil
}

// goneKept is how many removed numbers are remembered, at least, so that nobody waits for them.
const goneKept = 512

// arrival is how long a segment may be on its way that was passed before it was spoken of.
const arrival = 10 * time.Second

var errUnknown = errors.New("shared data that was never passed")

// Get returns a segment, and waits for one that is on its way. The reference is good for as long as it is kept.
func (t *Table) Get(id uint64) (*Segment, error) {
	if s, _, err := t.look(id); s != nil || err != nil {
		return s, err
	}
	late := time.NewTimer(arrival)
	defer late.Stop()
	for {
		s, come, err := t.look(id)
		if s != nil || err != nil {
			return s, err
		}
		select {
		case <-come:
		case <-late.C:
			return nil, fmt.Errorf("%w (number %d)", errUnknown, id)
		}
	}
}
