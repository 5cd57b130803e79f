package pickle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// counted pushes a string or bytes whose length is before it.
func (m *machine) counted(width int, op byte) error {
	head, err := m.take(width)
	if err != nil {
		return err
	}
	n := little(head)
	if n > uint64(len(m.s)-m.at) {
		return ErrTruncated
	}
	b := m.s[m.at : m.at+int(n)]
	m.at += int(n)
	switch op {
	case opShortBinBytes, opBinBytes, opBinBytes8:
		return m.push(Bytes, hashBytes(seedBytes, b))
	case opByteArray8:
		return m.push(ByteArray, hashBytes(seedByteArray, b))
	default:
		return m.push(Str, hashBytes(seedStr, b))
	}
}

// little reads a number of 1, 2, 4 or 8 bytes.
func little(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	default:
		return binary.LittleEndian.Uint64(b)
	}
}

// readLine returns the rest of a line, without its end.
func (m *machine) readLine() ([]byte, error) {
	n := bytes.IndexByte(m.s[m.at:], '\n')
	if n < 0 {
		return nil, ErrTruncated
	}
	b := m.s[m.at : m.at+n]
	m.at += n + 1
	return b, nil
}

// line pushes a string in the text form of protocol 0.
func (m *machine) line(op byte) error {
	b, err := m.readLine()
	if err != nil {
		return err
	}
	if op == opUnicode {
		b = unescape(b)
	} else if b, err = unquote(b); err != nil {
		return err
	}
	return m.push(Str, hashBytes(seedStr, b))
}

// unescape undoes raw-unicode-escape.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 && ascii(b) {
		return b
	}
	var out []byte
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) && (b[i+1] == 'u' || b[i+1] == 'U') {
			digits := 4
			if b[i+1] == 'U' {
				digits = 8
			}
			if end := i + 2 + digits; end <= len(b) {
				if r, err := strconv.ParseUint(string(b[i+2:end]), 16, 32); err == nil {
					out = utf8.AppendRune(out, rune(r))
					i = end - 1
					continue
				}
			}
		}
		out = utf8.AppendRune(out, rune(b[i]))
	}
	return out
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// unquote takes the quotes off; escapes stay, which is enough to tell contents apart.
func unquote(b []byte) ([]byte, error) {
	b = bytes.TrimSpace(b)
	if len(b) < 2 || b[0] != b[len(b)-1] || b[0] != '\'' && b[0] != '"' {
		return nil, errors.New("a string without quotes")
	}
	return b[1 : len(b)-1], nil
}

// numeric pushes a number.
func (m *machine) numeric(op byte) error {
	switch op {
	case opBinInt1, opBinInt2:
		b, err := m.take(int(1 + (op-opBinInt1)/2)) // K has one byte, M two
		if err != nil {
			return err
		}
		return m.push(Int, mix(seedInt, little(b)))
	case opBinInt:
		b, err := m.take(4)
		if err != nil {
			return err
		}
		return m.push(Int, mix(seedInt, uint64(int32(little(b)))))
	case opBinFloat:
		b, err := m.take(8)
		if err != nil {
			return err
		}
		return m.push(Float, mix(seedFloat, binary.BigEndian.Uint64(b)))
	case opLong1, opLong4:
		width := 1
		if op == opLong4 {
			width = 4
		}
		head, err := m.take(width)
		if err != nil {
			return err
		}
		if n := little(head); n > math.MaxInt32 {
			return fmt.Errorf("a number of %d bytes", int32(n))
		} else if b, err := m.take(int(n)); err != nil {
			return err
		} else if v, ok := signed(b); ok {
			return m.push(Int, mix(seedInt, uint64(v)))
		} else {
			return m.push(Int, hashBytes(seedLong, b))
		}
	}
	line, err := m.readLine()
	if err != nil {
		return err
	}
	line = bytes.TrimSpace(line)
	if op == opFloat {
		f, err := strconv.ParseFloat(string(line), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("the float %.40q", line)
		}
		return m.push(Float, mix(seedFloat, math.Float64bits(f)))
	}
	if op == opInt && len(line) == 2 && line[0] == '0' && (line[1] == '0' || line[1] == '1') {
		if line[1] == '1' {
			return m.push(Bool, seedTrue)
		}
		return m.push(Bool, seedFalse)
	}
	line = bytes.TrimSuffix(line, []byte("L"))
	if v, ok := decimal(line); ok {
		return m.push(Int, mix(seedInt, uint64(v)))
	}
	if len(line) == 0 || strings.Trim(string(line), "+-0123456789") != "" {
		return fmt.Errorf("the number %.40q", line)
	}
	return m.push(Int, hashBytes(seedLong, line))
}

