package link

import (
	"encoding/binary"
	"errors"
)

// Status is how the task behind an item ended.
type Status uint8

// The statuses of an item in a Results frame. An item in a Chunk frame is OK.
const (
	OK        Status = 0 // the encoded result, or argument
	Failed    Status = 1 // the function returned an error: the encoded error
	Panicked  Status = 2 // the function panicked: value and stack
	Exited    Status = 3 // the function called runtime.Goexit: the stack
	BadArg    Status = 4 // the argument could not be decoded: the encoded error
	BadResult Status = 5 // the result could not be encoded: the encoded error
	Expired   Status = 6 // the task's time was up: the encoded error it returned, or nothing
	Cancelled Status = 7 // the chunk was cancelled before this task was begun
	lastStat         = Cancelled
)

// ItemSize is the size of an item's head: one word, the status in its highest byte and the length of the value in the
// lower 55 bits. The bit between says that the value is not behind the head but in the sender's arena; then its place is.
const ItemSize = 8

const (
	inArena = 1 << 55
	maxItem = inArena - 1
)

// placeSize is the size of a Place behind an item's head: offset, slot and lease.
const placeSize = 16

// ErrBadItem reports an item whose length, place or status can't be.
var ErrBadItem = errors.New("malformed item")

// AppendItem appends room for an item's head and returns where it begins. Close the item with EndItem.
func AppendItem(dst []byte) ([]byte, int) {
	at := len(dst)
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0), at
}

// EndItem fills in the head at offset at for all that was appended behind it.
func EndItem(dst []byte, at int, s Status) {
	binary.LittleEndian.PutUint64(dst[at:], uint64(s)<<56|uint64(len(dst)-at-ItemSize))
}

// AppendPlaced appends an item whose value lies in the sender's arena.
func AppendPlaced(dst []byte, s Status, p Place) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s)<<56|inArena|uint64(p.Len))
	return p.Append(dst)
}

// Append appends the place as it stands behind an item's head: offset, slot and lease.
func (p *Place) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.Off))
	dst = binary.LittleEndian.AppendUint32(dst, p.slot)
	return binary.LittleEndian.AppendUint32(dst, p.lease)
}

// NextPlain takes an item off b whose status is OK and whose body is in the frame, as nearly all are; ok is false for any
// other. It is small enough to be inlined.
func NextPlain(b []byte) (body, rest []byte, ok bool) {
	if len(b) >= ItemSize {
		n := binary.LittleEndian.Uint64(b) // a bit of status or place makes it more than any length
		if b = b[ItemSize:]; n <= uint64(len(b)) {
			return b[:n:n], b[n:], true
		}
	}
	return nil, nil, false
}

// Item is one argument or result.
type Item struct {
	Status Status
	Body   []byte // in the frame or in the arena of its sender, which must not be written
	Place  Place  // Len is 0 for a value in the frame
}

// Head returns the word that the item begins with.
func (it *Item) Head() uint64 {
	w := uint64(it.Status)<<56 | uint64(len(it.Body))
	if it.Place.Len > 0 {
		w |= inArena
	}
	return w
}

// NextArgument is Next for what a parent sends, which has no status but OK.
func (it *Item) NextArgument(b []byte, view View) (rest []byte, err error) {
	if rest, err = it.Next(b, view); err == nil && it.Status != OK {
		err = ErrBadItem
	}
	return rest, err
}

// Next takes one item off b. view is of the sender's arena.
func (it *Item) Next(b []byte, view View) (rest []byte, err error) {
	if len(b) < ItemSize {
		return nil, ErrBadItem
	}
	w := binary.LittleEndian.Uint64(b)
	n := w & maxItem
	b = b[ItemSize:]
	it.Status, it.Place = Status(w>>56), Place{}
	if it.Status > lastStat {
		return nil, ErrBadItem
	}
	if w&inArena == 0 {
		if n > uint64(len(b)) {
			return nil, ErrBadItem
		}
		it.Body = b[:n:n]
		return b[n:], nil
	}
	it.Body = nil
	if len(b) < placeSize {
		return nil, ErrBadItem
	}
	off := binary.LittleEndian.Uint64(b)
	it.Place = Place{slot: binary.LittleEndian.Uint32(b[8:]), lease: binary.LittleEndian.Uint32(b[12:])}
	if it.Body, err = view.slice(off, n); err != nil {
		return nil, err
	}
	it.Place.Off, it.Place.Len = int(off), int(n)
	return b[placeSize:], nil
}
