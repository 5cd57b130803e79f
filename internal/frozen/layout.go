package frozen

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

const (
	magic      = "brinemap"
	version    = 1
	headerSize = 128
	pilotSize  = 2
	alignment  = 64 // of the slots: a cache line

	offsetBits = 48
	offsetMask = 1<<offsetBits - 1
	maxSize    = 1 << offsetBits
	maxText    = 1<<32 - 1 // bytes of one key or one value

	// longRef in place of a length says that the length is before the bytes.
	longRef = 1<<16 - 1
)

// Where the fields of the header are.
const (
	atMagic   = 0
	atVersion = 8
	atKey     = 12
	atValue   = 13
	atEntries = 16
	atBuckets = 24
	atSlots   = 32
	atPilots  = 40
	atTable   = 48
	atData    = 56
	atSize    = 64
	atEmpty   = 72
	atSecret  = 80
)

// header is the first 128 bytes of a table.
type header struct {
	key, value kind
	entries    uint64
	buckets    uint64 // each with a pilot
	slots      uint64
	pilots     uint64 // offset of the pilots
	table      uint64 // offset of the slots
	data       uint64 // offset of what the slots refer to
	size       uint64 // of all
	empty      uint64 // the key of empty slots, if keys are numbers
	secret     secret
}

// slotSize is 8 or 16: a key that is a number is in its slot.
func (h *header) slotSize() uint64 {
	if h.key.long() {
		return 8
	}
	return 16
}

// entryHead is the number of bytes before the key of an entry in the data, if keys are long.
func (h *header) entryHead() uint64 { return 4 + h.value.width() }

// plan lays out a table of n entries. More entries to a pilot, or fewer empty slots, save little and make the search for
// pilots, which is a third of the time of Fill, much longer.
func (h *header) plan(n uint64) {
	h.entries = n
	h.buckets = n/4 + 1
	h.slots = n + n/32 + 1
	h.pilots = headerSize
	h.table = (h.pilots + pilotSize*h.buckets + alignment - 1) / alignment * alignment
	h.data = h.table + h.slotSize()*h.slots
}

// dataOf is the number of bytes in the data that an entry takes.
func (h *header) dataOf(key, value uint64) uint64 {
	switch {
	case h.key.long() && h.value.long():
		return h.entryHead() + key + value
	case h.key.long():
		return h.entryHead() + key
	case !h.value.long():
		return 0
	case value < longRef:
		return value
	default:
		return 4 + value
	}
}

// The place of an entry: its hash gives a bucket, the bucket's pilot and the hash give a slot. The two functions are
// below h.buckets and h.slots, whatever the hash and the pilot.

func (h *header) bucketOf(hash uint64) uint64 {
	bucket, _ := bits.Mul64(hash, h.buckets)
	return bucket
}

func (h *header) slotOf(hash, pilot uint64) uint64 {
	slot, _ := bits.Mul64(mix(hash^h.secret[2], pilot^h.secret[3]), h.slots)
	return slot
}

func (h *header) write(mem []byte) {
	le := binary.LittleEndian
	copy(mem[atMagic:], magic)
	le.PutUint32(mem[atVersion:], version)
	mem[atKey], mem[atValue] = byte(h.key), byte(h.value)
	le.PutUint64(mem[atEntries:], h.entries)
	le.PutUint64(mem[atBuckets:], h.buckets)
	le.PutUint64(mem[atSlots:], h.slots)
	le.PutUint64(mem[atPilots:], h.pilots)
	le.PutUint64(mem[atTable:], h.table)
	le.PutUint64(mem[atData:], h.data)
	le.PutUint64(mem[atSize:], h.size)
	le.PutUint64(mem[atEmpty:], h.empty)
	for i, s := range h.secret {
		le.PutUint64(mem[atSecret+8*i:], s)
	}
}

// read fills h and checks that all sections are inside mem. The kinds are those that the reader wants.
func (h *header) read(mem []byte, key, value kind) error {
	le := binary.LittleEndian
	switch {
	case len(mem) < headerSize || string(mem[:len(magic)]) != magic:
		return fmt.Errorf("brine: opening a frozen map: there is none in these %d bytes", len(mem))
	case le.Uint32(mem[atVersion:]) != version:
		return fmt.Errorf("brine: opening a frozen map: it has version %d, this program reads version %d", le.Uint32(mem[atVersion:]), version)
	}
	*h = header{
		key: kind(mem[atKey]), value: kind(mem[atValue]),
		entries: le.Uint64(mem[atEntries:]), buckets: le.Uint64(mem[atBuckets:]), slots: le.Uint64(mem[atSlots:]),
		pilots: le.Uint64(mem[atPilots:]), table: le.Uint64(mem[atTable:]), data: le.Uint64(mem[atData:]),
		size: le.Uint64(mem[atSize:]), empty: le.Uint64(mem[atEmpty:]),
	}
	for i := range h.secret {
		h.secret[i] = le.Uint64(mem[atSecret+8*i:])
	}
	switch {
	case h.key != key:
		return fmt.Errorf("brine: opening a frozen map: its keys are of type %s, not %s", h.key, key)
	case h.value != value:
		return fmt.Errorf("brine: opening a frozen map: its values are of type %s, not %s", h.value, value)
	case h.size > uint64(len(mem)):
		return fmt.Errorf("brine: opening a frozen map: it has %d bytes, of which %d are there", h.size, len(mem))
	case !h.sound():
		return fmt.Errorf("brine: opening a frozen map: its header is damaged: %d entries, %d pilots at %d, %d slots at %d, data at %d, %d bytes",
			h.entries, h.buckets, h.pilots, h.slots, h.table, h.data, h.size)
	}
	return nil
}

// sound tells whether the sections are one after the other and as large as they have to be. Nothing overflows: all
// offsets are compared with the size first, and counts with the size of their section.
func (h *header) sound() bool {
	return h.size <= maxSize && headerSize <= h.pilots && h.pilots <= h.table && h.table <= h.data && h.data <= h.size &&
		h.pilots%pilotSize == 0 && h.table%alignment == 0 &&
		0 < h.buckets && h.buckets <= (h.table-h.pilots)/pilotSize &&
		h.entries < h.slots && h.slots <= (h.data-h.table)/h.slotSize()
}
