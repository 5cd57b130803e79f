// Package link carries bytes between a parent and one worker: frames on pipes, arenas for what is too large for them,
// and a journal in shared memory that keeps what a worker has finished when the worker is killed. It knows descriptors
// and frames; it doesn't know what a payload means, who schedules it, or how the process at the other end was started.
// docs/PROTOCOL.md is its specification, byte by byte.
package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Version is the protocol's version. Both ends refuse another one.
const Version = 2

// HeaderSize is the size of a frame's header in bytes.
const HeaderSize = 32

// MaxPayload is the most bytes a frame can carry behind its header; a value that encodes to more cannot be sent.
const MaxPayload = math.MaxUint32 - 64

// Type says what a frame is.
type Type uint8

// The frames from parent to worker, on the task pipe.
const (
	Init  Type = 1 // kind, codec, caps and configuration; the first frame
	Func  Type = 2 // gives a function's name a number
	Bind  Type = 3 // gives arguments that are sent once a number
	Chunk Type = 4 // tasks
	Quit  Type = 5 // close the state and exit
	Free  Type = 6 // forget bound arguments
)

// The frames from parent to worker, on the control socket.
const (
	Cancel Type = 9  // stop the chunk with this id; return it, if it has not begun
	Recall Type = 10 // return the chunk with this id, if it has not begun
	Share  Type = 11 // a descriptor of shared data, and its size
	Forget Type = 12 // shared data that is not needed any more
)

// The frames from worker to parent, on the result pipe.
const (
	Hello    Type = 17 // protocol and build; the first frame
	Ready    Type = 18 // the state is open, or why it isn't
	Results  Type = 19 // results of consecutive tasks of one chunk
	Stuck    Type = 20 // the stack of a task at the moment its time was up
	Bye      Type = 21 // the state is closed, or why it isn't; the last frame
	Returned Type = 22 // a chunk that will not be run
)

var typeNames = [...]string{
	Init: "init", Func: "func", Bind: "bind", Chunk: "chunk", Quit: "quit", Free: "free", Cancel: "cancel", Recall: "recall",
	Share: "share", Forget: "forget",
	Hello: "hello", Ready: "ready", Results: "results", Stuck: "stuck", Bye: "bye", Returned: "returned",
}

func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Lent is a flag of a Chunk frame: arguments in the arena are read in place.
const Lent uint8 = 1

// Header is the fixed part of a frame. Its first eight bytes, length and count, are written together by one store in
// a journal, so that a frame there is whole at every instant.
type Header struct {
	Length uint32 // bytes of payload after the header
	Count  uint32 // tasks or results in the payload
	Type   Type
	Flags  uint8
	Epoch  uint32 // of the lease; 0 where a worker has one owner for life
	Chunk  uint64 // id of the chunk, ascending within one worker; of bound arguments in Bind and Free
	First  uint32 // index within the chunk of the first result
	Func   uint32 // number of the function
}

// Put writes h to the first HeaderSize bytes of b.
func (h *Header) Put(b []byte) {
	_ = b[HeaderSize-1]
	binary.LittleEndian.PutUint64(b[0:], uint64(h.Count)<<32|uint64(h.Length))
	b[8], b[9], b[10], b[11] = byte(h.Type), h.Flags, 0, 0
	binary.LittleEndian.PutUint32(b[12:], h.Epoch)
	binary.LittleEndian.PutUint64(b[16:], h.Chunk)
	binary.LittleEndian.PutUint32(b[24:], h.First)
	binary.LittleEndian.PutUint32(b[28:], h.Func)
}

// Get reads h from the first HeaderSize bytes of b.
func (h *Header) Get(b []byte) {
	_ = b[HeaderSize-1]
	h.Length = binary.LittleEndian.Uint32(b[0:])
	h.Count = binary.LittleEndian.Uint32(b[4:])
	h.Type, h.Flags = Type(b[8]), b[9]
	h.Epoch = binary.LittleEndian.Uint32(b[12:])
	h.Chunk = binary.LittleEndian.Uint64(b[16:])
	h.First = binary.LittleEndian.Uint32(b[24:])
	h.Func = binary.LittleEndian.Uint32(b[28:])
}

// ErrTooLarge reports a payload that doesn't fit into one frame.
var ErrTooLarge = errors.New("payload is larger than a frame can carry (4 GiB)")

// AppendHeader appends room for a header and returns where it begins. Close the frame with EndFrame.
func AppendHeader(dst []byte) ([]byte, int) {
	at := len(dst)
	return append(dst, make([]byte, HeaderSize)...), at
}

// EndFrame fills in the header at offset at for all that was appended behind it.
func EndFrame(dst []byte, at int, h Header) error {
	n := len(dst) - at - HeaderSize
	if n > MaxPayload {
		return ErrTooLarge
	}
	h.Length = uint32(n)
	h.Put(dst[at:])
	return nil
}

// AppendFrame appends a whole frame.
func AppendFrame(dst []byte, h Header, payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return dst, ErrTooLarge
	}
	dst, at := AppendHeader(dst)
	dst = append(dst, payload...)
	return dst, EndFrame(dst, at, h)
}
