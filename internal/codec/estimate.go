package codec

import (
	"reflect"
	"unsafe"
)

const (
	estimateDepth  = 4 // of pointers and slices that an estimate looks into
	estimateSample = 8 // elements of a slice that stand for all
)

// Estimate returns about how many bytes Append will take for the value at v, in
// a time that doesn't depend on how much it holds. Large strings, and slices of
// elements of a fixed size, are counted exactly, wherever few of them are.
func (p *Plan) Estimate(v unsafe.Pointer) int { return p.node.estimate(v, 0) }

func (n *node) estimate(p unsafe.Pointer, depth int) int {
	switch n.way {
	case asString:
		return n.min + len(*(*string)(p))
	case asStruct:
		total := n.min
		for i := range n.steps {
			if s := &n.steps[i]; s.node != nil && s.way != asSkip {
				total += s.node.estimate(unsafe.Add(p, s.off), depth) - s.node.min
			}
		}
		return total
	case asArray:
		if n.fixed {
			return n.min
		}
		return n.elem.estimateRun(p, n.count, depth)
	default:
	}
	if depth++; depth > estimateDepth {
		return n.min
	}
	switch n.way {
	case asSlice:
		s := (*sliceHeader)(p)
		if s.len == 0 || n.elem.fixed {
			return n.min + s.len*n.elem.min
		}
		return n.min + n.elem.estimateRun(s.data, s.len, depth)
	case asPointer:
		if at := *(*unsafe.Pointer)(p); at != nil {
			return n.min + n.elem.estimate(at, depth)
		}
	case asMap:
		return n.min + reflect.NewAt(n.typ, p).Elem().Len()*(n.key.min+n.elem.min)
	default:
	}
	return n.min
}

// estimateRun estimates count values that lie one after the other.
func (n *node) estimateRun(p unsafe.Pointer, count, depth int) int {
	looked := min(count, estimateSample)
	total := 0
	for i := range looked {
		total += n.estimate(unsafe.Add(p, uintptr(i)*n.size), depth)
	}
	if looked == count {
		return total
	}
	// A little more, for an estimate that is too low costs a second copy.
	return int(float64(total) / float64(looked) * float64(count) * 17 / 16)
}
