package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// StatsSize is the size of the account that opens the payload of a Results frame: nanoseconds spent in functions,
// decoding arguments, encoding results and decoding bound arguments, each a word.
const StatsSize = 32

// flushAfter is how long a finished result may wait in the journal while the next task runs. It bounds what a reader
// of a stream waits for, not what a kill can lose: that is nothing.
const flushAfter = time.Millisecond

// Spent says where the time of some tasks went, in nanoseconds.
type Spent struct{ Run, Decode, Encode, Bound int64 }

func (s *Spent) put(b []byte) {
	binary.LittleEndian.PutUint64(b[0:], uint64(s.Run))
	binary.LittleEndian.PutUint64(b[8:], uint64(s.Decode))
	binary.LittleEndian.PutUint64(b[16:], uint64(s.Encode))
	binary.LittleEndian.PutUint64(b[24:], uint64(s.Bound))
}

// Outbox is the worker's side of the result pipe: it publishes each result in the journal when its task ends, and
// writes them to the pipe in batches. It is safe for concurrent use, by the running task and the timer that flushes.
type Outbox struct {
	mu     sync.Mutex
	fd     int
	mem    []byte
	area   []byte
	open   int // offset of the last frame, -1 when there is none
	end    int // offset behind the last item
	count  uint32
	chunk  uint64
	next   uint32 // index that the last frame can be continued with
	spent  Spent  // of the last frame
	base   uint64
	timer  *time.Timer
	armed  bool
	broken error
}

// NewOutbox returns the outbox of a link that writes to the pipe at fd.
func NewOutbox(fd int, s *Shared) *Outbox {
	o := &Outbox{fd: fd, mem: s.journal[:journalSize], area: s.journal[journalHead:journalSize], open: -1}
	o.timer = time.AfterFunc(time.Hour, o.flushLate)
	o.timer.Stop()
	return o
}

// Begin notes that the tasks of a chunk are running from now on.
func (o *Outbox) Begin(chunk uint64) { word(o.mem, wordCurrent).Store(chunk) }

// Started notes when the running task was started, in nanoseconds of CLOCK_MONOTONIC.
func (o *Outbox) Started(ns int64) { word(o.mem, wordStarted).Store(uint64(ns)) }

// End notes that no chunk is running.
func (o *Outbox) End() {
	word(o.mem, wordCurrent).Store(0)
	word(o.mem, wordStarted).Store(0) // the next chunk must not seem to have begun with this one's last task
}

// Result publishes the result of the chunk's task at index. When it returns, the result is safe from the death of
// this process, unless it is larger than the journal: then it has been written to the pipe. With more to come from
// the same chunk it is written within flushAfter; without, the caller will Flush.
func (o *Outbox) Result(chunk uint64, index uint32, s Status, body []byte, spent Spent, more bool) error {
	return o.result(chunk, index, uint64(s)<<56|uint64(len(body)), body, spent, more)
}

// Placed is Result for a result that lies in the arena.
func (o *Outbox) Placed(chunk uint64, index uint32, s Status, at Place, spent Spent, more bool) error {
	var b [placeSize]byte
	return o.result(chunk, index, uint64(s)<<56|inArena|uint64(at.Len), at.Append(b[:0]), spent, more)
}

// result publishes an item with the head and what is behind it.
func (o *Outbox) result(chunk uint64, index uint32, head uint64, body []byte, spent Spent, more bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken != nil {
		return o.broken
	}
	need := ItemSize + len(body)
	if HeaderSize+StatsSize+need > len(o.area)-8 { // frames are aligned
		return o.writeLarge(chunk, index, head, body, spent)
	}
	fresh := o.open < 0 || o.chunk != chunk || o.next != index
	room := need
	if fresh {
		room += HeaderSize + StatsSize
	}
	if o.end+room > len(o.area)-8 {
		if o.flush(); o.broken != nil {
			return o.broken // and no room for it
		}
		fresh = true
	}
	if fresh {
		o.openFrame(chunk, index)
	}
	at := o.end
	binary.LittleEndian.PutUint64(o.area[at:], head)
	copy(o.area[at+ItemSize:], body)
	o.end = at + need
	o.count++
	o.next++
	o.spent.Run += spent.Run
	o.spent.Decode += spent.Decode
	o.spent.Encode += spent.Encode
	o.spent.Bound += spent.Bound
	// The one store that makes it count: length and number of results together.
	word(o.area, o.open).Store(uint64(o.count)<<32 | uint64(align(o.end)-o.open-HeaderSize))
	if more {
		o.arm()
	}
	return o.broken
}

