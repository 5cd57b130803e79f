package pickle

import (
	"errors"
	"fmt"
)

// names has the names of classes and functions, by number; number 0 is a name that isn't known.
type names struct {
	list   []string // "module name"
	number map[string]uint16
}

// intern returns the number of a name.
func (n *names) intern(module, name []byte) uint16 {
	if len(module)+len(name) > 4096 {
		return 0
	}
	full := make([]byte, 0, 64)
	full = append(append(append(full, module...), ' '), name...)
	if i, ok := n.number[string(full)]; ok {
		return i
	}
	if n.number == nil {
		n.number, n.list = make(map[string]uint16), []string{" "}
	}
	if len(n.list) > maxNames {
		return 0
	}
	i := uint16(len(n.list))
	n.list = append(n.list, string(full))
	n.number[string(full)] = i
	return i
}

// named pushes a class or a function by its name.
func (m *machine) named(op byte) error {
	if op == opStackGlobal {
		return m.stackGlobal()
	}
	module, err := m.readLine()
	if err != nil {
		return err
	}
	name, err := m.readLine()
	if err != nil {
		return err
	}
	global := item{off: int64(m.op), bytes: int64(m.at - m.op), kind: Global, name: m.names.intern(module, name), sum: globalSum(module, name)}
	if op == opGlobal {
		return m.pushItem(global)
	}
	from, err := m.unmark()
	if err != nil {
		return err
	}
	return m.call(global, from, 1)
}

func globalSum(module, name []byte) uint64 {
	return mix(hashBytes(seedGlobal, module), hashBytes(seedGlobal, name))
}

// stackGlobal makes a class or a function of two strings.
func (m *machine) stackGlobal() error {
	if err := m.need(2); err != nil {
		return err
	}
	n := len(m.stack)
	module, name := &m.stack[n-2], &m.stack[n-1]
	moduleText, ok1 := m.str(module)
	nameText, ok2 := m.str(name)
	if !ok1 || !ok2 {
		return errors.New("a name that is no string")
	}
	it := item{
		off: module.off, bytes: module.bytes + name.bytes + 1, kind: Global,
		name: m.names.intern(moduleText, nameText), sum: globalSum(moduleText, nameText),
	}
	m.drop(module) // a reference that took the place of something
	m.drop(name)
	m.stack = m.stack[:n-2]
	return m.pushItem(it)
}

// str returns the content of a string, or of one that is referred to.
func (m *machine) str(it *item) ([]byte, bool) {
	off, kind := it.off, it.kind
	if kind == Ref && it.memo != 0 {
		e, ok := m.memo.get(uint64(it.memo - 1))
		if !ok {
			return nil, false
		}
		off, kind = e.off, e.kind
	}
	if kind != Str {
		return nil, false
	}
	return text(m.s, off), true
}

// object makes an object of what is on the stack, or sets its state.
func (m *machine) object(op byte) error {
	count := 2
	switch op {
	case opObj:
		from, err := m.unmark()
		if err != nil {
			return err
		}
		if len(m.stack) <= from {
			return errUnderflow
		}
		callee := m.stack[from]
		copy(m.stack[from:], m.stack[from+1:])
		m.stack = m.stack[:len(m.stack)-1]
		return m.call(callee, from, 2)
	case opNewObjEx:
		count = 3
	}
	if err := m.need(count); err != nil {
		return err
	}
	base := len(m.stack) - count
	parts := m.stack[base:]
	if op == opBuild {
		m.seal(&parts[1])
		state := parts[1]
		m.stack = m.stack[:base+1]
		obj := &m.stack[base]
		if obj.kind < Ref {
			return fmt.Errorf("a state for a %s", obj.kind)
		}
		m.setState(obj, state)
		obj.bytes++
		return m.crowded()
	}
	for i := range parts {
		m.seal(&parts[i])
	}
	it := item{off: parts[0].off, kind: Object, name: m.calleeName(&parts[0]), bytes: int64(m.at - m.op)}
	n := m.inside(&it)
	n.callee, n.args = parts[0], parts[1]
	seed := seedCall
	if op != opReduce {
		n.how, seed = byNew, seedNew
	}
	it.sum = mix(mix(seed, parts[0].sum), parts[1].sum)
	if op == opNewObjEx {
		n.kwargs = parts[2]
		it.sum = mix(it.sum+seedKeywords, parts[2].sum)
	}
	for i := range parts {
		it.bytes += parts[i].bytes
		it.fault = it.fault || parts[i].fault
		if inner := parts[i].node; inner != nil {
			n.height = max(n.height, inner.height+1)
		}
	}
	m.stack = m.stack[:base]
	if err := m.crowded(); err != nil {
		return err
	}
	return m.pushItem(it)
}

// calleeName returns the name of what is called, if it goes by its name.
func (m *machine) calleeName(it *item) uint16 {
	if it.kind == Global {
		return it.name
	}
	if it.kind == Ref && it.memo != 0 {
		if e, _ := m.memo.get(uint64(it.memo - 1)); e.kind == Global {
			return it.name
		}
	}
	return 0
}

// call makes an object by a call with what is on the stack from there on. extra is bytes for that.
func (m *machine) call(callee item, from int, extra int64) error {
	m.seal(&callee)
	args := item{kind: Tuple, off: int64(m.op), sum: seedTuple}
	if from < len(m.stack) {
		args.off = m.stack[from].off
	}
	if err := m.add(&args, m.stack[from:]); err != nil {
		return err
	}
	m.stack = m.stack[:from]
	off := min(callee.off, args.off) - 1
	it := item{off: off, kind: Object, name: m.calleeName(&callee), bytes: callee.bytes + args.bytes + extra, sum: mix(mix(seedCall, callee.sum), args.sum)}
	it.fault = callee.fault || args.fault
	n := m.inside(&it)
	n.callee, n.args, n.how = callee, args, byInst
	for _, part := range []*item{&callee, &args} {
		if part.node != nil {
			n.height = max(n.height, part.node.height+1)
		}
	}
	if err := m.crowded(); err != nil {
		return err
	}
	return m.pushItem(it)
}
