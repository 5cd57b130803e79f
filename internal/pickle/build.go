package pickle

import (
	"errors"
	"fmt"
	"slices"
)

// seal forgets what is inside of a value that becomes a part of another, if that is too much.
func (m *machine) seal(it *item) {
	if n := it.node; n != nil && (n.height >= maxHeight || m.slots > maxSlots) {
		m.drop(it)
	}
}

// drop forgets what is inside of a value.
func (m *machine) drop(it *item) {
	if n := it.node; n != nil {
		it.node = nil
		m.release(n)
	}
}

// release gives a node back, with all below it.
func (m *machine) release(n *node) {
	m.slots -= nodeSlots + len(n.kids)
	for i := range n.kids {
		m.drop(&n.kids[i])
	}
	m.drop(&n.callee)
	m.drop(&n.args)
	m.drop(&n.kwargs)
	for i := range n.states {
		m.drop(&n.states[i])
	}
	if n.pairs != nil {
		m.release(n.pairs)
	}
	if cap(n.kids) > 64 || cap(n.states) > 4 || len(m.free) >= 1024 {
		return
	}
	*n = node{kids: n.kids[:0], states: n.states[:0]}
	m.free = append(m.free, n)
}

const nodeSlots = 8

// fresh returns an empty node.
func (m *machine) fresh() *node {
	m.slots += nodeSlots
	if n := len(m.free); n > 0 {
		last := m.free[n-1]
		m.free = m.free[:n-1]
		return last
	}
	return new(node)
}

// inside returns the node of a value, made if there is none. The value ends here.
func (m *machine) inside(it *item) *node {
	if it.node == nil {
		it.node = m.fresh()
	}
	it.node.end = int64(m.at)
	return it.node
}

// crowded forgets what is inside of values on the stack, if that has become too much. Those that the next opcodes may
// still fill stay: the uppermost, and those beneath a mark.
func (m *machine) crowded() error {
	if m.slots < 2*maxSlots {
		return nil
	}
	next := 0
	for i := range max(0, len(m.stack)-4) {
		if next < len(m.marks) && m.marks[next] == i+1 {
			for next < len(m.marks) && m.marks[next] == i+1 {
				next++
			}
			continue
		}
		m.drop(&m.stack[i])
	}
	if m.slots > 3*maxSlots/2 {
		return errors.New("too many values that are open at once")
	}
	return nil
}

// keep adds elements to a node, of so many items each: one, or two for a key and its value.
func (m *machine) keep(n *node, elements []item, width, limit int) {
	before := len(n.kids)
	for i := 0; i < len(elements); i += width {
		size := elements[i].bytes
		if width == 2 {
			size += elements[i+1].bytes
		}
		number := n.entries
		n.entries++
		fault := elements[i].fault || elements[i+width-1].fault
		if n.index != nil && size <= n.floor && !(fault && n.faults < maxFaults) {
			n.rest.count++
			n.rest.bytes += size
			m.drop(&elements[i])
			m.drop(&elements[i+width-1])
			continue
		}
		if fault {
			n.faults++
		}
		for k := i; k < i+width; k++ {
			if inner := elements[k].node; inner != nil {
				n.height = max(n.height, inner.height+1)
			}
		}
		n.kids = append(n.kids, elements[i:i+width]...)
		if n.index != nil {
			n.index = append(n.index, number)
		}
		if len(n.kids) > limit*width {
			m.slots += len(n.kids) - before
			m.prune(n, width)
			before = len(n.kids)
			limit = maxElements / 2
		}
	}
	m.slots += len(n.kids) - before
}

