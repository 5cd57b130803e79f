package pickle

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// tree is a pickle that was read.
type tree struct {
	s        []byte
	memo     *memo
	names    names
	root     item
	consumed int64
	omitted  int64

	naming int              // calls that are under way to find the type of something
	shown  int              // parts of the tree that is being made
	looked int              // parts among which targets of references were looked for
	many   map[*node]family // the parts of what has many, since they are asked for again and again
}

// family is the parts of a value.
type family struct {
	kids []child
	rest rest
}

// Value is a value in a pickle, or the whole. It is not safe for concurrent use with other values of the same pickle.
type Value struct {
	t    *tree
	c    child
	kids []child // once they were asked for
	rest rest
	read bool
}

// Kind says what the value is, as the stream has it: of a reference, that it is one.
func (v *Value) Kind() Kind { return v.c.it.kind }

// Name is how one gets here from the value above: .name, ['key'], [3], variable x. It is empty for the whole.
func (v *Value) Name() string { return v.t.nameOf(&v.c.step) }

// Note is what there is to say of the value: that it is the bound object of a method, or a reference and what to.
func (v *Value) Note() string { return v.t.note(v) }

// Type is the name of the type: dict, __main__.Converter, numpy.ndarray, function module.name.
func (v *Value) Type() string { return v.t.typeOf(&v.c.it) }

// Bytes is what the value takes, with all in it, the key that it is under, and its out-of-band buffers.
func (v *Value) Bytes() int64 { return v.c.it.bytes + v.c.extra }

// Own is what of Bytes is in none of the parts that Child returns, nor in Rest.
func (v *Value) Own() int64 {
	own := v.Bytes()
	for _, c := range v.children() {
		own -= c.it.bytes + c.extra
	}
	return own - v.rest.bytes
}

// Consumed is how many bytes of the stream the whole pickle had: Bytes of the whole, less buffers, plus Omitted.
func (v *Value) Consumed() int64 { return v.t.consumed }

// Omitted is how many bytes of the stream stand for what could not be pickled, and are in no other figure.
func (v *Value) Omitted() int64 { return v.t.omitted }

// Sum is a sum of the content. It is equal for equal content, wherever in a stream and in whichever stream it is; what
// refers to an out-of-band buffer, whose content is not in the stream, is equal only to what has the same number and
// length of buffer. A dictionary's and a set's don't depend on the order.
func (v *Value) Sum() uint64 { return v.c.it.sum }

// Entries is how many elements a container has, or how long a string or bytes are. It is 0 for all else.
func (v *Value) Entries() int64 { return v.t.entries(&v.c.it) }

// Len is how many parts of the value are known, which Child returns: of a container all, if it hasn't very many, and
// otherwise the largest. A dictionary's parts are its values; an object's are its attributes and arguments.
func (v *Value) Len() int { return len(v.children()) }

// Child returns a part of the value, from 0 to Len()-1, in the order of the stream, or nil if there is no such part.
func (v *Value) Child(i int) *Value {
	kids := v.children()
	if i < 0 || i >= len(kids) {
		return nil
	}
	return &Value{t: v.t, c: kids[i]}
}

// Rest is how many parts are not known, and their bytes.
func (v *Value) Rest() (count, size int64) {
	v.children()
	return v.rest.count, v.rest.bytes
}

func (v *Value) children() []child {
	if !v.read {
		v.kids, v.rest = v.t.children(&v.c.it)
		v.read = true
	}
	return v.kids
}

// Int returns a number, or that of a boolean. It is false for all else, and for numbers of more than 64 bits.
func (v *Value) Int() (int64, bool) {
	off, kind := v.t.resolve(&v.c.it)
	if kind != Int && kind != Bool {
		return 0, false
	}
	return integer(v.t.s, off)
}

