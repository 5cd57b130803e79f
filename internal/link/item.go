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

// ItemSize is the size of an item's head: one word, the status in its highest byte and the length in the others.
const ItemSize = 8

const maxItem = 1<<56 - 1

// ErrBadItem reports an item whose length or status can't be.
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

// NextItem takes one item off b. The body is a part of b.
func NextItem(b []byte) (s Status, body, rest []byte, err error) {
	if len(b) < ItemSize {
		return 0, nil, nil, ErrBadItem
	}
	w := binary.LittleEndian.Uint64(b)
	n := w & maxItem
	s = Status(w >> 56)
	b = b[ItemSize:]
	if n > uint64(len(b)) || s > lastStat {
		return 0, nil, nil, ErrBadItem
	}
	return s, b[:n:n], b[n:], nil
}
