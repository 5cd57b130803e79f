package trace

import (
	"hash/crc32"

	"github.com/brinepool/brine/internal/bill"
)

// streamKey is by which a stream is known again where it is unpickled.
type streamKey struct {
	size int64 // -1 for process objects, and -2 for their preparations, which go by the name of the process
	sum  uint32
}

// sending is a stream that somebody has pickled and, as a rule, somebody else will unpickle. What it was may become known
// later: of a result, when it is known which task that was of.
type sending struct {
	size    int64
	known   bool
	shares  []lined
	chunk   *bill.Chunk
	job     uint64
	from    *proc
	read    bool
	waiting []func()
}

// lined is a share's line and bytes.
type lined struct {
	key   lineKey
	bytes int64
}

// know says what a stream was.
func (s *sending) know(shares []lined) {
	s.known, s.shares = true, shares
	for _, f := range s.waiting {
		f()
	}
	s.waiting = nil
}

// then calls a function when it is known what the stream was.
func (s *sending) then(f func()) {
	if s.known {
		f()
		return
	}
	s.waiting = append(s.waiting, f)
}

// reception is a stream that somebody has unpickled.
type reception struct {
	sending *sending // nil as long as nobody was heard to have pickled it
	waiting []func(*sending)
}

func (r *reception) then(f func(*sending)) {
	if r.sending != nil {
		f(r.sending)
		return
	}
	r.waiting = append(r.waiting, f)
}

func (r *reception) meet(s *sending) {
	r.sending, s.read = s, true
	for _, f := range r.waiting {
		f(s)
	}
	r.waiting = nil
}

// maxCrossing is how many streams may be under way. The oldest are given up.
const maxCrossing = 200_000

// crossing is the streams under way: those that were heard of from one side alone. What is read is told by another process
// than what was written, and so may come first.
type crossing struct {
	sent     map[streamKey][]*sending
	received map[streamKey][]*reception
	order    []streamKey // of sendings, the oldest first
	early    []streamKey // of receptions
}

// send notes that a stream was pickled.
func (c *crossing) send(key streamKey, s *sending) {
	if waiting := c.received[key]; len(waiting) > 0 {
		take(c.received, key)
		waiting[0].meet(s)
		return
	}
	if c.sent == nil {
		c.sent, c.received = make(map[streamKey][]*sending), make(map[streamKey][]*reception)
	}
	c.sent[key] = append(c.sent[key], s)
	c.order = append(c.order, key)
	c.order = bound(c.order, c.sent, func(streamKey, *sending) {})
}

// receive notes that a stream was unpickled, and finds where it was pickled.
func (c *crossing) receive(key streamKey) *reception {
	r := new(reception)
	if under := c.sent[key]; len(under) > 0 {
		take(c.sent, key)
		r.meet(under[0])
		return r
	}
	if c.sent == nil {
		c.sent, c.received = make(map[streamKey][]*sending), make(map[streamKey][]*reception)
	}
	c.received[key] = append(c.received[key], r)
	c.early = append(c.early, key)
	c.early = bound(c.early, c.received, abandon)
	return r
}

// take removes the first of those that have a key.
func take[T any](m map[streamKey][]T, key streamKey) {
	if len(m[key]) == 1 {
		delete(m, key)
		return
	}
	m[key] = m[key][1:]
}

// bound removes the oldest if there are too many. The order has each key once for each that was added, also for those
// that are gone: it is rid of them now and then.
func bound[T any](order []streamKey, m map[streamKey][]T, gone func(streamKey, T)) []streamKey {
	if len(order) < 2*maxCrossing {
		return order
	}
	left := make(map[streamKey]int, len(m))
	total := 0
	for key, list := range m {
		left[key] = len(list)
		total += len(list)
	}
	kept := make([]streamKey, 0, total)
	for i := len(order) - 1; i >= 0 && len(kept) < maxCrossing; i-- { // the latest of a key are those that are left
		if key := order[i]; left[key] > 0 {
			left[key]--
			kept = append(kept, key)
		}
	}
	for key, n := range left {
		for ; n > 0; n-- {
			first := m[key][0]
			take(m, key)
			gone(key, first)
		}
	}
	for i, j := 0, len(kept)-1; i < j; i, j = i+1, j-1 {
		kept[i], kept[j] = kept[j], kept[i]
	}
	return kept
}

// unknown is what the bill calls what it doesn't know.
const unknown = "not known"

// abandon gives up looking for where a stream was pickled: it came from a process that is not traced.
func abandon(key streamKey, r *reception) {
	size := max(0, key.size)
	r.meet(&sending{size: size, known: true, shares: []lined{{lineKey{function: unknown, class: bill.Message}, size}}})
}

// finish gives up looking for where anything was pickled.
func (c *crossing) finish() {
	for _, key := range c.early {
		for len(c.received[key]) > 0 {
			r := c.received[key][0]
			take(c.received, key)
			abandon(key, r)
		}
	}
	c.early = nil
}

// keyOf is the key of a stream. python/trace/_brine_trace.py has the same.
func keyOf(stream []byte) streamKey {
	const end = 4096
	sum := crc32.ChecksumIEEE(stream[:min(len(stream), end)])
	return streamKey{int64(len(stream)), crc32.Update(sum, crc32.IEEETable, stream[max(0, len(stream)-end):])}
}

// nameKey is the key of what goes by the name of a process.
func nameKey(k kind, name string) streamKey {
	size := int64(-1)
	if k == preparation {
		size = -2
	}
	return streamKey{size, crc32.ChecksumIEEE([]byte(name))}
}
