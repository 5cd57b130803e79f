// Package pickle reads pickles of Python, of all protocols, and says where their bytes come from. It runs the pickle machine
// with stand-ins for values: nothing is imported, called or made. Each byte of a stream belongs to exactly one value:
// marks, and what fills a container, to the container; what memoizes a value, to the value; a reference to something that
// stands elsewhere takes the bytes of the reference, and names that place. Frames, the protocol and the end belong to
// the outermost value.
//
// A stream may come from anybody. What is malformed is an error, and memory is bounded: the stack and the memo by
// limits, the tree by keeping only the largest elements of large containers, and nothing of what lies very deep.
package pickle

import (
	"errors"
	"fmt"
)

// Limits on what a stream may ask for. Values that Python pickles stay far below them.
const (
	maxStack    = 1 << 24 // values that wait on the stack
	maxMarks    = 1 << 22
	maxMemo     = 1 << 26
	maxSparse   = 1 << 20 // memo entries whose numbers are not in order
	maxNames    = 1<<16 - 1
	maxHeight   = 1000    // levels of the tree that are kept, from the innermost
	maxElements = 8192    // elements of a container that are kept; if there are more, only
	keptLargest = 512     // as many, the largest
	maxFaults   = 256     // and of those that can't be sent
	maxTuple    = 1 << 20 // the same of tuples, which lie on the stack as a whole anyway
	maxSlots    = 4 << 20 // values in the tree, roughly; from there on what is inside of new ones is not kept
)

// ErrTruncated is returned for a stream that ends before its pickle does.
var ErrTruncated = errors.New("the pickle ends in the middle")

// Parse reads one pickle, which the stream begins with, and says where its bytes come from. buffers has the lengths of its
// out-of-band buffers (protocol 5) in order, which count as part of the values that refer to them. All of them must be
// used. The result refers to the stream, which must not change while it is in use.
func Parse(stream []byte, buffers []int64) (*Value, error) {
	m := &machine{s: stream, buffers: buffers}
	m.stack = make([]item, 0, 64)
	root, err := m.run()
	if err != nil {
		return nil, fmt.Errorf("reading a pickle, at byte %d of %d: %w", m.op, len(stream), err)
	}
	if m.buffer < len(buffers) {
		return nil, fmt.Errorf("reading a pickle: it refers to %d out-of-band buffers of %d", m.buffer, len(buffers))
	}
	t := &tree{s: stream, memo: &m.memo, names: m.names, root: root, consumed: int64(m.at), omitted: m.omitted}
	return &Value{t: t, c: child{it: root}}, nil
}