// signed reads a little-endian number in two's complement, if it has no more than 64 bits.
func signed(b []byte) (int64, bool) {
	if len(b) > 8 {
		return 0, false
	}
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	if n := len(b); n > 0 && n < 8 && b[n-1] >= 0x80 {
		v |= ^uint64(0) << (8 * n)
	}
	return int64(v), true
}

func decimal(b []byte) (int64, bool) {
	if len(b) > 20 {
		return 0, false
	}
	v, err := strconv.ParseInt(string(b), 10, 64)
	return v, err == nil
}

// extension pushes a class by its number in a registry.
func (m *machine) extension(width int) error {
	b, err := m.take(width)
	if err != nil {
		return err
	}
	return m.push(Extension, mix(seedExtension, little(b)))
}

// outOfBand pushes a buffer that is not in the stream. Its content is not known: one buffer's sum is no other's.
func (m *machine) outOfBand(op byte) error {
	if op == opReadOnlyBuffer {
		it, err := m.top()
		if err != nil {
			return err
		}
		it.bytes++
		return nil
	}
	if m.buffer >= len(m.buffers) {
		return fmt.Errorf("it refers to more than the %d out-of-band buffers that there are", len(m.buffers))
	}
	n := m.buffers[m.buffer]
	if n < 0 || n > 1<<60 {
		return fmt.Errorf("an out-of-band buffer of %d bytes", n)
	}
	m.buffer++
	sum := mix(mix(seedBuffer, uint64(m.buffer)), uint64(n))
	return m.pushItem(item{off: int64(m.op), bytes: n + 1, kind: Buffer, sum: sum})
}

// Marker begins the persistent ids that stand for what could not be pickled: it is followed by the type, a zero byte
// and the reason. Such an id, which is to be written as a BINUNICODE and a BINPERSID without a memo entry between them,
// doesn't count: its bytes are in no figure.
const Marker = "brine.unsendable\x00"

// persistent pushes what a pickler has stored elsewhere.
func (m *machine) persistent(op byte) error {
	if op == opPersID {
		line, err := m.readLine()
		if err != nil {
			return err
		}
		return m.push(Persistent, hashBytes(seedPersistent, line))
	}
	it, err := m.top()
	if err != nil {
		return err
	}
	m.seal(it)
	if it.kind == Str {
		if b := text(m.s, it.off); bytes.HasPrefix(b, []byte(Marker)) {
			m.omitted += it.bytes + 1
			*it = item{off: it.off, kind: Unsendable, sum: it.sum, fault: true}
			return nil
		}
	}
	m.drop(it)
	*it = item{off: it.off, bytes: it.bytes + 1, kind: Persistent, sum: mix(seedPersistent, it.sum)}
	return nil
}

// text returns the string or bytes that the opcode at off pushes, which was read before.
func text(s []byte, off int64) []byte {
	op, b := s[off], s[off+1:]
	switch op {
	case opShortBinUnicode, opShortBinBytes, opShortBinString:
		return b[1 : 1+little(b[:1])]
	case opBinUnicode, opBinBytes, opBinString:
		return b[4 : 4+little(b[:4])]
	case opBinUnicode8, opBinBytes8, opByteArray8:
		return b[8 : 8+little(b[:8])]
	case opUnicode:
		return unescape(b[:bytes.IndexByte(b, '\n')])
	case opString:
		line, _ := unquote(b[:bytes.IndexByte(b, '\n')])
		return line
	case opPersID:
		return b[:bytes.IndexByte(b, '\n')]
	}
	return nil
}

// integer returns the number that the opcode at off pushes, if it has no more than 64 bits.
func integer(s []byte, off int64) (int64, bool) {
	op, b := s[off], s[off+1:]
	switch op {
	case opBinInt1:
		return int64(b[0]), true
	case opBinInt2:
		return int64(little(b[:2])), true
	case opBinInt:
		return int64(int32(little(b[:4]))), true
	case opLong1:
		return signed(b[1 : 1+little(b[:1])])
	case opLong4:
		return signed(b[4 : 4+little(b[:4])])
	case opInt, opLong:
		line := bytes.TrimSpace(b[:bytes.IndexByte(b, '\n')])
		return decimal(bytes.TrimSuffix(line, []byte("L")))
	case opNewTrue:
		return 1, true
	case opNewFalse:
		return 0, true
	}
	return 0, false
}
