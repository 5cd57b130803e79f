// Package trace collects what the processes of a Python program say of their pickling, and makes a bill of it. The program
// is not Brine's: it uses multiprocessing, to which `brine trace` has added an ear, python/trace. What that says comes
// over a socket that anything in the program could write to, so none of it is believed.
package trace

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/bill"
)

// Options say whose bill it is.
type Options struct {
	Root      int             // process id of the program
	Ended     <-chan struct{} // closed when that has ended; nil if that can't be known but from its connection
	Program   []string        // its command line
	Directory string          // in which it was started
}

// Result is what was collected.
type Result struct {
	Document *bill.Document
	Heard    bool // whether the program said anything at all
	Used     bool // whether anything was pickled, or a process started

	waiting net.Conn // the program, at its end
}

const (
	quiet    = 100 * time.Millisecond // without a word, after which those that still run are not waited for
	longest  = 3 * time.Second        // that they are waited for if they go on talking
	interval = 5 * time.Millisecond
	large    = 32 << 20 // bytes of a stream: such are looked into one at a time
)

type collector struct {
	options Options
	ended   chan net.Conn // the program waits at its end, or has lost its connection: then it is nil
	large   chan struct{}

	mu    sync.Mutex
	a     account
	heard bool
	over  bool // connections are closed by us
	conns map[*connection]bool
}

// connection is that of one process.
type connection struct {
	conn net.Conn
	busy atomic.Bool // with a frame
}

// Collect takes connections from a listener, which it closes, until the program has ended and there is no more to come.
func Collect(ctx context.Context, l net.Listener, o Options) *Result {
	c := &collector{options: o, ended: make(chan net.Conn, 1), large: make(chan struct{}, 1), conns: make(map[*connection]bool)}
	c.a.origin = monotonic()
	var serving sync.WaitGroup
	accepting := make(chan struct{})
	serving.Go(func() {
		defer close(accepting)
		c.accept(&serving, l)
	})
	var waiting net.Conn
	select {
	case waiting = <-c.ended:
	case <-o.Ended:
	case <-ctx.Done():
	}
	end := monotonic()
	c.settle(l, accepting)
	_ = l.Close()
	c.mu.Lock()
	c.over = true
	for k := range c.conns {
		_ = k.conn.Close()
	}
	c.mu.Unlock()
	serving.Wait()
	return &Result{
		Document: c.a.document(o, end), Heard: c.heard, Used: len(c.a.processes) > 1 || len(c.a.order) > 0, waiting: waiting,
	}
}

// Waits tells whether the program waits for the bill.
func (r *Result) Waits() bool { return r.waiting != nil }

// Alive tells the program, if it waits, that the bill is being written.
func (r *Result) Alive() { r.say('w') }

// Done lets the program go, if it waits.
func (r *Result) Done() {
	r.say('d')
	if r.waiting != nil {
		_ = r.waiting.Close()
	}
}

func (r *Result) say(word byte) {
	if r.waiting == nil {
		return
	}
	_ = r.waiting.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = r.waiting.Write([]byte{word}) // if it is gone, it doesn't wait
}

func (c *collector) accept(serving *sync.WaitGroup, l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many files, say; it passes
			time.Sleep(interval)
			continue
		}
		k := &connection{conn: conn}
		k.busy.Store(true)
		c.mu.Lock()
		c.conns[k] = true
		c.mu.Unlock()
		serving.Go(func() { c.serve(k) })
	}
}

// settle waits until all that was said has been heard: until there are no connections but the one that waits, or none
// of those that there are has anything to say. The processes of a program that was killed may live on.
func (c *collector) settle(l net.Listener, accepting <-chan struct{}) {
	begin := time.Now()
	last := begin
	closed := false
	for now := begin; now.Sub(last) < quiet && now.Sub(begin) < longest; now = time.Now() {
		talking, open := c.talking()
		knocking := pending(l)
		if open == 0 && !knocking {
			if closed {
				return
			}
			// One may have been accepted just now, and not be among the others yet.
			_ = l.Close()
			<-accepting
			closed = true
			continue
		}
		if talking || knocking {
			last = now
		}
		time.Sleep(interval)
	}
}

