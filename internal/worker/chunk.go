package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

const (
	// cheap is the duration of a task below which only some are timed: reading the clock four times costs 0.15 µs.
	cheap = 10 * time.Microsecond
	// every is how many cheap tasks there are to a timed one. The time of the others is known in sum.
	every = 64
)

// Chunk is the tasks that were sent together. Its methods are for the goroutine that runs them.
type Chunk struct {
	p       *process
	f       *Function
	id      uint64
	count   uint32
	items   []byte
	lent    bool // large arguments are read in place
	timeout time.Duration
	bound   binding
	begun   bool
	ctx     *taskContext // of all its tasks, when they have no time limit

	index    uint32 // of the next task; the current one is the one before
	arg      []byte
	placed   bool         // arg is in the arena
	roomy    bool         // Room gave out memory of the arena
	answered bool         // the current task has its result
	task     *taskContext // of the current one
	started  time.Time

	// What is measured: see Next.
	timed   bool
	mark    time.Time // the end of what is accounted for
	since   int       // tasks since mark that were not timed
	dec     time.Duration
	enc     time.Duration
	decoded time.Time
	ran     time.Time
}

// begin returns false for a chunk that was returned.
func (c *Chunk) begin() bool {
	p := c.p
	c.ctx = new(taskContext)
	c.task = c.ctx
	p.mu.Lock()
	gone := p.returned[c.id]
	delete(p.returned, c.id)
	p.begun = c.id
	if !gone {
		p.running = c
	}
	p.mu.Unlock()
	if gone {
		return false
	}
	c.begun = true
	c.mark = time.Now()
	p.out.Arm()
	p.out.Begin(c.id)
	return true
}

func (c *Chunk) end() {
	c.p.out.End()
	c.p.mu.Lock()
	c.p.running = nil
	c.p.mu.Unlock()
	c.ctx.end(cancelled) // what a task has left running on the context ends with its chunk
}

// Next goes on to the next task and returns false after the last one. A task that has not been answered before, for
// its goroutine was ended, is answered here.
func (c *Chunk) Next() bool {
	if c.index > 0 && !c.answered {
		c.disarm()
		c.publish(link.Exited, nil)
	}
	var item link.Item
	for c.index < c.count {
		body, rest, ok := link.NextPlain(c.items)
		if c.placed = false; !ok {
			var err error
			if rest, err = item.NextArgument(c.items, c.p.mem.Arguments); err != nil {
				fault(fmt.Errorf("chunk %d: %w", c.id, err))
			}
			body, c.placed = item.Body, item.Place.Len > 0
		}
		c.items, c.arg, c.answered = rest, body, false
		if c.placed && !c.lent {
			c.p.gc.argument(item.Place.Len)
		}
		c.index++
		// The first and the last task of a chunk are timed, and all that follow a dear one; of cheap ones some. Where
		// a task is not timed, the time since the last mark is divided by what the timed ones took to decode and encode.
		c.timed = c.index == 1 || c.index == c.count || c.since >= every-1 || !c.cheap()
		switch {
		case c.ctx.Err() != nil:
			c.publish(link.Cancelled, nil)
			continue
		case c.bound.err != nil:
			c.Fail(link.BadArg, fmt.Errorf("bound arguments: %w", c.bound.err))
			continue
		}
		switch {
		case c.timeout > 0:
			c.startTimed() // with the same reading of the clock that the deadline is made of
		case c.timed:
			c.started = time.Now()
		}
		if c.timed {
			c.decoded, c.ran = c.started, c.started
		}
		return true
	}
	if len(c.items) > 0 {
		fault(fmt.Errorf("chunk %d: %w: %d bytes behind the last", c.id, link.ErrBadItem, len(c.items)))
	}
	return false
}

func (c *Chunk) cheap() bool { return c.ran.Sub(c.decoded) < cheap }

func (c *Chunk) startTimed() {
	c.started = time.Now()
	c.timed = true
	c.p.mu.Lock()
	c.task = &taskContext{deadline: c.started.Add(c.timeout)}
	if c.ctx.Err() != nil {
		c.task.end(cancelled)
	}
	c.p.mu.Unlock()
	c.p.out.Started(link.Monotonic())
	c.p.limit.start(c, c.index-1)
}

// disarm takes the time limit of the current task away.
func (c *Chunk) disarm() {
	if c.timeout > 0 {
		c.p.limit.stop()
		c.task.end(cancelled)
	}
}

// cancel tells the running task to stop, and the chunk to begin no other. The caller holds the process's lock.
func (c *Chunk) cancel() {
	c.ctx.end(cancelled)
	c.task.end(cancelled)
}

// Arg returns the encoded argument of the current task, valid until the next.
func (c *Chunk) Arg() []byte { return c.arg }

// Lends says that arguments in the arena are to be read in place.
func (c *Chunk) Lends() bool { return c.lent }

// Placed says that the current argument is in the arena: it is valid, and must not change, until its task ends.
func (c *Chunk) Placed() bool { return c.placed }

// Bound returns the decoded arguments that were sent once.
func (c *Chunk) Bound() any { return c.bound.args }

// Codec returns the name of the pool's codec.
func (c *Chunk) Codec() string { return c.p.codec }

