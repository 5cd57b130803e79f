package link

import (
	"fmt"
	"sync/atomic"

	"github.com/brinepool/brine/internal/shm"
)

// memory is what a link's two sides share. Each piece has one side that writes it: mine begins with the leases, theirs
// with the journal, and an arena follows in both. The parent keeps it until the link is closed and the last result that
// is used in place has been let go of.
type memory struct {
	mine, theirs []byte
	fd           int // of mine
	users        atomic.Int32
}

// newMemory makes it, and returns the worker's descriptors of both pieces.
func newMemory(arena int64) (m *memory, jfd, lfd int, err error) {
	if !shm.Arenas {
		arena = 0
	}
	arena &^= 4095
	m = &memory{fd: -1}
	jfd, lfd = -1, -1
	defer func() {
		if err != nil {
			m.unmap()
			for _, fd := range []int{jfd, lfd} {
				if fd >= 0 {
					CloseAll([]int{fd})
				}
			}
		}
	}()
	if jfd, err = shm.Create("brine journal", journalSize+arena); err != nil {
		return nil, -1, -1, err
	}
	if m.theirs, err = shm.Map(jfd, journalSize+arena, false); err != nil {
		return nil, -1, -1, err
	}
	if m.fd, err = shm.Create("brine arena", leasesSize+arena); err != nil {
		return nil, -1, -1, err
	}
	if m.mine, err = shm.Map(m.fd, leasesSize+arena, true); err != nil {
		return nil, -1, -1, err
	}
	if lfd, err = shm.ReadOnly(m.fd); err != nil {
		return nil, -1, -1, fmt.Errorf("another descriptor of shared memory: %w", err)
	}
	m.users.Store(1)
	return m, jfd, lfd, nil
}

func (m *memory) unmap() {
	shm.Unmap(m.mine)
	shm.Unmap(m.theirs)
	if m.fd >= 0 {
		CloseAll([]int{m.fd})
	}
	m.mine, m.theirs, m.fd = nil, nil, -1
}

func (m *memory) release() {
	if m.users.Add(-1) == 0 {
		m.unmap()
	}
}

// Results is the view of the worker's arena, where its results lie.
func (p *Parent) Results() View { return View(p.shared.theirs) }

// Release tells the worker that a result in its arena is not needed any more. The link must be open, or the result
// held.
func (p *Parent) Release(at Place) {
	if at.Len > 0 && at.slot < leaseSlots {
		leaseWord(p.shared.mine, at.slot).Store(at.lease)
	}
}

// Hold keeps a result in its place, also beyond Close, until the function that it returns is called, once, from any
// goroutine.
func (p *Parent) Hold(at Place) (release func()) {
	p.shared.users.Add(1)
	return func() {
		p.Release(at)
		p.shared.release()
	}
}

// Shared is the worker's side of the memory.
type Shared struct {
	Arguments View   // the parent's arena
	Arena     *Arena // of results
	journal   []byte
}

// OpenShared maps the memory that a worker finds at the descriptors jfd and lfd.
func OpenShared(jfd, lfd int) (*Shared, error) {
	js, err := shm.Size(jfd)
	if err != nil {
		return nil, err
	}
	ls, err := shm.Size(lfd)
	if err != nil {
		return nil, err
	}
	if js < journalSize || ls < leasesSize {
		return nil, fmt.Errorf("shared memory of %d and %d bytes is too small", js, ls)
	}
	journal, err := shm.Map(jfd, js, true)
	if err != nil {
		return nil, err
	}
	leases, err := shm.Map(lfd, ls, false)
	if err != nil {
		shm.Unmap(journal)
		return nil, err
	}
	CloseAll([]int{lfd}) // the other one is needed to find pages
	return &Shared{Arguments: View(leases), Arena: newArena(jfd, journal, journalSize, leases), journal: journal}, nil
}
