package serve

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/link"
)

const (
	// maxWaiting is how many bytes may wait to be written before those who bring more results have to wait.
	maxWaiting = 64 << 20
	// keptBuffer is the largest buffer that is kept for the next frames.
	keptBuffer = 1 << 20
	socketSize = 1 << 20
)

// outbox gathers frames for the client. Who brings one writes what there is, if that can be done without waiting and
// nobody else is doing it; otherwise the outbox's own goroutine does, which may wait. So a result takes no hand-over
// between goroutines while the client reads, and all that is ready goes in one write. It is safe for concurrent use.
type outbox struct {
	fd int

	mu      sync.Mutex
	changed *sync.Cond // there is room, or work for the writer, or the end
	buf     []byte
	spare   []byte
	marks   []mark // of frames with descriptors in buf
	writing bool   // somebody is
	left    bool   // to the writer, for the socket has no room or who queued it can't write
	closed  bool
	err     error
	done    chan struct{} // closed when the writer has ended
}

// mark is a frame in a buffer that descriptors go with.
type mark struct {
	at, end int
	fds     []int
	sent    chan struct{}
}

func newOutbox(fd int) *outbox {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketSize)
	o := &outbox{fd: fd, done: make(chan struct{})}
	o.changed = sync.NewCond(&o.mu)
	go o.run()
	return o
}

// frame queues a frame whose payload is what body appends, and writes it unless that means waiting.
func (o *outbox) frame(h header, body func([]byte) []byte) {
	o.queue(h, body)
	o.flush()
}

// queue queues a frame for the next flush.
func (o *outbox) queue(h header, body func([]byte) []byte) {
	o.mu.Lock()
	o.append(h, body)
	o.mu.Unlock()
}

// later queues a frame and leaves writing it to the outbox's own goroutine: for those who hold locks.
func (o *outbox) later(h header, body func([]byte) []byte) {
	o.mu.Lock()
	o.append(h, body)
	o.left = true
	o.changed.Broadcast()
	o.mu.Unlock()
}

// with queues a frame that descriptors go with, which must stay open until the channel is closed: then they have gone,
// or never will.
func (o *outbox) with(h header, fds []int) (sent <-chan struct{}) {
	m := mark{fds: fds, sent: make(chan struct{})}
	o.mu.Lock()
	if o.over() {
		close(m.sent)
	} else {
		m.at = len(o.buf)
		o.append(h, nil)
		m.end = len(o.buf)
		o.marks = append(o.marks, m)
	}
	o.mu.Unlock()
	o.flush()
	return m.sent
}

// results queues a results frame for the next flush. It waits while too much is waiting.
func (o *outbox) results(job uint64, first int, items []link.Item, worker uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) > maxWaiting && !o.over() {
		if !o.left { // who is about to flush may be the one that waits here
			o.left = true
			o.changed.Broadcast()
		}
		o.changed.Wait()
	}
	for len(items) > 0 {
		n, size := 0, 0
		for n < len(items) && (n == 0 || size+len(items[n].Body) < maxPayload/2) { // frames, and lists, of any length have to fit
			size += 24
			if items[n].Place.Len == 0 {
				size += len(items[n].Body)
			}
			n++
		}
		o.append(header{typ: typeResults, job: job, first: uint32(first), count: uint32(n), worker: worker}, func(b []byte) []byte {
			for i := range items[:n] {
				b = appendU64(b, items[i].Head())
			}
			for i := range items[:n] {
				if it := &items[i]; it.Place.Len > 0 {
					b = it.Place.Append(b)
				} else {
					b = append(b, it.Body...)
				}
			}
			return b
		})
		items, first = items[n:], first+n
	}
}

func (o *outbox) over() bool { return o.closed || o.err != nil }

