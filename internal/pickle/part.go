package pickle

import (
	"slices"
	"strconv"
	"strings"

	"github.com/brinepool/brine/internal/bill"
)

// Options say how much of a tree is shown. The zero value is for people.
type Options struct {
	Depth   int // levels, 6 if it is 0
	Breadth int // parts of each, the largest; 12 if it is 0

	// Least is how many bytes a part has at least that is shown for itself: if it is 0, one in 2000 of the whole, which
	// is what is not 0.0 %. What can't be sent is always shown.
	Least int64
}

// Bounds on what options may ask for, since each level is a call.
const (
	maxDepth   = 100 // which a tree as text has lines for
	maxBreadth = 100_000
	maxShown   = 200_000 // parts in all

	maxDeepFaults = 20 // of those below the last level of a part
)

// Part returns the value and its parts, the largest first. What is not shown for itself is added up in a part of that
// name, "5 others", unless there is nothing else; then it counts as the value's own, as what lies deeper does.
func (v *Value) Part(o Options) bill.Part {
	if o.Depth <= 0 {
		o.Depth = 6
	}
	if o.Breadth <= 0 {
		o.Breadth = 12
	}
	if o.Least == 0 {
		o.Least = v.Bytes() / 2000
	}
	v.t.shown = 0
	return v.part(min(o.Depth, maxDepth), min(o.Breadth, maxBreadth), o.Least)
}

func (v *Value) part(depth, breadth int, least int64) bill.Part {
	p := bill.Part{
		Name: v.Name(), Type: v.Type(), Entries: v.Entries(), Bytes: v.Bytes(), Own: v.Bytes(), Note: v.Note(), Sum: v.Sum(),
	}
	p.Error = v.t.reason(&v.c)
	v.t.shown++
	if v.t.shown > maxShown {
		return p
	}
	if depth <= 0 {
		v.deepFaults(&p, "")
		slices.SortStableFunc(p.Parts, func(a, b bill.Part) int { return compare(b.Bytes, a.Bytes) })
		return p
	}
	kids := v.children()
	others := v.rest
	order := make([]int, len(kids))
	for i := range order {
		order[i] = i
	}
	size := func(i int) int64 { return kids[i].it.bytes + kids[i].extra }
	slices.SortStableFunc(order, func(a, b int) int {
		if c := compare(kids[b].fault(), kids[a].fault()); c != 0 {
			return c // what can't be sent is never among the others
		}
		return compare(size(b), size(a))
	})
	shown := 0
	for shown < min(len(order), breadth) && (kids[order[shown]].fault() != 0 || size(order[shown]) >= least) {
		shown++
	}
	if shown > 0 && shown == len(order)-1 && others.count == 0 {
		shown++ // a single other is better shown
	}
	for _, i := range order[:shown] {
		part := (&Value{t: v.t, c: kids[i]}).part(depth-1, breadth, least)
		p.Parts = append(p.Parts, part)
		p.Own -= part.Bytes
	}
	for _, i := range order[shown:] {
		others.add(rest{1, size(i)})
	}
	slices.SortStableFunc(p.Parts, func(a, b bill.Part) int { return compare(b.Bytes, a.Bytes) })
	if others.count > 0 && len(p.Parts) > 0 {
		name := number(others.count) + " others"
		if others.count == 1 {
			name = "1 other"
		}
		p.Parts = append(p.Parts, bill.Part{Name: name, Count: others.count, Bytes: others.bytes, Own: others.bytes})
		p.Own -= others.bytes
	}
	return p
}

// deepFaults adds to a part what can't be sent and lies deeper than is shown otherwise.
func (v *Value) deepFaults(p *bill.Part, path string) {
	for _, c := range v.children() {
		if c.fault() == 0 || len(p.Parts) >= maxDeepFaults {
			continue
		}
		inner := &Value{t: v.t, c: c}
		name := Join(path, inner.Name())
		if reason := v.t.reason(&c); reason != "" {
			q := bill.Part{Name: middle(name), Type: inner.Type(), Bytes: inner.Bytes(), Own: inner.Bytes(), Error: reason}
			p.Parts = append(p.Parts, q)
			p.Own -= q.Bytes
			continue
		}
		inner.deepFaults(p, name)
	}
}

