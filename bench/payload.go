package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/brinepool/brine"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// The payload rows send bytes there and back, and every entrant does the same work: the parent has size bytes in its heap; the worker
// reads each of them and answers with as many of its own heap; the parent reads each of those.

// side is one process's part in that.
type side struct {
	own  []byte // what it sends
	want uint64 // the sum of what it gets
}

const (
	parentSeed = 13
	workerSeed = 1964
)

func parentSide(size int) *side { return newSide(size, parentSeed, workerSeed) }
func workerSide(size int) *side { return newSide(size, workerSeed, parentSeed) }

func newSide(size int, own, other uint64) *side {
	b := make([]byte, size)
	s := &side{own: b}
	fill(b, other)
	s.want = sum64(b)
	fill(b, own)
	return s
}

// read reads every byte of b. It errs unless they are those that the other side sends.
func (s *side) read(b []byte) error {
	if err := same(len(b), len(s.own)); err != nil {
		return err
	}
	return same(sum64(b), s.want)
}

// Trip is the worker's part: it reads b and answers with bytes of its own.
func (s *side) Trip(_ context.Context, b []byte) ([]byte, error) {
	if err := s.read(b); err != nil {
		return nil, err
	}
	return s.own, nil
}

// fill writes the steps of a linear congruential generator, eight bytes each.
func fill(b []byte, x uint64) {
	for ; len(b) >= 8; b = b[8:] {
		x = x*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b, x)
	}
}

// sum64 reads every byte of b, eight at a time.
func sum64(b []byte) uint64 {
	var w, x, y, z uint64
	for ; len(b) >= 32; b = b[32:] {
		w += binary.LittleEndian.Uint64(b)
		x += binary.LittleEndian.Uint64(b[8:])
		y += binary.LittleEndian.Uint64(b[16:])
		z += binary.LittleEndian.Uint64(b[24:])
	}
	for _, c := range b {
		w += uint64(c)
	}
	return w + x + y + z
}

// payloadSides are the workers of the payload rows.
var (
	payloadSides = brine.Define(func(_ context.Context, size int) (*side, error) { return workerSide(size), nil })
	callTrip     = brine.Method(payloadSides, (*side).Trip)
)

// brinePayload measures a Call with size bytes there and back, in microseconds.
func brinePayload(size int) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		pool, err := brine.Open(ctx, payloadSides, size, &brine.Options{Workers: 1})
		if err != nil {
			return entrant.Entrant{}, err
		}
		s := parentSide(size)
		return entrant.Latency(c, func() error {
			out, err := brine.Call(ctx, pool, callTrip, s.own)
			if err != nil {
				return err
			}
			return s.read(out)
		}, pool.Close)
	}
}

// payloadSizes are the sizes of the rows, smallest first.
var payloadSizes = []int{64 << 10, 256 << 10, 1 << 20, 8 << 20, 64 << 20}

// sweepSizes are those of payload/sweep.
var sweepSizes = []int{1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10}

// payloadEntrants adds the entrants of the payload rows to all.
func payloadEntrants(all map[string]entrant.Maker) {
	for _, size := range slices.Concat(payloadSizes, sweepSizes) {
		for who, maker := range payloadMakers(size) {
			all[payloadName(size, who)] = maker
		}
	}
}

// payloadMakers are all that can send size bytes there and back.
func payloadMakers(size int) map[string]entrant.Maker {
	makers := map[string]entrant.Maker{
		"brine":         brinePayload(size),
		"brine-inplace": brineInPlace(size),
		"goplugin":      gopluginPayload(size),
		"netrpc":        netrpcPayload(size),
	}
	for _, kind := range []string{wirePipes, wireOneWrite, wireSocket, wireFresh, wireArena, wireCopyOut} {
		makers[kind] = floorPayload(kind, size)
	}
	return makers
}

func payloadName(size int, who string) string { return fmt.Sprintf("payload/%d/%s", size, who) }