// Context returns the current task's context.
func (c *Chunk) Context() context.Context { return c.task }

// Shared returns the shared data that the parent has passed.
func (c *Chunk) Shared() shm.Source { return c.p.shared }

// Room returns an empty buffer to encode a result of about n bytes into, which is 0 if nobody knows; Done takes it back.
func (c *Chunk) Room(n int) []byte {
	c.roomy = false
	if n >= link.ArenaFrom {
		if room := c.p.mem.Arena.Alloc(n); room != nil {
			c.roomy = true
			return room
		}
	}
	return c.p.scratch[:0]
}

// Decoded says that the argument has been decoded.
func (c *Chunk) Decoded() {
	if c.timed {
		c.decoded = time.Now()
	}
}

// Ran says that the function has returned. It returns false when its time was up: then that is the answer.
func (c *Chunk) Ran(err error) bool {
	if c.timed {
		c.ran = time.Now()
	}
	if c.timeout == 0 {
		return true
	}
	took := c.ran.Sub(c.started)
	c.disarm()
	c.ran = time.Now() // taking the limit away is no part of encoding the result
	if took < c.timeout {
		return true
	}
	var body []byte
	if err != nil {
		body = codec.AppendError(nil, err)
	}
	c.publish(link.Expired, body)
	return false
}

// Done answers the current task with its encoded result, which was appended to Room.
func (c *Chunk) Done(b []byte) {
	switch {
	case c.roomy && c.p.mem.Arena.Holds(b):
	case cap(b) <= 1<<20:
		c.p.scratch = b
	default:
		c.p.scratch = nil // one large result must not hold its memory for ever
	}
	if len(b) >= link.ArenaFrom {
		if at, ok := c.p.mem.Arena.Store(b); ok {
			if err := c.p.out.Placed(c.id, c.index-1, link.OK, at, c.account(), c.index < c.count); err != nil {
				fault(err)
			}
			return
		}
	}
	c.publish(link.OK, b)
}

// Fail answers the current task with an error.
func (c *Chunk) Fail(s link.Status, err error) { c.publish(s, codec.AppendError(nil, err)) }

// Unwound answers the current task when its function did not return: v is what recover returned, nil when the
// goroutine is being ended.
func (c *Chunk) Unwound(v any) {
	if c.answered {
		return
	}
	trace := stack()
	if fault, ok := v.(interface {
		runtime.Error
		Addr() uintptr
	}); ok {
		switch {
		case c.p.shared.Holds(fault.Addr()):
			v = "write to shared data, which is read-only: copy what is to be changed"
		case c.p.mem.Arguments.Holds(fault.Addr()):
			v = "write to an argument that is used in place, which is read-only: copy what is to be changed"
		}
	}
	if !c.Ran(fmt.Errorf("panic: %v", describe(v))) {
		return
	}
	if v == nil {
		c.publish(link.Exited, []byte(trace))
		return
	}
	m := link.PanicMessage{Value: describe(v), Stack: trace}
	c.publish(link.Panicked, m.Append(nil))
}

func (c *Chunk) publish(s link.Status, body []byte) {
	spent, more := c.account(), c.index < c.count
	err := c.p.out.Result(c.id, c.index-1, s, body, spent, more)
	if err == nil {
		return
	}
	if errors.Is(err, link.ErrTooLarge) {
		err = c.p.out.Result(c.id, c.index-1, link.BadResult, codec.AppendError(nil, err), spent, more)
	}
	if err != nil {
		fault(err)
	}
}

// account says where the time of the current task went, which is answered.
func (c *Chunk) account() (spent link.Spent) {
	c.answered = true
	if c.timed {
		spent = c.spent()
	} else {
		c.since++
	}
	spent.Bound, c.bound.decode = int64(c.bound.decode), 0
	return spent
}

// spent accounts for everything since the last mark.
func (c *Chunk) spent() link.Spent {
	now := time.Now()
	if c.decoded.Before(c.mark) { // the task never ran
		c.decoded, c.ran = now, now
		c.started = now
	}
	c.dec, c.enc = c.decoded.Sub(c.started), now.Sub(c.ran)
	n, all := int64(c.since+1), int64(now.Sub(c.mark))
	c.mark, c.since = now, 0
	dec, enc := n*int64(c.dec), n*int64(c.enc)
	return link.Spent{Run: max(0, all-dec-enc), Decode: dec, Encode: enc}
}

// describe is fmt.Sprint for values whose methods may panic.
func describe(v any) (s string) {
	defer func() {
		if recover() != nil {
			s = fmt.Sprintf("%T (its text panics)", v)
		}
	}()
	if v == nil {
		return "runtime.Goexit"
	}
	return fmt.Sprint(v)
}

// stack returns the stack of the calling goroutine from the panic on.
func stack() string {
	b := debug.Stack()
	head, _, _ := bytes.Cut(b, []byte("\n"))
	if i := bytes.LastIndex(b, []byte("\npanic(")); i >= 0 {
		b = b[i+1:]
	} else if i := bytes.Index(b, []byte("\nruntime.Goexit")); i >= 0 {
		b = b[i+1:]
	} else {
		return string(b)
	}
	var s strings.Builder
	s.Write(head)
	s.WriteByte('\n')
	s.Write(b)
	return s.String()
}
