package codec

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/brinepool/brine/internal/shm"
)

// maxDepth bounds how deep pointers, slices, maps and interfaces nest. It keeps
// the stack of either side below some ten megabytes.
const maxDepth = 10_000

// null is the length of a nil slice or map.
const null = math.MaxUint32

// An encoder appends one value to buf. It stays on the stack of its caller: all
// calls below are static, which is why a node is a switch and not a func.
type encoder struct {
	buf    []byte
	depth  int
	remote int           // errors inside errors, see remote.go
	seen   *sent         // objects reached by pointers; nil until the first
	types  []*registered // types named so far
	refs   *shm.Refs     // takes the shared data; nil where none may cross
}

func (e *encoder) value(n *node, p unsafe.Pointer) error {
	switch n.way {
	case asCopy:
		e.buf = append(e.buf, memory(p, n.size)...)
		return nil
	case asString:
		return e.string(*(*string)(p))
	case asTime:
		e.time(p)
		return nil
	case asStruct:
		return e.structure(n, p)
	case asArray:
		return e.elements(n.elem, p, n.count)
	case asMarshal:
		return e.marshal(n, p)
	case asRemote:
		e.remoteError((*RemoteError)(p))
		return nil
	case asShared:
		return e.shared(p)
	default:
	}
	if e.depth++; e.depth > maxDepth {
		return errDepth
	}
	var err error
	switch n.way {
	case asSlice:
		err = e.slice(n, p)
	case asMap:
		err = e.mapping(n, p)
	case asPointer:
		err = e.pointer(n, p)
	case asInterface:
		err = e.iface(n, p)
	default:
		panic("brine: codec: a node without a way")
	}
	e.depth--
	return err
}

func (e *encoder) u32(v uint32) { e.buf = binary.LittleEndian.AppendUint32(e.buf, v) }

func (e *encoder) pad(n int) {
	for ; n > 0; n-- {
		e.buf = append(e.buf, 0)
	}
}

// padTo fills up what was written since start to n bytes.
func (e *encoder) padTo(start, n int) { e.pad(start + n - len(e.buf)) }
