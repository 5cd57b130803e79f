package link

import (
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/brinepool/brine/internal/shm"
)

// Arena is memory in which one side of a link puts values that are too large for the pipe, and the other reads them
// there. Its owner alone writes it and keeps the book of what is free, in memory of its own: a peer that is killed at
// any moment leaves nothing behind but values that nobody waits for. A value stays in its place until the peer is done
// with it: with an argument when the task has its result; with a result when the parent says so in a word of its
// own, see leases. Places are given out from the lowest on, so that the same memory, which is warm, is used again and
// again: fresh memory is the dearest there is (docs/RATIONALE.md).
type Arena struct {
	fd    int
	mem   []byte
	first int      // where places begin
	top   int      // up to here there are pages
	free  []extent // below top and above, by offset, never adjacent
	used  int      // places that are given out
	high  int      // the end of the highest one since the last look
	quiet int      // times in a row that the arena was empty and had used little of its memory

	leases  []byte   // words that the peer writes; nil where the owner learns otherwise
	slots   []lease  // of places that the peer gives back by a word
	vacant  []uint32 // slots without a place
	pending []uint32 // slots with one
}

// ArenaFrom is the size in bytes from which a value travels in an arena. Below, a copy through the pipe is faster
// (docs/BENCHMARKS.md).
const ArenaFrom = 4 << 10

// Place is where a value lies in an arena: Len bytes at Off.
type Place struct {
	Off, Len    int
	slot, lease uint32
}

type extent struct{ off, end int }

// lease is a place that the peer gives back by writing the number into the slot's word.
type lease struct {
	number   uint32
	off, end int
}

const (
	// placeAlign is what places are apart, a cache line. They begin placeShift before one, so that what follows the
	// length at the beginning of an encoded slice is aligned.
	placeAlign = 64
	placeShift = 4
	// reserveStep is how many bytes of an arena get their pages at once, at least.
	reserveStep = 1 << 20
	// leaseSlots bounds the results of one worker that the parent has not let go of; more travel in the pipe.
	leaseSlots = 4096
	// leasesSize is what their words take, at the beginning of the parent's arena.
	leasesSize = 4 * leaseSlots
	// restless is how often in a row an arena may have used less than half of its pages before the others are given
	// back.
	restless = 64
)

// newArena returns an arena of the memory that is mapped writable at mem, but for its first bytes.
func newArena(fd int, mem []byte, first int, leases []byte) *Arena {
	a := &Arena{fd: fd, mem: mem, first: first, top: first, leases: leases}
	if len(mem) > first {
		a.free = []extent{{first, len(mem)}}
	}
	return a
}

// Alloc returns room for a value of about n bytes: an empty slice, to be appended to, of the capacity that there is.
// It returns nil when there is none, or the system has no memory for it. Keep or Store makes the place taken; the next
// Alloc gives out what was not.
func (a *Arena) Alloc(n int) []byte {
	a.collect()
	need := n + placeAlign
	for _, e := range a.free {
		if e.end-e.off-placeAlign < need {
			continue
		}
		if !a.reserve(e.off + placeAlign + need) {
			return nil
		}
		at := e.off + placeAlign - placeShift
		return a.mem[at:at:min(e.end, a.top)]
	}
	return nil
}

// reserve finds pages up to end.
func (a *Arena) reserve(end int) bool {
	if end <= a.top {
		return true
	}
	to := min(max((end+4095)&^4095, a.top+reserveStep), len(a.mem))
	if shm.Reserve(a.fd, int64(a.top), int64(to-a.top)) != nil {
		return false
	}
	a.top = to
	return true
}

