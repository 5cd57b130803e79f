package brine

import (
	"reflect"
	"sync"
	"unsafe"

	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/ledger"
)

// parts looks for large parts of arguments that go out again and again although the arguments as a whole differ: a
// method's object that is sent along with every task. A part is known by the memory it lies in. That this still holds
// the same is checked once, when the part is seen for the third time; so watching costs two encodes of a part that
// repeats, and next to nothing for those that don't.
type parts struct {
	ledger *ledger.Ledger
	name   string // of the function

	mu   sync.Mutex
	seen map[partKey]*part
}

type partKey struct {
	path string
	data unsafe.Pointer // keeps the part's address from being used again while it is remembered
	len  int
}

type part struct {
	sights int
	size   int
	sum    uint64
	other  bool // small, or not the same each time
}

const (
	partsKept  = 64 // parts that are remembered; beyond that a program sends different ones
	partsDepth = 4  // of structs and pointers in which parts are looked for
	partsLen   = 64 // elements below which a slice or map is not looked at
)

func newParts(l *ledger.Ledger, name string) *parts {
	return &parts{ledger: l, name: name, seen: make(map[partKey]*part)}
}

// watch looks at an argument of more than ledger.RepeatSize that is about to be sent.
func (p *parts) watch(v reflect.Value) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.walk("", v, 0)
}

func (p *parts) walk(path string, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Tag.Get("brine") != "-" && depth < partsDepth {
				p.walk(path+"."+f.Name, v.Field(i), depth+1)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() && !p.sight(partKey{path, v.UnsafePointer(), 1}, v) && depth < partsDepth {
			p.walk(path, v.Elem(), depth+1)
		}
	case reflect.Map, reflect.Slice:
		if v.Len() >= partsLen {
			p.sight(partKey{path, v.UnsafePointer(), v.Len()}, v)
		}
	case reflect.String:
		if v.Len() > ledger.RepeatSize {
			p.sight(partKey{path, unsafe.Pointer(unsafe.StringData(v.String())), v.Len()}, v) //nolint:gosec // an address, never read
		}
	}
}

// sight counts one sending of a part, and returns true when the part is known to repeat.
func (p *parts) sight(key partKey, v reflect.Value) bool {
	s := p.seen[key]
	if s == nil {
		if len(p.seen) >= partsKept {
			clear(p.seen)
		}
		s = new(part)
		p.seen[key] = s
	}
	s.sights++
	switch {
	case s.other:
		return false
	case s.sights == 1:
		return false
	case s.sights <= 3:
		size, sum, ok := p.sum(v)
		if !ok || size <= ledger.RepeatSize || (s.sights == 3 && (size != s.size || sum != s.sum)) {
			s.other = true
			return false
		}
		s.size, s.sum = size, sum
		if s.sights < 3 {
			return true // so that its own parts are not looked at
		}
		for range 2 { // the sights before
			p.ledger.Sent(p.name, ledger.Argument, key.path, s.size, s.sum)
		}
	}
	p.ledger.Sent(p.name, ledger.Argument, key.path, s.size, s.sum)
	return true
}

func (p *parts) sum(v reflect.Value) (size int, sum uint64, ok bool) {
	plan, err := codec.For(v.Type())
	if err != nil || !v.CanAddr() {
		return 0, 0, false
	}
	b, err := plan.Append(nil, unsafe.Pointer(v.UnsafeAddr())) //nolint:gosec // the plan is of the value's own type
	if err != nil {
		return 0, 0, false
	}
	return len(b), p.ledger.Sum(b, mayHoldMap(v.Type(), nil)), true
}