// binarySize writes a power of two as 64K or 1M.
func binarySize(n int) string {
	if n < 1<<20 {
		return fmt.Sprintf("%dK", n>>10)
	}
	return fmt.Sprintf("%dM", n>>20)
}

// payloadRow compares Brine with every floor and peer. The bar against go-plugin is that of the largest size.
func payloadRow(size int, goplugin bar) row {
	r := floorsRow(size)
	name := func(who string) string { return payloadName(size, who) }
	inPlace, call := ref{name("brine-inplace"), 0}, ref{name("brine"), 0}
	r.entrants = append(r.entrants, name(wireCopyOut), name(wirePipes), name("goplugin"), name("netrpc"))
	r.lines = append(
		r.lines,
		line{unit: "µs", ours: inPlace, theirs: ref{name("goplugin"), 0}, peer: "go-plugin gRPC", inverse: true, bar: goplugin},
		line{name: r.name + "/call", unit: "µs", ours: call, theirs: ref{name(wireCopyOut), 0}, peer: "arena, copied out"},
		line{name: r.name + "/call", unit: "µs", ours: call, theirs: ref{name(wirePipes), 0}, peer: "two pipes, 1 MiB"},
		line{name: r.name + "/call", unit: "µs", ours: call, theirs: ref{name("goplugin"), 0}, peer: "go-plugin gRPC", inverse: true},
		line{name: r.name + "/call", unit: "µs", ours: call, theirs: ref{name("netrpc"), 0}, peer: "net/rpc unix", inverse: true},
	)
	return r
}

// floorsRow compares Brine with the arena and with sockets. Like is compared with like: what is read in place with floors that keep
// their memory, and a Call, whose argument and result are their receivers' own, with a socket that reads into new memory.
func floorsRow(size int) row {
	name := func(who string) string { return payloadName(size, who) }
	inPlace, call := ref{name("brine-inplace"), 0}, ref{name("brine"), 0}
	r := row{
		name:     "payload/" + binarySize(size),
		entrants: []string{name("brine-inplace"), name(wireArena), name(wireSocket), name("brine"), name(wireFresh)},
	}
	r.lines = []line{
		{unit: "µs", ours: inPlace, theirs: ref{name(wireArena), 0}, peer: "arena, read in place", bar: atMost(1.5)},
		{unit: "µs", ours: inPlace, theirs: ref{name(wireSocket), 0}, peer: "unix socket", bar: atMost(1)},
		{name: r.name + "/call", unit: "µs", ours: call, theirs: ref{name(wireFresh), 0}, peer: "unix socket, new memory", bar: atMost(1)},
		{name: r.name + "/call", unit: "µs", ours: call, theirs: ref{name(wireSocket), 0}, peer: "unix socket"},
		{name: r.name + "/call", unit: "µs", ours: call, theirs: ref{name(wireArena), 0}, peer: "arena, read in place"},
	}
	return r
}

// sweepRow shows at which size an arena begins to win over one write to a pipe. It runs only if it is asked for: it is for whoever
// chooses that threshold. Its lines /floors compare the two floors, without Brine.
func sweepRow() row {
	r := row{name: "payload/sweep", byName: true}
	for _, size := range sweepSizes {
		ours, pipe, arena := payloadName(size, "brine"), payloadName(size, wireOneWrite), payloadName(size, wireArena)
		name := r.name + "/" + binarySize(size)
		r.entrants = append(r.entrants, ours, pipe, arena)
		r.lines = append(
			r.lines,
			line{name: name, unit: "µs", ours: ref{ours, 0}, theirs: ref{pipe, 0}, peer: "two pipes, one write"},
			line{name: name, unit: "µs", ours: ref{ours, 0}, theirs: ref{arena, 0}, peer: "arena, read in place"},
			line{name: name + "/floors", unit: "µs", ours: ref{arena, 0}, theirs: ref{pipe, 0}, peer: "two pipes, one write"},
		)
	}
	return r
}