// Holds says whether b begins in the arena's memory: a value that outgrew its room doesn't.
func (a *Arena) Holds(b []byte) bool {
	if cap(b) == 0 || len(a.mem) == 0 {
		return false
	}
	return shm.Contains(a.mem, uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

// Store takes a place for b: where it is, if it was appended to what Alloc returned and had room there, and otherwise
// in another one, as a copy. It returns false when there is no room.
func (a *Arena) Store(b []byte) (Place, bool) {
	if a.Holds(b) {
		return a.Keep(b)
	}
	room := a.Alloc(len(b))
	if cap(room) < len(b) {
		return Place{}, false
	}
	return a.Keep(append(room, b...))
}

// Keep takes the place that b, which was appended to what Alloc returned, takes up. It returns false when it is to be
// given back by the peer's word and all of those are taken.
func (a *Arena) Keep(b []byte) (Place, bool) {
	off := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(a.mem))))
	p := Place{Off: off, Len: len(b)}
	x := placeExtent(p)
	if a.leases != nil {
		var ok bool
		if p.slot, p.lease, ok = a.lend(x); !ok {
			return p, false
		}
	}
	i, _ := slices.BinarySearchFunc(a.free, x.off, func(e extent, off int) int { return e.off - off })
	e := a.free[i]
	if e.off = x.end; e.off >= e.end {
		a.free = slices.Delete(a.free, i, i+1)
	} else {
		a.free[i] = e
	}
	a.used++
	a.high = max(a.high, x.end)
	return p, true
}

// placeExtent is all that a place takes of the arena.
func placeExtent(p Place) extent {
	return extent{p.Off + placeShift - placeAlign, (p.Off + p.Len + placeAlign - 1) &^ (placeAlign - 1)}
}

// Free gives a place back.
func (a *Arena) Free(p Place) { a.release(placeExtent(p)) }

func (a *Arena) release(x extent) {
	i, _ := slices.BinarySearchFunc(a.free, x.off, func(e extent, off int) int { return e.off - off })
	below := i > 0 && a.free[i-1].end == x.off
	above := i < len(a.free) && a.free[i].off == x.end
	switch {
	case below && above:
		a.free[i-1].end = a.free[i].end
		a.free = slices.Delete(a.free, i, i+1)
	case below:
		a.free[i-1].end = x.end
	case above:
		a.free[i].off = x.off
	default:
		a.free = slices.Insert(a.free, i, x)
	}
	if a.used--; a.used == 0 {
		a.settle()
	}
}

// settle gives pages back that were not needed for a while.
func (a *Arena) settle() {
	high := a.high
	a.high = a.first
	if high-a.first > (a.top-a.first)/2 || a.top-a.first <= reserveStep {
		a.quiet = 0
		return
	}
	if a.quiet++; a.quiet < restless {
		return
	}
	a.quiet = 0
	keep := max((high+4095)&^4095, a.first+reserveStep)
	shm.Discard(a.fd, int64(keep), int64(a.top-keep))
	a.top = keep
}

// lend takes a slot for a place.
func (a *Arena) lend(x extent) (slot, number uint32, ok bool) {
	switch {
	case len(a.vacant) > 0:
		slot = a.vacant[len(a.vacant)-1]
		a.vacant = a.vacant[:len(a.vacant)-1]
	case len(a.slots) < leaseSlots:
		slot = uint32(len(a.slots))
		a.slots = append(a.slots, lease{})
	default:
		return 0, 0, false
	}
	l := &a.slots[slot]
	l.number++
	l.off, l.end = x.off, x.end
	a.pending = append(a.pending, slot)
	return slot, l.number, true
}

// collect takes back what the peer has let go of.
func (a *Arena) collect() {
	kept := a.pending[:0]
	for _, slot := range a.pending {
		l := a.slots[slot]
		if leaseWord(a.leases, slot).Load() != l.number {
			kept = append(kept, slot)
			continue
		}
		a.vacant = append(a.vacant, slot)
		a.release(extent{l.off, l.end})
	}
	a.pending = kept
}

func leaseWord(leases []byte, slot uint32) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&leases[4*slot])) // the beginning of a mapping
}

// View is a peer's arena, mapped for reading.
type View []byte

// Holds reports whether an address lies in the arena.
func (v View) Holds(addr uintptr) bool { return shm.Contains(v, addr) }

// slice returns n bytes at off, if the arena has them.
func (v View) slice(off, n uint64) ([]byte, error) {
	if size := uint64(len(v)); n == 0 || off > size || n > size-off {
		return nil, fmt.Errorf("%w: %d bytes at %d of an arena of %d", ErrBadItem, n, off, len(v))
	}
	return v[off : off+n : off+n], nil
}