// append appends a frame. The caller holds mu.
func (o *outbox) append(h header, body func([]byte) []byte) {
	if o.over() {
		return
	}
	at := len(o.buf)
	o.buf = append(o.buf, make([]byte, headerSize)...)
	if body != nil {
		o.buf = body(o.buf)
	}
	h.length = uint32(len(o.buf) - at - headerSize)
	h.put(o.buf[at:])
}

// flush writes what is queued, as far as that can be done without waiting.
func (o *outbox) flush() {
	o.mu.Lock()
	if !o.writing && !o.left {
		o.write(false)
	}
	o.mu.Unlock()
}

// write writes all that is queued. Without wait, it leaves to the writer what the socket has no room for. The caller
// holds mu.
func (o *outbox) write(wait bool) {
	o.writing = true
	for len(o.buf) > 0 && o.err == nil {
		b, marks := o.buf, o.marks
		o.buf, o.marks = o.spare[:0], nil
		o.spare = nil
		o.mu.Unlock()
		n, left, err := o.send(b, marks, wait)
		o.mu.Lock()
		if errors.Is(err, unix.EAGAIN) && !o.closed {
			o.putBack(b[n:], n, left)
			o.left = true
			break
		}
		if err != nil {
			o.fail(err, left)
			break
		}
		if o.spare == nil && cap(b) <= keptBuffer {
			o.spare = b[:0]
		}
		o.changed.Broadcast()
	}
	o.writing = false
	o.changed.Broadcast()
}

// putBack puts what was not written before what has been queued meanwhile. The caller holds mu.
func (o *outbox) putBack(rest []byte, written int, left []mark) {
	for i := range left {
		left[i].at, left[i].end = max(0, left[i].at-written), left[i].end-written
	}
	for _, m := range o.marks {
		m.at, m.end = m.at+len(rest), m.end+len(rest)
		left = append(left, m)
	}
	o.buf = append(append(make([]byte, 0, len(rest)+len(o.buf)), rest...), o.buf...)
	o.marks = left
}

// fail gives the client up. The caller holds mu.
func (o *outbox) fail(err error, left []mark) {
	o.err = err
	for _, m := range append(left, o.marks...) {
		close(m.sent)
	}
	o.buf, o.marks = nil, nil
	o.changed.Broadcast()
}

// send writes b, and returns how much of it was, and which descriptors have not gone.
func (o *outbox) send(b []byte, marks []mark, wait bool) (n int, left []mark, err error) {
	for n < len(b) {
		end, oob := len(b), []byte(nil)
		if len(marks) > 0 {
			if m := &marks[0]; n >= m.at {
				end, oob = m.end, unix.UnixRights(m.fds...)
			} else {
				end = m.at
			}
		}
		k, err := send(o.fd, b[n:end], oob, wait)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return n, marks, err
		}
		if n += k; oob != nil && k > 0 { // they go with the first byte
			close(marks[0].sent)
			marks = marks[1:]
		}
	}
	return n, marks, nil
}

// run writes what could not be written without waiting.
func (o *outbox) run() {
	defer close(o.done)
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for (!o.left || o.writing) && !o.over() {
			o.changed.Wait()
		}
		if o.over() {
			return
		}
		o.write(true)
		o.left = false
	}
}

// drain waits until all that is queued was written, for a while.
func (o *outbox) drain() {
	late := time.AfterFunc(partingTime, func() { _ = unix.Shutdown(o.fd, unix.SHUT_RDWR) })
	defer late.Stop()
	o.flush()
	o.mu.Lock()
	defer o.mu.Unlock()
	for (len(o.buf) > 0 || o.writing) && !o.over() {
		o.changed.Wait()
	}
}

// close drops what is queued. Nothing is written any more.
func (o *outbox) close() {
	_ = unix.Shutdown(o.fd, unix.SHUT_RDWR) // who waits for room is woken
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, m := range o.marks {
		close(m.sent)
	}
	o.buf, o.marks = nil, nil
	o.changed.Broadcast()
}

// wait waits for the writer's end, after close.
func (o *outbox) wait() { <-o.done }