// middle leaves out the middle of a path that nobody would read.
func middle(path string) string {
	r := []rune(path)
	if len(r) <= 200 {
		return path
	}
	return string(r[:100]) + " … " + string(r[len(r)-90:])
}

// fault is 1 if in the part is something that can't be sent.
func (c *child) fault() int64 {
	if c.it.fault || c.step.key.fault {
		return 1
	}
	return 0
}

// reason says why a part can't be sent, or its key.
func (t *tree) reason(c *child) string {
	for _, it := range []*item{&c.it, &c.step.key} {
		if it.kind == Unsendable {
			_, reason, _ := strings.Cut(t.unsendable(it), "\x00")
			return reason
		}
	}
	return ""
}

// number writes a count with a comma between each three digits.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// unsendable returns type and reason of what can't be sent.
func (t *tree) unsendable(it *item) string {
	return strings.ToValidUTF8(strings.TrimPrefix(string(text(t.s, it.off)), Marker), "\ufffd")
}

// maxNaming bounds how many types are found by way of others, which may lead around in a circle.
const maxNaming = 8

func (t *tree) typeOf(it *item) string {
	if t.naming >= maxNaming {
		return it.kind.String()
	}
	t.naming++
	defer func() { t.naming-- }()
	switch it.kind {
	case Global:
		return t.global(it.name)
	case Ref:
		_, kind := t.resolve(it)
		switch kind {
		case Global:
			return t.global(it.name)
		case Object:
			return t.referred(it)
		default:
			return kind.String()
		}
	case Unsendable:
		name, _, _ := strings.Cut(t.unsendable(it), "\x00")
		return name
	case Object:
		if s := t.special(it); s != nil {
			return s.name(t, it.node)
		}
		if it.name == 0 {
			if n := it.node; n != nil && (n.callee.kind == Object || n.callee.kind == Ref) {
				return strings.TrimPrefix(t.typeOf(&n.callee), "class ")
			}
			return "object"
		}
		return t.dotted(it.name)
	default:
		return it.kind.String()
	}
}

// referred is the type of an object that is referred to, looked up where it stands.
func (t *tree) referred(it *item) string {
	if _, found := t.locate(it.memo); found != nil && found.c.it.kind == Object {
		return t.typeOf(&found.c.it)
	}
	if it.name == 0 {
		return "object"
	}
	return t.dotted(it.name)
}

// global is what a class or function is called that goes by its name. A stream doesn't tell which of them it is; names
// of classes begin with a capital letter, those of builtin types are known.
func (t *tree) global(name uint16) string {
	module, qualname := t.full(name)
	base := last(qualname)
	if module == "builtins" || module == "__builtin__" {
		if builtinTypes[qualname] || base != "" && base[0] >= 'A' && base[0] <= 'Z' {
			return "class " + qualname
		}
		return "function " + qualname
	}
	word := "function "
	if base != "" && base[0] >= 'A' && base[0] <= 'Z' {
		word = "class "
	}
	return word + t.dotted(name)
}

var builtinTypes = map[string]bool{
	"bool": true, "bytearray": true, "bytes": true, "complex": true, "dict": true, "float": true, "frozenset": true, "int": true,
	"list": true, "object": true, "range": true, "set": true, "slice": true, "str": true, "tuple": true, "type": true,
}

// note is what there is to say of a value beside its type.
func (t *tree) note(v *Value) string {
	it := &v.c.it
	var notes []string
	if v.c.note != "" {
		notes = append(notes, v.c.note)
	}
	switch it.kind {
	case Ref:
		notes = append(notes, t.reference(it))
	case Global:
		notes = append(notes, "by name")
	case Buffer:
		notes = append(notes, "out of band")
	case Object:
		if s := t.special(it); s != nil && s.note != nil {
			if note := s.note(t, it.node); note != "" {
				notes = append(notes, note)
			}
		}
	default:
	}
	return strings.Join(notes, "; ")
}

func (t *tree) objectEntries(it *item) int64 {
	n := it.node
	if n == nil {
		return 0
	}
	if s := t.special(it); s != nil && s.entries != nil {
		return s.entries(t, n)
	}
	count := n.entries
	if n.pairs != nil {
		count += n.pairs.entries
	}
	return count
}
