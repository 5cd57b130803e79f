package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
)

const (
	readBuffer = 128 << 10 // what a reader keeps; larger frames get room while they arrive
	maxBatch   = 1 << 20   // most that one read(2) asks for
	trusted    = 4 << 20   // what a frame gets at once, on its header's word
	patience   = 64        // reads that don't need a large buffer, before it is given up
)

// Reader takes frames off one descriptor by blocking reads. It is not safe for concurrent use.
type Reader struct {
	fd       int
	buf      []byte
	r, w     int
	small    int    // reads in a row that left most of the buffer empty
	received uint64 // bytes since the beginning
}

// NewReader returns a reader of fd, which stays the caller's to close.
func NewReader(fd int) *Reader { return &Reader{fd: fd, buf: make([]byte, readBuffer)} }

// Next returns the next frame if it has arrived whole. The payload is valid until the next Fill.
func (r *Reader) Next() (h Header, payload []byte, ok bool) {
	if r.w-r.r < HeaderSize {
		return h, nil, false
	}
	h.Get(r.buf[r.r:])
	end := r.r + HeaderSize + int(h.Length)
	if r.w < end {
		return h, nil, false
	}
	payload = r.buf[r.r+HeaderSize : end : end]
	r.r = end
	return h, payload, true
}

// Buffered says whether a whole frame is waiting.
func (r *Reader) Buffered() bool {
	if r.w-r.r < HeaderSize {
		return false
	}
	var h Header
	h.Get(r.buf[r.r:])
	return r.w-r.r >= HeaderSize+int(h.Length)
}

// Received returns how many bytes have arrived since the beginning.
func (r *Reader) Received() uint64 { return r.received }

// Passed notes how many bytes have arrived since the beginning, when others have read some of them.
func (r *Reader) Passed(received uint64) { r.received = received }

// Fill waits for more bytes with one read(2). It returns io.EOF at the end of the stream, and ErrTooLarge when the next
// frame is said to be longer than a frame can be.
func (r *Reader) Fill() error {
	if r.w-r.r >= HeaderSize && binary.LittleEndian.Uint32(r.buf[r.r:]) > MaxPayload {
		return ErrTooLarge
	}
	r.makeRoom()
	p := r.buf[r.w:]
	if len(p) > maxBatch {
		p = p[:maxBatch]
	}
	for {
		n, err := syscall.Read(r.fd, p)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return io.EOF
		}
		r.w += n
		r.received += uint64(n)
		return nil
	}
}

// unread takes back the last n bytes that have arrived.
func (r *Reader) unread(n int) {
	if n = min(n, r.w-r.r); n > 0 {
		r.w -= n
		r.received -= uint64(n)
	}
}

// Feed appends bytes that came another way (what a journal still held) to the stream.
func (r *Reader) Feed(b []byte) {
	rest := r.buf[r.r:r.w]
	r.buf = append(append(make([]byte, 0, len(rest)+len(b)), rest...), b...)
	r.r, r.w = 0, len(r.buf)
	r.received += uint64(len(b))
}

// makeRoom moves what is left to the front, and grows the buffer when a frame needs more than it holds: by what its
// header claims up to trusted, beyond that no more than by what has arrived.
func (r *Reader) makeRoom() {
	if r.r == r.w {
		if r.w > len(r.buf)/8 {
			r.small = 0
		} else {
			r.small++
		}
		r.r, r.w = 0, 0
		if len(r.buf) > readBuffer && r.small > patience {
			r.buf = make([]byte, readBuffer) // a few large frames must not hold their memory for ever
		}
		return
	}
	if r.r > 0 && (r.w == len(r.buf) || r.r > len(r.buf)/2) {
		copy(r.buf, r.buf[r.r:r.w])
		r.r, r.w = 0, r.w-r.r
	}
	if r.w < len(r.buf) {
		return
	}
	size := 2 * len(r.buf)
	if r.w >= HeaderSize {
		var h Header
		h.Get(r.buf)
		size = max(size, min(HeaderSize+int(h.Length), trusted))
	}
	grown := make([]byte, size)
	copy(grown, r.buf[:r.w])
	r.buf = grown
}
