package link

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrBadMessage reports the payload of a frame that is not what its type says.
var ErrBadMessage = errors.New("malformed message")

// InitMessage is the payload of an Init frame.
type InitMessage struct {
	Version   uint32 // of the protocol
	Build     string // identity of the parent's program
	MaxMemory int64  // RLIMIT_DATA in bytes, 0 for none
	Kind      string
	Codec     string // name, empty for the compiled one
	Config    []byte // an item: the encoded configuration
}

// Append appends the message's encoding.
func (m *InitMessage) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, m.Version)
	b = appendBytes(b, m.Build)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.MaxMemory))
	b = appendBytes(b, m.Kind)
	b = appendBytes(b, m.Codec)
	return append(b, m.Config...)
}

// Parse reads the message. Config is a part of b.
func (m *InitMessage) Parse(b []byte) error {
	p := Parser{Rest: b}
	m.Version = p.U32()
	m.Build = string(p.Bytes())
	m.MaxMemory = int64(p.U64())
	m.Kind = string(p.Bytes())
	m.Codec = string(p.Bytes())
	m.Config = p.Rest
	return p.Err("init")
}

// HelloMessage is the payload of a Hello frame.
type HelloMessage struct {
	Version uint32
	PID     uint32
	Build   string
}

// Append appends the message's encoding.
func (m *HelloMessage) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, m.Version)
	b = binary.LittleEndian.AppendUint32(b, m.PID)
	return appendBytes(b, m.Build)
}

// Parse reads the message.
func (m *HelloMessage) Parse(b []byte) error {
	p := Parser{Rest: b}
	m.Version = p.U32()
	m.PID = p.U32()
	m.Build = string(p.Bytes())
	return p.Err("hello")
}

// ReadyMessage is the payload of a Ready or Bye frame.
type ReadyMessage struct {
	Status Status // OK, Failed with an encoded error, Panicked with a PanicMessage
	Decode int64  // nanoseconds spent decoding the configuration
	Body   []byte
}

// Append appends the message's encoding.
func (m *ReadyMessage) Append(b []byte) []byte {
	b = append(b, byte(m.Status))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Decode))
	return append(b, m.Body...)
}

// Parse reads the message. Body is a part of b.
func (m *ReadyMessage) Parse(b []byte) error {
	p := Parser{Rest: b}
	m.Status = Status(p.U8())
	m.Decode = int64(p.U64())
	m.Body = p.Rest
	return p.Err("ready")
}

// PanicMessage tells of a panic.
type PanicMessage struct{ Value, Stack string }

// Append appends the message's encoding.
func (m *PanicMessage) Append(b []byte) []byte {
	return append(appendBytes(b, m.Value), m.Stack...)
}

// Parse reads the message.
func (m *PanicMessage) Parse(b []byte) error {
	p := Parser{Rest: b}
	m.Value = string(p.Bytes())
	m.Stack = string(p.Rest)
	return p.Err("panic")
}

// ChunkMessage opens the payload of a Chunk frame; the items follow.
type ChunkMessage struct {
	Timeout int64  // nanoseconds for each task, 0 for no limit
	Bound   uint64 // number of the bound arguments, 0 for none
}

// ChunkSize is the size of a ChunkMessage in bytes.
const ChunkSize = 16

// Append appends the message's encoding.
func (m *ChunkMessage) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Timeout))
	return binary.LittleEndian.AppendUint64(b, m.Bound)
}

// Parse reads the message and returns the items.
func (m *ChunkMessage) Parse(b []byte) (items []byte, err error) {
	p := Parser{Rest: b}
	m.Timeout = int64(p.U64())
	m.Bound = p.U64()
	return p.Rest, p.Err("chunk")
}

// ParseSpent reads the account that opens the payload of a Results frame and returns the items.
func ParseSpent(b []byte) (s Spent, items []byte, err error) {
	p := Parser{Rest: b}
	s.Run, s.Decode, s.Encode, s.Bound = int64(p.U64()), int64(p.U64()), int64(p.U64()), int64(p.U64())
	return s, p.Rest, p.Err("results")
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// Parser takes fields off the front of Rest. Once one is missing, all that follow are zero, and Err tells.
type Parser struct {
	Rest []byte
	bad  bool
}

// Take returns the next n bytes, which are a part of what is parsed.
func (p *Parser) Take(n int) []byte {
	if n < 0 || n > len(p.Rest) {
		p.bad = true
		p.Rest = nil
		return nil
	}
	f := p.Rest[:n]
	p.Rest = p.Rest[n:]
	return f
}

// U8 returns the next byte.
func (p *Parser) U8() uint8 {
	if f := p.Take(1); f != nil {
		return f[0]
	}
	return 0
}

// U32 returns the next four bytes' number.
func (p *Parser) U32() uint32 {
	if f := p.Take(4); f != nil {
		return binary.LittleEndian.Uint32(f)
	}
	return 0
}

// U64 returns the next eight bytes' number.
func (p *Parser) U64() uint64 {
	if f := p.Take(8); f != nil {
		return binary.LittleEndian.Uint64(f)
	}
	return 0
}

// Bytes returns as many bytes as the length before them says.
func (p *Parser) Bytes() []byte { return p.Take(int(p.U32())) }

// Err returns an error about what was parsed if some of it was missing.
func (p *Parser) Err(what string) error {
	if p.bad {
		return fmt.Errorf("%s: %w", what, ErrBadMessage)
	}
	return nil
}
