package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// machine is the pickle machine, with items in the place of values.
type machine struct {
	s       []byte
	at      int // in s
	op      int // where the current opcode begins
	buffers []int64
	buffer  int // the next of buffers
	stack   []item
	marks   []int // heights of the stack
	floor   int   // the last of marks, or 0
	memo    memo
	names   names

	overhead int64  // bytes that belong to the root
	omitted  int64  // bytes that stand for what can't be sent
	loose    int64  // bytes of what was taken off the stack again
	unmarked int64  // and of the marks beneath
	popped   []item // and what that was, last first
	slots    int    // what the tree takes
	free     []*node
}

var (
	errUnderflow = errors.New("the stack is empty")
	errNoMark    = errors.New("there is no mark")
)

// run reads up to the end of the pickle.
func (m *machine) run() (item, error) {
	for m.at < len(m.s) {
		m.op = m.at
		op := m.s[m.at]
		m.at++
		if op == opStop {
			return m.stop()
		}
		if err := m.step(op); err != nil {
			return item{}, err
		}
	}
	m.op = len(m.s)
	return item{}, ErrTruncated
}

func (m *machine) stop() (item, error) {
	if len(m.stack) <= m.floor {
		return item{}, fmt.Errorf("the end: %w", errUnderflow)
	}
	root := m.stack[len(m.stack)-1]
	m.seal(&root)
	root.bytes += m.overhead + m.loose + 1
	for i := range m.stack[:len(m.stack)-1] {
		root.bytes += m.stack[i].bytes
	}
	root.bytes += int64(len(m.marks))
	return root, nil
}

// step does one opcode: what makes containers, objects and names is in other files.
func (m *machine) step(op byte) error {
	switch op {
	case opShortBinUnicode, opShortBinBytes, opShortBinString:
		return m.counted(1, op)
	case opBinUnicode, opBinBytes, opBinString:
		return m.counted(4, op)
	case opBinUnicode8, opBinBytes8, opByteArray8:
		return m.counted(8, op)
	case opMemoize:
		return m.put(uint64(m.memo.count))
	case opBinPut, opLongBinPut, opPut:
		n, err := m.number(op == opPut, op == opBinPut)
		if err != nil {
			return err
		}
		return m.put(n)
	case opBinGet, opLongBinGet, opGet:
		n, err := m.number(op == opGet, op == opBinGet)
		if err != nil {
			return err
		}
		return m.get(n)
	case opBinInt1, opBinInt2, opBinInt, opLong1, opLong4, opBinFloat, opInt, opLong, opFloat:
		return m.numeric(op)
	case opNone:
		return m.push(None, seedNone)
	case opNewTrue:
		return m.push(Bool, seedTrue)
	case opNewFalse:
		return m.push(Bool, seedFalse)
	case opMark:
		return m.mark()
	case opPop:
		return m.pop()
	case opPopMark:
		return m.popMark()
	case opDup:
		return m.dup()
	case opString, opUnicode:
		return m.line(op)
	case opEmptyTuple:
		return m.push(Tuple, seedTuple)
	case opEmptyList:
		return m.push(List, seedList)
	case opEmptyDict:
		return m.push(Dict, seedDict)
	case opEmptySet:
		return m.push(Set, seedSet)
	case opTuple1, opTuple2, opTuple3:
		return m.tuple(int(op-opTuple1)+1, 0)
	case opTuple, opList, opDict, opFrozenSet:
		return m.fromMark(op)
	case opAppend, opAppends, opAddItems, opSetItem, opSetItems:
		return m.fill(op)
	case opGlobal, opStackGlobal, opInst:
		return m.named(op)
	case opReduce, opNewObj, opNewObjEx, opObj, opBuild:
		return m.object(op)
	case opExt1, opExt2, opExt4:
		return m.extension(1 << ((op - opExt1) & 3))
	case opPersID, opBinPersID:
		return m.persistent(op)
	case opNextBuffer, opReadOnlyBuffer:
		return m.outOfBand(op)
	case opProto, opFrame:
		return m.framing(op)
	}
	return fmt.Errorf("%#02x is no opcode", op)
}