// align rounds up to where a frame may begin.
func align(n int) int { return (n + 7) &^ 7 }

// openFrame begins a frame, of no results yet, at the end of the area.
func (o *Outbox) openFrame(chunk uint64, index uint32) {
	o.sealStats()
	o.open = align(o.end)
	h := Header{Type: Results, Chunk: chunk, First: index}
	h.Put(o.area[o.open:])
	clear(o.area[o.open+HeaderSize:][:StatsSize])
	o.end = o.open + HeaderSize + StatsSize
	o.count, o.chunk, o.next, o.spent = 0, chunk, index, Spent{}
	word(o.mem, wordLast).Store(uint64(o.open) + 8)
}

// sealStats puts the account of the last frame in its place.
func (o *Outbox) sealStats() {
	if o.open < 0 {
		return
	}
	o.spent.put(o.area[o.open+HeaderSize:])
}

// Arm makes sure that what is published now is written within flushAfter, whatever the next task does.
func (o *Outbox) Arm() {
	o.mu.Lock()
	o.arm()
	o.mu.Unlock()
}

func (o *Outbox) arm() {
	if o.end > 0 && !o.armed {
		o.armed = true
		o.timer.Reset(flushAfter)
	}
}

func (o *Outbox) flushLate() {
	o.mu.Lock()
	o.armed = false
	o.flush()
	o.mu.Unlock()
}

// Flush writes everything published to the pipe.
func (o *Outbox) Flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush()
	return o.broken
}

func (o *Outbox) flush() {
	if o.end == 0 {
		return
	}
	o.sealStats()
	n := align(o.end)
	if o.write(o.area[:n]); o.broken != nil {
		return // what could not be written stays where the parent finds it
	}
	o.forget()
	o.advance(n)
}

// forget empties the area. It comes before advance: at every instant between the two, the parent that looks for the
// rest of the stream finds none.
func (o *Outbox) forget() {
	word(o.mem, wordLast).Store(0)
	o.open, o.end, o.count = -1, 0, 0
}

func (o *Outbox) advance(n int) {
	o.base += uint64(n)
	word(o.mem, wordBase).Store(o.base)
}

// writeLarge sends a result that the journal can't hold straight to the pipe.
func (o *Outbox) writeLarge(chunk uint64, index uint32, item uint64, body []byte, spent Spent) error {
	if len(body)+ItemSize+StatsSize > MaxPayload {
		return ErrTooLarge
	}
	if o.flush(); o.broken != nil {
		return o.broken
	}
	var head [HeaderSize + StatsSize + ItemSize]byte
	h := Header{Type: Results, Chunk: chunk, First: index, Count: 1, Length: uint32(StatsSize + ItemSize + len(body))}
	h.Put(head[:])
	spent.put(head[HeaderSize:])
	binary.LittleEndian.PutUint64(head[HeaderSize+StatsSize:], item)
	o.write(head[:])
	o.write(body)
	o.advance(len(head) + len(body))
	return o.broken
}

// Frame writes a frame other than Results at once, after all that is published.
func (o *Outbox) Frame(h Header, payload []byte) error {
	b, err := AppendFrame(nil, h, payload)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush()
	o.write(b)
	o.advance(len(b))
	return o.broken
}

func (o *Outbox) write(b []byte) {
	for len(b) > 0 && o.broken == nil {
		n, err := syscall.Write(o.fd, b)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			o.broken = fmt.Errorf("write: %w", err)
		default:
			b = b[n:]
		}
	}
}
