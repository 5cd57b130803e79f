package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// shareSize is the payload of a Share frame: the size of the segment whose descriptor comes with it.
const shareSize = 8

// Control tells the worker to cancel or recall a chunk, or to forget a segment. It never waits, and returns false when
// the control socket is full. It may be called from any goroutine until Close.
func (p *Parent) Control(t Type, id uint64) bool {
	var b [HeaderSize]byte
	h := Header{Type: t, Chunk: id}
	h.Put(b[:])
	// So few bytes are written whole or not at all, so that callers need no lock.
	n, _ := syscall.Write(p.ctlFD, b[:])
	return n == len(b)
}

// Share passes the worker the descriptor of a segment, which stays the caller's, ahead of the frame that speaks of it.
// It waits for room, and takes in results meanwhile: a worker that waits to write them may not come to read. It is for
// the link's owner, and no payload that Next returned is valid after it.
func (p *Parent) Share(id uint64, size int64, fd int) error {
	var b [HeaderSize + shareSize]byte
	h := Header{Type: Share, Chunk: id, Length: shareSize}
	h.Put(b[:])
	binary.LittleEndian.PutUint64(b[HeaderSize:], uint64(size))
	rights := unix.UnixRights(fd)
	for {
		err := unix.Sendmsg(p.ctlFD, b[:], rights, nil, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			fds := []unix.PollFd{{Fd: int32(p.ctlFD), Events: unix.POLLOUT}, {Fd: int32(p.resFD), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, -1); err == nil && fds[1].Revents != 0 && p.Fill() != nil {
				return fmt.Errorf("passing a descriptor: %w", unix.EPIPE)
			}
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("passing a descriptor: %w", err)
		default:
			return nil
		}
	}
}

// Message is what came on the control socket.
type Message struct {
	Type Type
	ID   uint64 // of a chunk or of a segment
	Size int64  // of a segment that was shared
	FD   int    // its descriptor, the receiver's to close; -1 when this process has no room for another
}

// ControlReader reads the worker's end of the control socket.
type ControlReader struct {
	fd   int
	buf  []byte
	r, w int
	fds  []int // that have come and not been spoken of
	oob  []byte
}

// NewControlReader returns a reader of fd, which stays the caller's to close.
func NewControlReader(fd int) *ControlReader {
	return &ControlReader{fd: fd, buf: make([]byte, 4096), oob: make([]byte, unix.CmsgSpace(16*4))}
}

// Next waits for the next message. The end of the stream is io.EOF; ErrBadMessage is what no parent sends.
func (c *ControlReader) Next() (Message, error) {
	for {
		if m, ok, err := c.parse(); ok || err != nil {
			return m, err
		}
		if err := c.fill(); err != nil {
			return Message{}, err
		}
	}
}

func (c *ControlReader) parse() (m Message, ok bool, err error) {
	b := c.buf[c.r:c.w]
	if len(b) < HeaderSize {
		return m, false, nil
	}
	var h Header
	h.Get(b)
	m = Message{Type: h.Type, ID: h.Chunk, FD: -1}
	if h.Type != Share {
		if h.Length != 0 {
			return m, false, fmt.Errorf("%w: %v with %d bytes", ErrBadMessage, h.Type, h.Length)
		}
		c.r += HeaderSize
		return m, true, nil
	}
	if h.Length != shareSize {
		return m, false, fmt.Errorf("%w: share with %d bytes", ErrBadMessage, h.Length)
	}
	if len(b) < HeaderSize+shareSize {
		return m, false, nil
	}
	c.r += HeaderSize + shareSize
	m.Size = int64(binary.LittleEndian.Uint64(b[HeaderSize:]))
	if m.Size < 0 {
		return m, false, fmt.Errorf("%w: a segment of %d bytes", ErrBadMessage, m.Size)
	}
	// One system call returns the descriptors of one frame at most, so they come in the order of the frames.
	if len(c.fds) == 0 {
		return m, false, fmt.Errorf("%w: share without a descriptor", ErrBadMessage)
	}
	m.FD = c.fds[0]
	c.fds = c.fds[1:]
	return m, true, nil
}

func (c *ControlReader) fill() error {
	if c.r > 0 {
		copy(c.buf, c.buf[c.r:c.w])
		c.r, c.w = 0, c.w-c.r
	}
	for {
		n, oobn, flags, err := receive(c.fd, c.buf[c.w:], c.oob)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return io.EOF
		}
		c.w += n
		return c.take(c.oob[:oobn], flags)
	}
}

// take keeps the descriptors that came with a message.
func (c *ControlReader) take(oob []byte, flags int) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("descriptors: %w", err)
	}
	got := false
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fmt.Errorf("descriptors: %w", err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			c.fds = append(c.fds, fd)
			got = true
		}
	}
	if !got && flags&unix.MSG_CTRUNC != 0 {
		c.fds = append(c.fds, -1) // there was one, and no room for it
	}
	return nil
}
