package serve

import (
	"context"
	"errors"
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// maxCount bounds the tasks of a frame's job: their indices have 32 bits.
const maxCount = math.MaxUint32

// maxEncode is the longest time that a client can have spent on the tasks of a frame.
const maxEncode = 24 * time.Hour

var errCancelled = errors.New("brine: the job was cancelled")

// job is the engine's work of one submit frame and those that extend it: bytes in, frames out.
type job struct {
	c      *connection
	number uint64
	p      *pool
	e      *engine.Engine
	j      *engine.Job

	// Of the reading goroutine.
	count int   // tasks so far
	open  bool  // more may come
	err   error // why the engine didn't take the job

	heaviest, heaviestFunction int64        // of the arguments so far, in bytes; of the reading goroutine
	heaviestResult             atomic.Int64 // of the results

	left atomic.Int64 // tasks that have not ended, and one more while more may come

	first  *block // of the submit frame
	mu     sync.RWMutex
	blocks []*block // of extend frames, in order, whose tasks have not all ended
}

// block is the arguments that came in one frame.
type block struct {
	at     int      // index of its first task
	ends   []uint32 // where each argument ends in bytes
	bytes  []byte
	left   atomic.Int64
	placed bool // some may be for the arena
	refers bool // some may refer to the client's
	came   time.Time
	encode time.Duration // that the client spent
}

// parseBlock takes lengths and bodies off a payload, which they are the end of.
func parseBlock(p *parser, count, at int, what string) (*block, error) {
	heads := p.Take(4 * count)
	if err := p.Err(what); err != nil {
		return nil, &fault{err}
	}
	b := &block{at: at, came: time.Now(), ends: make([]uint32, count)}
	lengths := parser{Rest: heads}
	end := uint64(0)
	for i := range b.ends {
		n := lengths.U32()
		if end += uint64(n); end > uint64(len(p.Rest)) {
			return nil, wrong("%s: the bodies are shorter than their lengths", what)
		}
		b.ends[i] = uint32(end)
		b.placed = b.placed || n >= link.ArenaFrom
		b.refers = b.refers || (n >= referenceSize && n <= 2*referenceSize+singleHead)
	}
	if end != uint64(len(p.Rest)) {
		return nil, wrong("%s: %d bytes too many", what, uint64(len(p.Rest))-end)
	}
	b.bytes = append([]byte(nil), p.Rest...)
	b.left.Store(int64(count))
	return b, nil
}

func (b *block) body(i int) []byte {
	i -= b.at
	begin := uint32(0)
	if i > 0 {
		begin = b.ends[i-1]
	}
	return b.bytes[begin:b.ends[i]]
}

// submit begins a job.
func (c *connection) submit(h header, payload []byte) error {
	p, err := c.pool(h)
	if err != nil {
		return err
	}
	if h.flags&^more != 0 {
		return wrong("submit: flags %d", h.flags)
	}
	in := parser{Rest: payload}
	name := in.Bytes()
	timeout := int64(in.U64())
	retries, chunk := in.U32(), in.U32()
	encode := int64(in.U64())
	bound := in.Bytes()
	b, err := parseBlock(&in, int(h.count), 0, "submit")
	if err != nil {
		return err
	}
	open := h.flags&more != 0
	switch {
	case timeout < 0 || encode < 0 || retries > math.MaxInt32 || chunk > math.MaxInt32:
		return wrong("submit: time limit %d, retries %d, chunk %d, encoding %d", timeout, retries, chunk, encode)
	case h.count == 0 && !open:
		return wrong("submit: no tasks")
	}
	f := p.function(name)
	b.refers = b.refers || len(bound) == 0
	j := &job{c: c, number: h.job, p: p, e: p.e, count: int(h.count), open: open, first: b}
	j.left.Store(int64(h.count))
	if open {
		j.left.Add(1)
	}
	j.j = engine.NewJob(context.Background(), f, j, int(chunk))
	j.j.Timeout, j.j.Retries, j.j.Late = time.Duration(timeout), int(retries), true
	j.j.Sized = b.placed || open
	if len(bound) > 0 {
		c.bounds++
		beside := p.arena.beside(bound[1:]) - 1 // the mode is no part of the function
		j.j.Bound = &engine.Bound{ID: c.bounds, Bytes: append([]byte(nil), bound...), Passing: true, Beside: beside}
		p.e.AddBound(f, j.j.Bound.Bytes, beside, false, 0)
		payload := j.j.Bound.Bytes[1:]
		p.weigh(f.Name, bill.Function, int64(len(bound))+beside, func() ([]byte, []int64, bool) { return p.arena.look(payload) })
	}
	b.encode = min(time.Duration(encode), maxEncode)
	f.AddEncode(b.encode)
	j.weigh(b)
	c.mu.Lock()
	_, taken := c.jobs[h.job]
	if !taken {
		c.jobs[h.job] = j
	}
	c.mu.Unlock()
	if taken {
		return wrong("submit: job %d is there already", h.job)
	}
	if j.err = p.e.Deal(j.j, int(h.count), open); j.err != nil {
		j.refuse(0, int(h.count), j.err)
	}
	return nil
}

// function returns the engine's entry of a function. Nearly all frames name the one before's.
func (p *pool) function(name []byte) *engine.Function {
	if p.last == nil || string(name) != p.last.Name {
		p.last = p.e.Function(string(name))
	}
	return p.last
}

// extend adds tasks to a job.
func (c *connection) extend(h header, payload []byte) error {
	c.mu.Lock()
	j := c.jobs[h.job]
	c.mu.Unlock()
	if j == nil || !j.open {
		return wrong("extend: there is no open job %d", h.job)
	}
	if h.flags&^more != 0 {
		return wrong("extend: flags %d", h.flags)
	}
	if j.count+int(h.count) > maxCount {
		return wrong("extend: more than %d tasks in a job", maxCount)
	}
	in := parser{Rest: payload}
	encode := int64(in.U64())
	b, err := parseBlock(&in, int(h.count), j.count, "extend")
	if err != nil {
		return err
	}
	if encode < 0 {
		return wrong("extend: encoding took %d", encode)
	}
	b.encode = min(time.Duration(encode), maxEncode)
	j.j.Func.AddEncode(b.encode)
	if n := int(h.count); n > 0 {
		j.weigh(b)
		j.add(b)
		j.left.Add(int64(n))
		err := j.err
		if err == nil {
			err = j.e.Extend(j.j, n)
		}
		if err != nil {
			j.refuse(j.count, n, err)
		}
		j.count += n
	}
	if h.flags&more == 0 {
		j.open = false
		j.settle(1)
		if j.err == nil {
			j.e.Finish(j.j)
		}
	}
	return nil
}

// cancel ends a job. One that is not there has just ended.
func (c *connection) cancel(h header) error {
	c.mu.Lock()
	j := c.jobs[h.job]
	c.mu.Unlock()
	if j != nil && j.err == nil {
		j.e.Cancel(j.j, errCancelled)
	}
	return nil
}

// refuse fails tasks that the engine didn't take.
func (j *job) refuse(first, n int, err error) {
	cause := engine.Refused
	if errors.Is(err, errCancelled) {
		cause = engine.Cancelled
	}
	for i := first; i < first+n; i++ {
		j.Fail(i, &engine.Failure{Cause: cause, Err: err})
	}
	j.Flushed()
}

// add takes up a block that tasks of are about to be queued.
func (j *job) add(b *block) {
	j.mu.Lock()
	j.blocks = append(j.blocks, b)
	j.mu.Unlock()
}

// block returns the block of a task.
func (j *job) block(i int) *block {
	if i < len(j.first.ends) {
		return j.first
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.blocks[sort.Search(len(j.blocks), func(k int) bool { return j.blocks[k].at > i })-1]
}

// ended notes that n tasks from first on have ended.
func (j *job) ended(first, n int) {
	for at, rest := first, n; rest > 0; {
		b := j.block(at)
		k := min(rest, b.at+len(b.ends)-at)
		if b.left.Add(-int64(k)) == 0 {
			j.release(b)
		}
		at, rest = at+k, rest-k
	}
	j.settle(n)
}

// release lets go of a block whose tasks have all ended.
func (j *job) release(b *block) {
	b.bytes = nil
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for n < len(j.blocks) && j.blocks[n].left.Load() == 0 {
		n++
	}
	if n > 0 {
		j.blocks = slices.Delete(j.blocks, 0, n)
	}
}

// settle notes that tasks have ended, or with 1 that no more come.
func (j *job) settle(n int) {
	if j.left.Add(-int64(n)) == 0 {
		j.c.mu.Lock()
		delete(j.c.jobs, j.number)
		j.c.mu.Unlock()
	}
}

// Estimate is engine.Work's.
func (j *job) Estimate(i int) int { return len(j.block(i).body(i)) }

// Encode is engine.Work's.
func (j *job) Encode(dst []byte, i int, _ *shm.Refs) ([]byte, error) {
	return append(dst, j.block(i).body(i)...), nil
}

// Origin is engine.Relay's. The client has encoded the tasks of a block one after the other.
func (j *job) Origin(lo, hi int) engine.Origin {
	b := j.block(lo)
	n := time.Duration(len(b.ends))
	begun := b.encode / n * time.Duration(lo-b.at)
	o := engine.Origin{Begun: b.came.Add(begun - b.encode), Encode: b.encode / n * time.Duration(min(hi, b.at+len(b.ends))-lo)}
	for at := lo; at < hi; {
		b := j.block(at)
		end := min(hi, b.at+len(b.ends))
		for ; b.refers && at < end; at++ {
			body := b.body(at)
			if n := j.beside(body); n > 0 {
				o.Beside += n
				o.Most = max(o.Most, n+int64(len(body)))
			}
		}
		at = end
	}
	return o
}

// beside returns how many bytes of an argument are not in its body.
func (j *job) beside(body []byte) int64 {
	if j.j.Bound != nil {
		return j.p.arena.beside(body)
	}
	function, arguments, ok := single(body)
	if !ok {
		return 0
	}
	return j.p.arena.beside(function) + j.p.arena.beside(arguments)
}

// weigh looks into the arguments of a block that are much larger than those before, for the bill.
func (j *job) weigh(b *block) {
	for i := b.at; i < b.at+len(b.ends); i++ {
		body := b.body(i)
		if int64(len(body)) < 2*j.heaviest && !b.refers {
			continue
		}
		payload := body
		if j.j.Bound == nil {
			var function []byte
			function, payload, _ = single(body)
			j.weighOne(bill.Function, function, &j.heaviestFunction)
		}
		j.weighOne(bill.Argument, payload, &j.heaviest)
		j.p.see(j.j.Func.Name, payload)
	}
}

// weighOne looks into a payload, unless there was one that is not much smaller.
func (j *job) weighOne(class string, payload []byte, heaviest *int64) {
	size := int64(len(payload)) + j.p.arena.beside(payload)
	if size >= 2**heaviest {
		*heaviest = size
		j.p.weigh(j.j.Func.Name, class, size, func() ([]byte, []int64, bool) { return j.p.arena.look(payload) })
	}
}

// Decode is not called: results are passed on.
func (j *job) Decode(int, []byte) error { return nil }

// Forward is engine.Forwarder's.
func (j *job) Forward(first int, items []link.Item, worker uint32) {
	n := len(items)
	for i := range items {
		if size := int64(len(items[i].Body)); size >= 2*j.heaviestResult.Load() && items[i].Status == link.OK {
			j.heaviestResult.Store(size)
			j.p.weigh(j.j.Func.Name, bill.Result, size, func() ([]byte, []int64, bool) {
				if items[i].Place.Len > 0 {
					return lookStored(items[i].Body)
				}
				return j.p.arena.look(items[i].Body)
			})
		}
	}
	j.c.out.results(j.number, first, items, worker)
	j.ended(first, n)
}

// Fail is engine.Work's.
func (j *job) Fail(i int, f *engine.Failure) {
	h := header{typ: typeFailed, job: j.number, first: uint32(i)}
	if last := len(f.Deaths) - 1; last >= 0 {
		h.worker = f.Deaths[last].Worker
	}
	j.c.out.queue(h, func(b []byte) []byte { return appendFailure(b, f) })
	j.ended(i, 1)
}

// Flushed is engine.Work's.
func (j *job) Flushed() { j.c.out.flush() }

// Closing is engine.Work's: the job may be extended nevertheless.
func (j *job) Closing() {}
