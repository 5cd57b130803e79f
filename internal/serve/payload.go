package serve

import (
	"encoding/binary"
	"sync"
	"syscall"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/pickle"
	"github.com/brinepool/brine/internal/shm"
)

// The engine passes payloads on as they are. It looks into Python's for the bill alone: how large those are that lie in
// the client's arena, and what makes the largest large. One that makes no sense is left off the bill, and is for the worker to
// refuse.

// The forms of a payload, as docs/PROTOCOL.md has them.
const (
	formPlain   = 0
	formStored  = 1
	formBuffers = 2

	referenceSize = 17 // bytes of a payload that refers to a stored one
	singleHead    = 5  // bytes before the function of a task without bound arguments

	pickleEnd = 256 // bytes at each end of a pickle that may be of other things than what is large in it

	storedMagic = 0x6e697262
	storedHead  = 16
	storedAlign = 64
	storedPage  = 4096
	storedLarge = 1 << 20 // buffers of so many bytes begin at pages

	maxPayloadBuffers = 1 << 16  // out-of-band buffers in a payload that is looked into
	maxLook           = 64 << 20 // bytes of the largest payload that is
	lookHere          = 64 << 10 // of one that is looked into at once; larger ones have a goroutine
)

// arena is the client's, mapped for reading; nothing where there is none.
type arena struct{ mem []byte }

// maxArenas is how many arenas of a client are mapped: it has one for all of its pools.
const maxArenas = 4

// arenas are the client's, by the number of their file. They stay mapped as long as the connection lasts, for frames that
// refer to them may come after the end of the pool that they are for.
type arenas map[uint64]arena

// open maps an arena, and closes its descriptor. Memory that could become smaller is left alone: whoever reads it then is
// ended.
func (as arenas) open(fd int) arena {
	defer func() { _ = syscall.Close(fd) }()
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return arena{}
	}
	if a, known := as[st.Ino]; known || len(as) == maxArenas || !shm.Steady(fd) {
		return a
	}
	mem, err := shm.Map(fd, st.Size, false)
	if err != nil {
		return arena{}
	}
	as[st.Ino] = arena{mem}
	return as[st.Ino]
}

func (as arenas) close() {
	for _, a := range as {
		shm.Unmap(a.mem)
	}
}

// stored is a payload in an arena: a pickle and its buffers, which lie there one after the other, with gaps.
type stored struct {
	pickle  []byte
	buffers []int64 // their lengths
	largest []byte  // of the buffers
}

func (s stored) size() int64 {
	n := int64(len(s.pickle))
	for _, b := range s.buffers {
		n += b
	}
	return n
}

// find finds the stored payload that a body refers to.
func (a arena) find(body []byte) (s stored, ok bool) {
	if len(body) != referenceSize || body[0] != formStored {
		return s, false
	}
	offset, length := binary.LittleEndian.Uint64(body[1:]), binary.LittleEndian.Uint64(body[9:])
	if size := uint64(len(a.mem)); offset > size || length > size-offset {
		return s, false
	}
	return parseStored(a.mem[offset : offset+length])
}

// parseStored takes a stored payload apart, which is all of b.
func parseStored(b []byte) (s stored, ok bool) {
	size := int64(len(b))
	if size < storedHead || binary.LittleEndian.Uint32(b) != storedMagic {
		return s, false
	}
	n, length := int64(binary.LittleEndian.Uint32(b[4:])), int64(binary.LittleEndian.Uint64(b[8:]))
	at := align(storedHead+8*n, storedAlign)
	if n > maxPayloadBuffers || at > size || length < 0 || length > size-at {
		return s, false
	}
	s.pickle = b[at : at+length : at+length]
	at += length
	for i := range n {
		m := int64(binary.LittleEndian.Uint64(b[storedHead+8*i:]))
		if at = align(at, storedAlign); m >= storedLarge {
			at = align(at, storedPage)
		}
		if m < 0 || at > size || m > size-at {
			return s, false
		}
		s.buffers = append(s.buffers, m)
		if m > int64(len(s.largest)) {
			s.largest = b[at : at+m : at+m]
		}
		at += m
	}
	return s, true
}

func align(n, to int64) int64 { return (n + to - 1) / to * to }