// framing skips what says nothing of any value.
func (m *machine) framing(op byte) error {
	n := 1
	if op == opFrame {
		n = 8
	}
	b, err := m.take(n)
	if err != nil {
		return err
	}
	if op == opProto && b[0] > 5 {
		return fmt.Errorf("protocol %d", b[0])
	}
	m.overhead += int64(1 + n)
	return nil
}

// take returns the next n bytes.
func (m *machine) take(n int) ([]byte, error) {
	if n > len(m.s)-m.at {
		return nil, ErrTruncated
	}
	b := m.s[m.at : m.at+n]
	m.at += n
	return b, nil
}

// push puts a value onto the stack that takes the bytes of this opcode.
func (m *machine) push(k Kind, sum uint64) error {
	return m.pushItem(item{off: int64(m.op), bytes: int64(m.at - m.op), kind: k, sum: sum})
}

func (m *machine) pushItem(it item) error {
	if len(m.stack) >= maxStack {
		return fmt.Errorf("more than %d values on the stack", maxStack)
	}
	if m.loose != 0 { // what was popped, and is not taken back: nobody's but the next one's
		it.bytes += m.loose
		m.settle()
	}
	m.stack = append(m.stack, it)
	return nil
}

// top returns the uppermost value, which stays.
func (m *machine) top() (*item, error) {
	if len(m.stack) <= m.floor {
		return nil, errUnderflow
	}
	return &m.stack[len(m.stack)-1], nil
}

// need errs if there are not n values above the last mark.
func (m *machine) need(n int) error {
	if len(m.stack)-m.floor < n {
		return errUnderflow
	}
	return nil
}

func (m *machine) mark() error {
	if len(m.marks) >= maxMarks {
		return fmt.Errorf("more than %d marks", maxMarks)
	}
	m.marks = append(m.marks, len(m.stack))
	m.floor = len(m.stack)
	return nil
}

// unmark returns where in the stack the values begin that the last mark is beneath.
func (m *machine) unmark() (int, error) {
	n := len(m.marks)
	if n == 0 {
		return 0, errNoMark
	}
	from := m.marks[n-1]
	m.marks = m.marks[:n-1]
	m.floor = 0
	if n > 1 {
		m.floor = m.marks[n-2]
	}
	return from, nil
}

// put memoizes the uppermost value, which takes the bytes of that.
func (m *machine) put(n uint64) error {
	it, err := m.top()
	if err != nil {
		return err
	}
	it.bytes += int64(m.at - m.op)
	if it.node != nil {
		it.node.end = int64(m.at)
	}
	e := memoEntry{off: it.off, sum: it.sum, name: it.name, kind: it.kind}
	if it.kind == Ref { // as a copy of what it refers to
		if it.memo != 0 {
			e, _ = m.memo.get(uint64(it.memo - 1))
		}
		_, err = m.memo.put(n, e)
		return err
	}
	it.memo, err = m.memo.put(n, e)
	return err
}

// get pushes a reference to what was memoized. Its sum is that of what is there of it by now: in a cycle, whose content
// has no end, that is what comes before.
func (m *machine) get(n uint64) error {
	e, ok := m.memo.get(n)
	if !ok {
		return fmt.Errorf("nothing was memoized as number %d", n)
	}
	it := item{off: int64(m.op), bytes: int64(m.at - m.op), kind: Ref, memo: uint32(n + 1), sum: e.sum, name: e.name}
	if len(m.popped) > 0 {
		m.recover(&it)
	}
	return m.pushItem(it)
}

func (m *machine) dup() error {
	it, err := m.top()
	if err != nil {
		return err
	}
	return m.pushItem(item{off: int64(m.op), bytes: 1, kind: Ref, memo: it.memo, sum: it.sum, name: it.name})
}

// number reads the number of a memo entry.
func (m *machine) number(text, short bool) (uint64, error) {
	switch {
	case text:
		line, err := m.readLine()
		if err != nil {
			return 0, err
		}
		n, ok := decimal(line)
		if !ok || n < 0 {
			return 0, fmt.Errorf("the memo number %.40q", line)
		}
		return uint64(n), nil
	case short:
		b, err := m.take(1)
		if err != nil {
			return 0, err
		}
		return uint64(b[0]), nil
	default:
		b, err := m.take(4)
		if err != nil {
			return 0, err
		}
		return uint64(binary.LittleEndian.Uint32(b)), nil
	}
}
