//go:build linux

package conformance

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/brinepool/brine/internal/link"
)

func testBrokenTasks(t *testing.T, l *language) {
	arg := item(l.argument([]byte("echo a")))
	head := (&link.ChunkMessage{Bound: 1}).Append(nil)
	tasks := func(items ...[]byte) []byte { return append(bytes.Clone(head), bytes.Join(items, nil)...) }
	chunk := link.Header{Type: link.Chunk, Chunk: 1, Count: 1, Func: number}
	bind := link.Header{Type: link.Bind, Chunk: 9, Func: number}
	at := func(off uint64, n int) []byte {
		return link.AppendPlaced(nil, link.OK, link.Place{Off: int(off), Len: n})
	}
	for _, c := range []struct {
		name    string
		h       link.Header
		payload []byte
	}{
		{"init again", link.Header{Type: link.Init}, initial(l)},
		{"type 0", link.Header{}, nil},
		{"type that there isn't", link.Header{Type: 99}, nil},
		{"type of the control socket", link.Header{Type: link.Cancel, Chunk: 1}, nil},
		{"type of a worker", link.Header{Type: link.Results, Chunk: 1}, nil},
		{"quit with a payload", link.Header{Type: link.Quit}, []byte{0}},
		{"free with a payload", link.Header{Type: link.Free, Chunk: 1}, []byte{0}},
		{"chunk of a function without a name", link.Header{Type: link.Chunk, Chunk: 1, Count: 1, Func: 8}, tasks(arg)},
		{"chunk with bound arguments that never came", chunk, append((&link.ChunkMessage{Bound: 2}).Append(nil), arg...)},
		{"chunk with half a head", chunk, head[:9]},
		{"chunk with id 0", link.Header{Type: link.Chunk, Count: 1, Func: number}, tasks(arg)},
		{"chunk with fewer items than it says", link.Header{Type: link.Chunk, Chunk: 1, Count: 2, Func: number}, tasks(arg)},
		{"chunk with bytes behind its items", chunk, tasks(arg, []byte{0})},
		{"item without all of its word", chunk, tasks(arg[:7])},
		{"item longer than the payload", chunk, tasks(arg[:len(arg)-1])},
		{"item with a status", chunk, tasks(with(arg, 7, 1))},
		{"item with a status there isn't", chunk, tasks(with(arg, 7, 99))},
		{"item with half a place", chunk, tasks(at(1<<20, 100)[:15])},
		{"place with a status", chunk, tasks(with(at(1<<20, 20), 7, 1))},
		{"place of nothing", chunk, tasks(at(1<<20, 0))},
		{"place behind the arena", chunk, tasks(at(1<<40, 100))},
		{"place at the largest number", chunk, tasks(at(1<<64-1, 100))},
		{"place that ends behind the arena", chunk, tasks(at(arenaSize+16384-50, 100))},
		{"bind without an item", bind, nil},
		{"bind with half an item", bind, arg[:len(arg)-1]},
		{"bind with bytes behind its item", bind, append(item(l.bound("")), 0)},
		{"bind with a place behind the arena", bind, at(1<<40, 100)},
		{"bind to a function without a name", link.Header{Type: link.Bind, Chunk: 9, Func: 8}, item(l.bound(""))},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := begun(t, l, arenaSize)
			w.send(c.h, c.payload)
			w.faults()
		})
	}
	t.Run("chunk with an id that was", func(t *testing.T) {
		t.Parallel()
		w := begun(t, l, arenaSize)
		w.chunk("echo a")
		w.want(w.answers(w.chunk("echo b"), 0))
		w.id = 1
		w.chunk("echo c")
		w.faults()
	})
	t.Run("length of no frame", func(t *testing.T) {
		t.Parallel()
		w := begun(t, l, arenaSize)
		var b [link.HeaderSize]byte
		h := link.Header{Type: link.Chunk, Chunk: 1, Count: 1, Func: number, Length: link.MaxPayload + 1}
		h.Put(b[:])
		w.write(b[:])
		w.faults()
	})
	t.Run("garbage", func(t *testing.T) {
		t.Parallel()
		w := begun(t, l, arenaSize)
		w.write(bytes.Repeat([]byte{0xa5, 0, 0, 0, 0x5a, 0xff, 0x13, 0x77}, 1000))
		w.faults()
	})
}

// with returns b with another byte.
func with(b []byte, i int, to byte) []byte {
	b = bytes.Clone(b)
	b[i] = to
	return b
}

// initial is the payload of an ordinary init frame.
func initial(l *language) []byte {
	m := (&peer{lang: l}).initial()
	return m.Append(nil)
}

func testBrokenFirst(t *testing.T, l *language) {
	whole := initial(l)
	for _, c := range []struct {
		name    string
		h       link.Header
		payload []byte
	}{
		{"quit", link.Header{Type: link.Quit}, nil},
		{"type that there isn't", link.Header{Type: 99}, nil},
		{"init of nothing", link.Header{Type: link.Init}, nil},
		{"init of half a build", link.Header{Type: link.Init}, whole[:12]},
		{"init without a configuration", link.Header{Type: link.Init}, whole[:len(whole)-1]},
		{"init with bytes behind its configuration", link.Header{Type: link.Init}, append(bytes.Clone(whole), 0)},
		{"configuration with a status", link.Header{Type: link.Init}, with(whole, len(whole)-1, 1)},
		{"configuration behind the arena", link.Header{Type: link.Init}, link.AppendPlaced(bytes.Clone(whole[:len(whole)-8]), link.OK, link.Place{Off: 1 << 40, Len: 100})},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, l, arenaSize)
			w.send(c.h, c.payload)
			w.faults()
		})
	}
}

func testBrokenControl(t *testing.T, l *language) {
	size := binary.LittleEndian.AppendUint64(nil, 4096)
	for _, c := range []struct {
		name    string
		h       link.Header
		payload []byte
	}{
		{"type of the task pipe", link.Header{Type: link.Quit}, nil},
		{"type that there isn't", link.Header{Type: 99}, nil},
		{"cancel with a payload", link.Header{Type: link.Cancel, Chunk: 5}, size},
		{"recall with a payload", link.Header{Type: link.Recall, Chunk: 5}, size},
		{"forget with a payload", link.Header{Type: link.Forget, Chunk: 5}, size},
		{"share without its size", link.Header{Type: link.Share, Chunk: 5}, size[:4]},
		{"share without a descriptor", link.Header{Type: link.Share, Chunk: 5}, size},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := begun(t, l, arenaSize)
			w.tell(c.h, c.payload)
			w.faults()
		})
	}
}