// prune keeps only the largest elements of a node.
func (m *machine) prune(n *node, width int) {
	count := len(n.kids) / width
	if n.index == nil {
		n.index = make([]int64, count)
		for i := range n.index {
			n.index[i] = int64(i)
		}
	}
	size := func(i int) int64 {
		b := n.kids[i*width].bytes
		if width == 2 {
			b += n.kids[i*width+1].bytes
		}
		return b
	}
	order := make([]int, count)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compare(size(b), size(a)) })
	if n.faults > 0 { // what can't be sent is small, and yet what one is looking for
		fault := func(i int) int64 {
			if n.kids[i*width].fault || n.kids[i*width+width-1].fault {
				return 1
			}
			return 0
		}
		slices.SortStableFunc(order, func(a, b int) int { return compare(fault(b), fault(a)) })
	}
	n.floor = size(order[keptLargest-1])
	for _, i := range order[keptLargest:] {
		n.rest.add(rest{1, size(i)})
		for k := range width {
			m.drop(&n.kids[i*width+k])
		}
	}
	order = order[:keptLargest]
	slices.Sort(order)
	kids, index := make([]item, 0, 2*keptLargest*width), make([]int64, 0, 2*keptLargest)
	for _, i := range order {
		kids = append(kids, n.kids[i*width:(i+1)*width]...)
		index = append(index, n.index[i])
	}
	m.slots -= len(n.kids) - len(kids)
	n.kids, n.index = kids, index
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// tuple makes a tuple of the n uppermost values. extra is bytes that are its own, beside this opcode.
func (m *machine) tuple(n int, extra int64) error {
	if err := m.need(n); err != nil {
		return err
	}
	return m.gather(len(m.stack)-n, Tuple, extra)
}

// fromMark makes a container of what is above the last mark.
func (m *machine) fromMark(op byte) error {
	from, err := m.unmark()
	if err != nil {
		return err
	}
	return m.gather(from, map[byte]Kind{opTuple: Tuple, opList: List, opDict: Dict, opFrozenSet: FrozenSet}[op], 1)
}

// gather puts a container in the place of what is on the stack from there on.
func (m *machine) gather(from int, k Kind, extra int64) error {
	elements := m.stack[from:]
	it := item{off: int64(m.op) - extra, bytes: int64(m.at-m.op) + extra, kind: k}
	if len(elements) > 0 {
		it.off = elements[0].off - extra
	}
	it.sum = map[Kind]uint64{Tuple: seedTuple, List: seedList, Dict: seedDict, FrozenSet: seedFrozenSet}[k]
	if err := m.add(&it, elements); err != nil {
		return err
	}
	m.stack = m.stack[:from]
	if err := m.crowded(); err != nil {
		return err
	}
	return m.pushItem(it)
}

// fill adds values to the container beneath them.
func (m *machine) fill(op byte) error {
	var from int
	extra := int64(1)
	switch op {
	case opAppend, opSetItem:
		count := 1
		if op == opSetItem {
			count = 2
		}
		if err := m.need(count + 1); err != nil {
			return err
		}
		from = len(m.stack) - count
	default:
		var err error
		if from, err = m.unmark(); err != nil {
			return err
		}
		if from <= m.floor {
			return errUnderflow
		}
		extra = 2
	}
	into, elements := &m.stack[from-1], m.stack[from:]
	into.bytes += extra
	var err error
	switch {
	case into.kind == Object || into.kind == Ref || into.kind == Persistent || into.kind == Unsendable || into.kind == Extension:
		err = m.addToObject(into, elements, op == opSetItem || op == opSetItems)
	case into.kind == Dict && (op == opSetItem || op == opSetItems),
		into.kind == List && (op == opAppend || op == opAppends),
		into.kind == Set && op == opAddItems:
		err = m.add(into, elements)
	default:
		err = fmt.Errorf("elements for a %s", into.kind)
	}
	m.memo.change(into)
	m.stack = m.stack[:from]
	if err != nil {
		return err
	}
	return m.crowded()
}

// add puts elements into a container.
func (m *machine) add(into *item, elements []item) error {
	width, limit := 1, maxElements
	for i := range elements {
		m.seal(&elements[i])
		into.bytes += elements[i].bytes
		into.fault = into.fault || elements[i].fault
	}
	switch into.kind {
	case Dict:
		if width = 2; len(elements)%2 != 0 {
			return errors.New("a key without a value")
		}
		for i := 0; i < len(elements); i += 2 { // equal whatever their order
			into.sum += mix(elements[i].sum+seedPair, elements[i+1].sum)
		}
	case Set, FrozenSet:
		for i := range elements {
			into.sum += mix(seedPair, elements[i].sum)
		}
	default:
		for i := range elements {
			into.sum = mix(into.sum, elements[i].sum)
		}
		if into.kind == Tuple {
			limit = maxTuple
		}
	}
	if len(elements) > 0 {
		m.keep(m.inside(into), elements, width, limit)
	}
	return nil
}