// talking tells whether anything is being taken in, and how many connections there are of which more can come.
func (c *collector) talking() (talking bool, open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.conns {
		open++
		talking = talking || k.busy.Load() || pending(k.conn) || hungUp(k.conn)
	}
	return talking, open
}

// pending tells whether there is something to read on a connection, or to accept on a listener.
func pending(of any) bool {
	u, ok := of.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	_ = raw.Control(func(fd uintptr) {
		n, _, err = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTCONN) { // a listener
			n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		}
	})
	return n > 0
}

// hungUp tells whether the other end of a connection is closed. Then all that it had to say is there, and is being read,
// however long that takes on a busy machine.
func hungUp(conn net.Conn) bool {
	u, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return false
	}
	var fds [1]unix.PollFd
	_ = raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		_, _ = unix.Poll(fds[:], 0)
	})
	return fds[0].Revents&unix.POLLHUP != 0
}

// serve hears one connection to its end. What makes no sense ends it.
func (c *collector) serve(k *connection) {
	r := bufio.NewReaderSize(k.conn, 64<<10)
	var p *proc
	waits := false
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.conns, k)
		if p != nil && !c.over {
			c.a.leave(p, monotonic())
		}
		if !waits {
			_ = k.conn.Close()
		}
	}()
	f, buffer, err := c.next(k, r, nil)
	if err != nil || f.op != opHello || f.job == 0 || f.job > 1<<31 {
		return
	}
	if f.kind == control {
		waits = c.control(k, r, f)
		return
	}
	c.mu.Lock()
	p = c.a.hear(int(f.job), int(f.index), f.begin)
	c.mu.Unlock()
	for {
		if f, buffer, err = c.next(k, r, buffer); err != nil {
			return
		}
		c.take(p, f)
		if cap(buffer) > 4<<20 {
			buffer = nil
		}
	}
}

// control is the kind of a hello of the connection that the program keeps to its end.
const control kind = 2

// control hears that connection. It tells whether the program waits at the other end.
func (c *collector) control(k *connection, r *bufio.Reader, hello *frame) bool {
	if int(hello.job) != c.options.Root {
		return false
	}
	c.mu.Lock()
	c.heard = true
	c.a.origin = hello.begin
	p := c.a.process(c.options.Root)
	if p.hello == 0 {
		p.hello = hello.begin
	}
	c.mu.Unlock()
	f, _, err := c.next(k, r, nil)
	switch {
	case err == nil && f.op == opEnd:
		select {
		case c.ended <- k.conn:
			return true
		default: // it has ended before
		}
	case c.options.Ended == nil: // there is no other way to know
		select {
		case c.ended <- nil:
		default:
		}
	}
	return false
}

// next reads a frame. Between frames, the connection is not busy.
func (c *collector) next(k *connection, r *bufio.Reader, buffer []byte) (*frame, []byte, error) {
	if r.Buffered() == 0 {
		k.busy.Store(false)
	}
	if _, err := r.Peek(1); err != nil {
		return nil, buffer, err
	}
	k.busy.Store(true)
	return readFrame(r, buffer)
}

// take puts what a process said into the account.
func (c *collector) take(p *proc, f *frame) {
	switch f.op {
	case opDumps:
		if len(f.body) > large {
			c.large <- struct{}{}
			defer func() { <-c.large }()
		}
		shares, err := split(f)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.a.dumped(p, f, shares, err)
	case opLoads:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.a.loaded(p, f)
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.a.apply(p, f)
	}
}

// monotonic is the clock of Python's time.monotonic_ns.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return time.Now().UnixNano()
	}
	return t.Nano()
}
