package link

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// The journal is one segment of shared memory per worker that the worker alone writes. Results are put there first
// and written to the pipe from there, so that those of finished tasks outlive a worker that is killed before it wrote
// them, and the parent learns exactly which task was running. The first page holds four words, the area with frames
// follows. Frames fill the area from its beginning without a gap; the last one, whose place is in a word of its own, is
// still being appended to, and says by its length and count what of it is there.
const (
	journalSize = 512 << 10
	journalHead = 4096
	wordCurrent = 0  // id of the chunk whose tasks are running, 0 between chunks
	wordStarted = 8  // when the running task was started, if it has a time limit: nanoseconds of CLOCK_MONOTONIC
	wordBase    = 16 // position in the result stream of the area's first byte
	wordLast    = 24 // offset of the last frame in the area, plus 8; 0 when the area is empty
)

// Journal is the parent's read-only view of a worker's journal.
type Journal struct{ mem []byte }

func word(mem []byte, at int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&mem[at])) // mappings are page-aligned, and at is a multiple of 8
}

// Current returns the id of the chunk that the worker is running, 0 for none.
func (j *Journal) Current() uint64 { return word(j.mem, wordCurrent).Load() }

// Started returns when the running task was started, if it has a time limit: nanoseconds of CLOCK_MONOTONIC.
func (j *Journal) Started() int64 { return int64(word(j.mem, wordStarted).Load()) }

// Tail returns what the worker had finished but not yet written when it died, given how many bytes of its stream were
// received. The worker must be dead. A journal that makes no sense yields nothing.
func (j *Journal) Tail(received uint64) []byte {
	area := j.mem[journalHead:journalSize]
	last := word(j.mem, wordLast).Load() - 8
	if last%8 != 0 || last > uint64(len(area)-HeaderSize) { // no frame at all wraps round to the largest number
		return nil
	}
	end := last
	if w := binary.LittleEndian.Uint64(area[last:]); w>>32 > 0 {
		end += HeaderSize + uint64(uint32(w))
	}
	if end > uint64(len(area)) {
		return nil
	}
	base := word(j.mem, wordBase).Load()
	if received < base || received-base >= end {
		return nil
	}
	return area[received-base : end]
}