// addToObject appends to an object, or sets in it by key.
func (m *machine) addToObject(into *item, elements []item, pairs bool) error {
	n := m.inside(into)
	if !pairs {
		for i := range elements {
			m.seal(&elements[i])
			into.bytes += elements[i].bytes
			into.fault = into.fault || elements[i].fault
			into.sum = mix(into.sum+seedAppend, elements[i].sum)
		}
		m.keep(n, elements, 1, maxElements)
		return nil
	}
	if n.pairs == nil {
		n.pairs = m.fresh()
	}
	inner := item{kind: Dict, node: n.pairs}
	if err := m.add(&inner, elements); err != nil {
		return err
	}
	n.height = max(n.height, n.pairs.height)
	into.bytes += inner.bytes
	into.fault = into.fault || inner.fault
	into.sum += inner.sum
	return nil
}

// pop takes a value off the stack. What was written only for its effect on the value beneath, as cloudpickle's states
// are, goes to that value. Everything else waits for a reference that takes its place: see recover.
func (m *machine) pop() error {
	if len(m.stack) <= m.floor {
		if _, err := m.unmark(); err != nil {
			return errUnderflow
		}
		m.loose += 2
		m.unmarked++
		return nil
	}
	it := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	m.seal(&it)
	if m.isState(&it) {
		return nil
	}
	m.loose += it.bytes + 1
	m.popped = append(m.popped, it)
	return nil
}

// isState tells whether a value that was popped is a call of a function with the value beneath and its state, as the
// sixth element of what __reduce__ returns asks for, and if so makes it that.
func (m *machine) isState(it *item) bool {
	n := it.node
	if it.kind != Object || n == nil || n.how != byReduce || n.args.kind != Tuple || n.args.node == nil || len(m.stack) <= m.floor {
		return false
	}
	args, obj := n.args.node, &m.stack[len(m.stack)-1]
	if len(args.kids) != 2 || args.kids[0].kind != Ref || obj.memo == 0 || args.kids[0].memo != obj.memo {
		return false
	}
	if k := obj.kind; k != Object && k != Ref {
		return false
	}
	state := args.kids[1]
	args.kids[1].node = nil
	m.setState(obj, state)
	obj.bytes += it.bytes - state.bytes + 1
	m.drop(it)
	return true
}

func (m *machine) setState(obj *item, state item) {
	n := m.inside(obj)
	n.states = append(n.states, state)
	if state.node != nil {
		n.height = max(n.height, state.node.height+1)
	}
	obj.bytes += state.bytes
	obj.fault = obj.fault || state.fault
	obj.sum = mix(obj.sum+seedState, state.sum)
	m.memo.change(obj)
}

// popMark takes everything above the last mark off the stack.
func (m *machine) popMark() error {
	from, err := m.unmark()
	if err != nil {
		return err
	}
	for i := len(m.stack) - 1; i >= from; i-- {
		m.seal(&m.stack[i])
		m.loose += m.stack[i].bytes
		m.popped = append(m.popped, m.stack[i])
	}
	m.stack = m.stack[:from]
	m.loose += 2
	m.unmarked++
	return nil
}

// recover puts what was popped into the reference that takes its place. That is how a tuple is pickled that contains
// itself: the inner one is found first, then made anew around its parts, which are thrown away for a reference to it.
func (m *machine) recover(it *item) {
	slices.Reverse(m.popped)
	n := m.inside(it)
	it.off = m.popped[0].off - m.unmarked
	it.bytes += m.loose
	for i := range m.popped {
		it.fault = it.fault || m.popped[i].fault
	}
	m.keep(n, m.popped, 1, maxTuple)
	m.popped, m.loose, m.unmarked = m.popped[:0], 0, 0
}

// settle forgets what was popped.
func (m *machine) settle() {
	for i := range m.popped {
		m.drop(&m.popped[i])
	}
	m.popped, m.loose, m.unmarked = m.popped[:0], 0, 0
}