// Str returns the content of a string, also of one that is a reference.
func (v *Value) Str() (string, bool) {
	off, kind := v.t.resolve(&v.c.it)
	if kind != Str {
		return "", false
	}
	return string(text(v.t.s, off)), true
}

// Target returns what a reference refers to, if that is in the tree and not what can be a part of many: itself for
// all that is no reference, and nil if it isn't known.
func (v *Value) Target() *Value {
	if v.c.it.kind != Ref {
		return v
	}
	_, found := v.t.locate(v.c.it.memo)
	return found
}

// At returns the part that a path leads to, which is made of names, each as Name has it: .cache['x'][3]. It is nil if
// there is none, or it isn't known.
func (v *Value) At(path string) *Value {
	path = strings.TrimPrefix(path, " ")
	if path == "" {
		return v
	}
	for i, c := range v.children() {
		name := v.t.nameOf(&c.step)
		after, ok := strings.CutPrefix(path, name)
		if !ok || name == "" || after != "" && !strings.ContainsAny(after[:1], ".[ ") {
			continue
		}
		if found := v.Child(i).At(after); found != nil {
			return found
		}
	}
	return nil
}

// resolve returns where a leaf stands, behind a reference, and its kind.
func (t *tree) resolve(it *item) (int64, Kind) {
	if it.kind != Ref {
		return it.off, it.kind
	}
	if it.memo == 0 {
		return 0, Ref
	}
	e, ok := t.memo.get(uint64(it.memo - 1))
	if !ok {
		return 0, Ref
	}
	return e.off, e.kind
}

func (t *tree) entries(it *item) int64 {
	switch it.kind {
	case Str:
		return int64(utf8.RuneCount(text(t.s, it.off)))
	case Bytes, ByteArray:
		return int64(len(text(t.s, it.off)))
	case Tuple, List, Dict, Set, FrozenSet:
		if it.node != nil {
			return it.node.entries
		}
	case Object:
		return t.objectEntries(it)
	default:
	}
	return 0
}

// full is the name of a class or function: module and name.
func (t *tree) full(name uint16) (module, qualname string) {
	if int(name) >= len(t.names.list) {
		return "", ""
	}
	module, qualname, _ = strings.Cut(t.names.list[name], " ")
	return module, qualname
}

// dotted is the name as one writes it.
func (t *tree) dotted(name uint16) string {
	module, qualname := t.full(name)
	if module == "builtins" || module == "__builtin__" || module == "" {
		return qualname
	}
	return module + "." + qualname
}

// literal writes a key as Python does, if it is short and simple.
func (t *tree) literal(it *item) string {
	off, kind := t.resolve(it)
	switch kind {
	case None:
		return "None"
	case Bool:
		if it.sum == seedTrue {
			return "True"
		}
		return "False"
	case Int:
		if v, ok := integer(t.s, off); ok {
			return strconv.FormatInt(v, 10)
		}
	case Str:
		return quote(string(text(t.s, off)))
	case Bytes:
		return "b" + quote(string(text(t.s, off)))
	case Tuple:
		if n := it.node; it.kind == Tuple && n != nil && len(n.kids) <= 4 && n.height == 0 {
			parts := make([]string, len(n.kids))
			for i := range n.kids {
				parts[i] = t.literal(&n.kids[i])
			}
			if len(parts) == 1 {
				return "(" + parts[0] + ",)"
			}
			return "(" + strings.Join(parts, ", ") + ")"
		}
	case Float:
		return t.float(off)
	default:
	}
	return "<" + t.typeOf(it) + ">"
}

const longestName = 40 // characters of a key that are shown

func quote(s string) string {
	if len(s) > 4*longestName {
		s = s[:4*longestName]
	}
	s = strings.ToValidUTF8(s, "\ufffd")
	if r := []rune(s); len(r) > longestName {
		s = string(r[:longestName-1]) + "…"
	}
	q := strconv.Quote(s)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	return "'" + strings.ReplaceAll(q, "'", `\'`) + "'"
}