// beside returns how many bytes of a payload are not in its body.
func (a arena) beside(body []byte) int64 {
	if s, ok := a.find(body); ok {
		return max(0, s.size()-int64(len(body)))
	}
	return 0
}

// look returns the pickle of a payload, in memory of its own, and the lengths of its buffers.
func (a arena) look(body []byte) (stream []byte, buffers []int64, ok bool) {
	if len(body) == 0 {
		return nil, nil, false
	}
	switch body[0] {
	case formPlain:
		stream = body[1:]
	case formStored:
		s, ok := a.find(body)
		if !ok {
			return nil, nil, false
		}
		stream, buffers = s.pickle, s.buffers
	case formBuffers:
		p := parser{Rest: body[1:]}
		n, length := int(p.U32()), p.U64()
		sizes := parser{Rest: p.Take(8 * min(n, maxPayloadBuffers))}
		if p.Err("") != nil || n > maxPayloadBuffers || length > uint64(len(p.Rest)) {
			return nil, nil, false
		}
		for range n {
			buffers = append(buffers, int64(sizes.U64()))
		}
		stream = p.Rest[:length]
	default:
		return nil, nil, false
	}
	return kept(stream), buffers, len(stream) <= maxLook
}

// lookStored is look for the stored payload that b is.
func lookStored(b []byte) (stream []byte, buffers []int64, ok bool) {
	s, ok := parseStored(b)
	return kept(s.pickle), s.buffers, ok && len(s.pickle) <= maxLook
}

// kept returns a copy of what lies in memory of others, unless it is too large to be looked into.
func kept(b []byte) []byte {
	if len(b) > maxLook {
		return nil
	}
	return append([]byte(nil), b...)
}

// see looks whether the largest part of an argument was sent before, its pickle or one of its buffers.
func (p *pool) see(function string, body []byte) {
	s, ok := p.arena.find(body)
	if !ok {
		return
	}
	// What goes along with something small that is different each time, as an element of a tuple say, begins and ends at the same
	// places of the pickle as a rule: so its ends are left out.
	part := s.pickle
	if len(part) > 2*pickleEnd {
		part = part[pickleEnd : len(part)-pickleEnd]
	}
	if len(s.largest) > len(part) {
		part = s.largest
	}
	p.e.Ledger().See(function, ledger.Argument, p.e.Heaviest(function, ledger.Argument), part)
}

// single returns the payloads of the function and of the arguments of a task without bound arguments.
func single(body []byte) (function, arguments []byte, ok bool) {
	p := parser{Rest: body}
	p.U8()
	function = p.Bytes()
	return function, p.Rest, p.Err("") == nil
}

// weigh looks into a payload for the bill if it is much larger than those of its function and class before.
func (p *pool) weigh(function, class string, size int64, look func() ([]byte, []int64, bool)) {
	large := size > lookHere
	if size > maxLook || (large && !p.looking.begin()) {
		return
	}
	var stream []byte
	var buffers []int64
	ok := p.e.Weigh(function, class, size)
	if ok {
		stream, buffers, ok = look()
	}
	if !ok {
		if large {
			p.looking.done()
		}
		return
	}
	find := func() {
		if v, err := pickle.Parse(stream, buffers); err == nil {
			p.e.Weighed(function, class, v.Part(pickle.Options{}), 0) // beside everything that is measured
		}
	}
	if !large {
		find()
		return
	}
	go func() {
		find()
		p.looking.done()
	}()
}

// looking is that somebody looks into a large payload: one for each pool, for that takes memory.
type looking struct {
	mu   sync.Mutex
	busy chan struct{} // closed when it is over; nil when nobody does
}

// begin returns false if somebody does already.
func (l *looking) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy != nil {
		return false
	}
	l.busy = make(chan struct{})
	return true
}

func (l *looking) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.busy)
	l.busy = nil
}

func (l *looking) wait() {
	l.mu.Lock()
	busy := l.busy
	l.mu.Unlock()
	if busy != nil {
		<-busy
	}
}

// account returns the bill of the pool, with so many of the last chunks.
func (p *pool) account(chunks int) *bill.Bill {
	b := p.e.Bill(chunks)
	b.Language = "python"
	return &b
}

var _ engine.Relay = (*job)(nil)
