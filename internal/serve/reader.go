package serve

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	readBuffer = 256 << 10 // what a reader keeps; larger frames get room while they arrive
	trusted    = 4 << 20   // what a frame gets at once, on its header's word
	restless   = 64        // frames in a row that don't need a large buffer, before it is given up
	maxRights  = 253       // descriptors that one message can carry
)

// reader takes frames off the socket, and descriptors that come beside them, by blocking reads.
type reader struct {
	fd    int
	buf   []byte
	r, w  int
	small int
	oob   []byte
	fds   []int // that have come and not been taken: two for each of two open frames at most
}

func newReader(fd int) *reader {
	return &reader{fd: fd, buf: make([]byte, readBuffer), oob: make([]byte, unix.CmsgSpace(4*maxRights))}
}

// next waits for the next frame. The payload is valid until the call after. The end of the stream is io.EOF, also
// within a frame: a client that was killed may have written half of one.
func (r *reader) next() (h header, payload []byte, err error) {
	if h, payload, err = r.nextAny(); err == nil {
		err = r.check(h)
	}
	return h, payload, err
}

// nextAny is next for frames with any descriptors.
func (r *reader) nextAny() (h header, payload []byte, err error) {
	for {
		if r.w-r.r >= headerSize {
			h.get(r.buf[r.r:])
			if h.length > maxPayload {
				return h, nil, wrong("a %v frame of %d bytes", h.typ, h.length)
			}
			end := r.r + headerSize + int(h.length)
			if r.w >= end {
				payload = r.buf[r.r+headerSize : end : end]
				r.r = end
				return h, payload, nil
			}
		}
		if err := r.fill(); err != nil {
			return h, nil, err
		}
	}
}

// check refuses descriptors that no frame speaks of. They have come with the last bytes read, so those that are left
// when the open frame in front is taken belong to one that follows, if there is one.
func (r *reader) check(h header) error {
	if n := len(r.fds); n > 4 || (h.typ != typeOpen && r.stray()) {
		return wrong("a descriptor came with a %v frame", h.typ)
	}
	return nil
}

// takeFD returns the descriptor that came with a frame, for the caller to close; -1 if none did.
func (r *reader) takeFD() int {
	if len(r.fds) == 0 {
		return -1
	}
	fd := r.fds[0]
	r.fds = r.fds[1:]
	return fd
}

// stray says that a descriptor is left over which can't belong to a frame that follows.
func (r *reader) stray() bool { return len(r.fds) > 0 && r.r == r.w }

// fill waits for more bytes.
func (r *reader) fill() error {
	r.makeRoom()
	for {
		n, oobn, flags, err := receive(r.fd, r.buf[r.w:], r.oob)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ECONNRESET) {
			return io.EOF
		}
		if err != nil {
			return fmt.Errorf("brine: reading from the client: %w", err)
		}
		if err := r.keep(r.oob[:oobn], flags); err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		r.w += n
		return nil
	}
}

// keep takes up the descriptors that came with a message.
func (r *reader) keep(oob []byte, flags int) error {
	if len(oob) > 0 {
		messages, err := unix.ParseSocketControlMessage(oob)
		if err != nil {
			return wrong("control message: %w", err)
		}
		for i := range messages {
			fds, err := unix.ParseUnixRights(&messages[i])
			if err != nil {
				continue // not descriptors, which do no harm
			}
			for _, fd := range fds {
				unix.CloseOnExec(fd)
			}
			r.fds = append(r.fds, fds...)
		}
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return wrong("descriptors came for which there is no room")
	}
	return nil
}

// makeRoom moves what is left to the front, and grows the buffer when a frame needs more than it holds: by what its
// header claims up to trusted, beyond that no more than by what has arrived.
func (r *reader) makeRoom() {
	if r.r == r.w {
		r.r, r.w = 0, 0
		if r.small++; len(r.buf) > readBuffer && r.small > restless {
			r.buf = make([]byte, readBuffer) // a few large frames must not hold their memory for ever
		}
		return
	}
	if r.r > 0 {
		copy(r.buf, r.buf[r.r:r.w])
		r.r, r.w = 0, r.w-r.r
	}
	if r.w < len(r.buf) {
		return
	}
	r.small = 0
	var h header
	h.get(r.buf)
	grown := make([]byte, max(2*len(r.buf), min(headerSize+int(h.length), trusted)))
	copy(grown, r.buf[:r.w])
	r.buf = grown
}

// close closes descriptors that nobody took.
func (r *reader) close() {
	for _, fd := range r.fds {
		_ = syscall.Close(fd)
	}
	r.fds = nil
}
