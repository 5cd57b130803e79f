// Package serve is the engine as a child process of a program in another language, which speaks the client protocol of
// docs/PROTOCOL.md on a socket: it has pools here, starts their workers when it is asked to, and gets results as the
// workers sent them. It looks into payloads for the bill alone (payload.go).
//
// One goroutine reads the socket and never waits for anything else: what takes time has a goroutine of its own. What
// goes out is gathered by the outbox, which writes without waiting as long as there is room.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/brinepool/brine/internal/engine"
)

// partingTime is how long the end of all workers is waited for when the client is gone. They are killed at once, but
// their standard error may lead to somebody who doesn't read.
const partingTime = 5 * time.Second

// Run serves the client at the other end of the socket fd, until that end is closed or ctx ends: then all workers have
// been killed and the result is nil. A client that breaks the protocol is told so, and that is the error. Run closes fd.
func Run(ctx context.Context, fd int, version string) error {
	c := &connection{
		fd: fd, version: version, in: newReader(fd), out: newOutbox(fd), gone: make(chan struct{}),
		pools: make(map[uint32]*pool), jobs: make(map[uint64]*job), workers: make(map[uint32]*worker), loans: make(map[uint32]*engine.Loan), arenas: make(arenas),
	}
	stop := context.AfterFunc(ctx, func() { _ = syscall.Shutdown(fd, syscall.SHUT_RD) })
	defer stop()
	c.out.frame(header{typ: typeEngineHello}, func(b []byte) []byte {
		b = appendU32(b, Version)
		b = appendU32(b, uint32(os.Getpid()))
		return appendString(b, version)
	})
	err := c.read() //nolint:contextcheck // what is done for the client ends with the pools, which are killed below
	if err != nil {
		c.out.frame(header{typ: typeError}, func(b []byte) []byte { return appendString(b, err.Error()) })
		c.out.drain()
	}
	c.end()
	return err
}

// connection is one client. Its maps are guarded by mu, and written by the reading goroutine and those that end what
// they hold.
type connection struct {
	fd      int
	version string
	in      *reader
	out     *outbox
	greeted bool
	gone    chan struct{} // closed when the client is, or is to be taken for it

	mu      sync.Mutex
	pools   map[uint32]*pool // also those that have ended, whose numbers are used up
	jobs    map[uint64]*job  // open ones
	workers map[uint32]*worker
	loans   map[uint32]*engine.Loan
	last    uint32 // number of a worker
	bounds  uint64 // number of bound arguments

	arenas arenas // of the reading goroutine

	running sync.WaitGroup // goroutines that speak for pools and workers
}

// fault is what the client did wrong.
type fault struct{ err error }

func (f *fault) Error() string { return "brine: the client broke the protocol: " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func wrong(format string, args ...any) error { return &fault{fmt.Errorf(format, args...)} }

// read takes frames until the client is gone.
func (c *connection) read() error {
	for {
		h, payload, err := c.in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.take(h, payload); err != nil {
			return err
		}
	}
}

// take does what a frame asks for.
func (c *connection) take(h header, payload []byte) error {
	if !c.greeted {
		return c.greet(h, payload)
	}
	if len(payload) > 0 && h.typ.bare() {
		return wrong("a %v frame with %d bytes of payload", h.typ, len(payload))
	}
	switch h.typ {
	case typeOpen:
		return c.open(h, payload)
	case typeStarted:
		return c.started(h, payload)
	case typeSubmit:
		return c.submit(h, payload)
	case typeExtend:
		return c.extend(h, payload)
	case typeCancel:
		return c.cancel(h)
	case typeClose:
		return c.close(h)
	case typeKill:
		return c.kill(h)
	case typeLease:
		return c.lease(h)
	case typeUnlease:
		return c.unlease(h, payload)
	case typeStats:
		return c.statistics(h)
	default:
		return wrong("unexpected frame: %v", h.typ)
	}
}

func (c *connection) greet(h header, payload []byte) error {
	if h.typ != typeClientHello {
		return wrong("the first frame is %v, not hello", h.typ)
	}
	p := parser{Rest: payload}
	v := p.U32()
	p.U32() // the process id, for whoever looks at the stream
	if err := ended(&p, "hello"); err != nil {
		return err
	}
	if v != Version {
		return wrong("it speaks version %d of the protocol, this engine (%s) version %d", v, c.version, Version)
	}
	c.greeted = true
	return nil
}

// end kills what is left and waits for it.
func (c *connection) end() {
	close(c.gone)
	c.out.close()
	c.mu.Lock()
	var left []*pool
	for _, p := range c.pools {
		left = append(left, p)
	}
	c.mu.Unlock()
	var kills sync.WaitGroup
	for _, p := range left {
		kills.Go(p.kill)
	}
	done := make(chan struct{})
	go func() {
		kills.Wait()
		c.running.Wait()
		c.out.wait()
		close(done)
	}()
	late := time.NewTimer(partingTime)
	defer late.Stop()
	select {
	case <-done:
		c.arenas.close()
		c.in.close()
		_ = syscall.Close(c.fd)
	case <-late.C:
	}
}
