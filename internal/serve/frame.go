package serve

import (
	"encoding/binary"
	"fmt"

	"github.com/brinepool/brine/internal/link"
)

// Version is the version of the client protocol.
const Version = 2

type frameType uint8

// The frames from the client.
const (
	typeClientHello frameType = 33
	typeOpen        frameType = 34
	typeStarted     frameType = 35
	typeSubmit      frameType = 36
	typeExtend      frameType = 37
	typeCancel      frameType = 38
	typeClose       frameType = 39
	typeKill        frameType = 40
	typeLease       frameType = 41
	typeUnlease     frameType = 42
	typeStats       frameType = 43
)

// The frames to the client.
const (
	typeEngineHello frameType = 65
	typeStart       frameType = 66
	typeOpened      frameType = 67
	typeResults     frameType = 68
	typeFailed      frameType = 69
	typeEnded       frameType = 70
	typeClosed      frameType = 71
	typeLeased      frameType = 72
	typeRevoke      frameType = 73
	typeStatistics  frameType = 74
	typeError       frameType = 75
)

// more is the flag of a submit or extend frame after which more tasks of the job come.
const more = 1

// allChunks is the flag of close and kill frames after which the last account has all chunks that are known.
const allChunks = 1

// hasArena is the flag of an open frame with which the client's arena comes as a second descriptor.
const hasArena = 1

var typeNames = [...]string{
	typeClientHello: "hello", typeOpen: "open", typeStarted: "started", typeSubmit: "submit", typeExtend: "extend", typeCancel: "cancel",
	typeClose: "close", typeKill: "kill", typeLease: "lease", typeUnlease: "unlease", typeStats: "stats",
	typeEngineHello: "hello", typeStart: "start", typeOpened: "opened", typeResults: "results", typeFailed: "failed", typeEnded: "ended",
	typeClosed: "closed", typeLeased: "leased", typeRevoke: "revoke", typeStatistics: "statistics", typeError: "error",
}

func (t frameType) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// bare says that frames of the type have no payload.
func (t frameType) bare() bool {
	switch t {
	case typeCancel, typeClose, typeKill, typeLease, typeStats:
		return true
	default:
		return false
	}
}

// header is that of a worker's frame, with other names for some fields.
type header struct {
	length, count uint32
	typ           frameType
	flags         uint8
	pool          uint32
	job           uint64
	first         uint32
	worker        uint32
}

const (
	headerSize = link.HeaderSize
	maxPayload = link.MaxPayload
)

func (h *header) put(b []byte) {
	l := link.Header{
		Length: h.length, Count: h.count, Type: link.Type(h.typ), Flags: h.flags, Epoch: h.pool, Chunk: h.job, First: h.first, Func: h.worker,
	}
	l.Put(b)
}

func (h *header) get(b []byte) {
	var l link.Header
	l.Get(b)
	*h = header{
		length: l.Length, count: l.Count, typ: frameType(l.Type), flags: l.Flags, pool: l.Epoch, job: l.Chunk, first: l.First, worker: l.Func,
	}
}

type parser = link.Parser

// ended returns an error unless all of a payload was taken, and nothing was missing.
func ended(p *parser, what string) error {
	if err := p.Err(what); err != nil {
		return &fault{err}
	}
	if len(p.Rest) > 0 {
		return wrong("%s: %d bytes too many", what, len(p.Rest))
	}
	return nil
}

func appendU32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

func appendU64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

func appendString[T string | []byte](b []byte, s T) []byte {
	return append(appendU32(b, uint32(len(s))), s...)
}
