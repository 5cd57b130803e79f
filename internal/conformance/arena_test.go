//go:build linux

package conformance

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

func testLargeArguments(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	for _, flags := range []uint8{0, link.Lent} {
		for _, n := range []int{100, link.ArenaFrom, 100_000, 5 << 20} {
			arg := large(n, n)
			want := fmt.Sprintf("%d %d", len(arg), crc32.ChecksumIEEE(arg))
			arg = append([]byte("size "), arg...)
			small := item(l.argument([]byte("echo a")))
			got := w.answers(w.chunkOf(link.ChunkMessage{Bound: 1}, flags, small, w.placed(l.argument(arg)), small, w.placed(l.argument(arg))), 4)
			w.want(got, "a", want, "a", want)
			w.want(w.answers(w.chunkOf(link.ChunkMessage{}, flags, w.placed(l.alone(arg))), 1), want)
		}
	}
	w.quit()
}

func testInPlace(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	arg := l.argument(append([]byte("placed "), large(1, 10_000)...))
	w.want(w.answers(w.chunkOf(link.ChunkMessage{Bound: 1}, link.Lent, item(arg), w.placed(arg)), 2), "true false", "true true")
	w.want(w.answers(w.chunkOf(link.ChunkMessage{Bound: 1}, 0, item(arg), w.placed(arg)), 2), "false false", "false true")
	w.quit()
}

func testLargeResults(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	for _, c := range []struct {
		n      int
		placed bool
	}{{8, false}, {3000, false}, {link.ArenaFrom + 100, true}, {100_000, true}, {5 << 20, true}, {40_000_000, true}, {8, false}} {
		a := w.answers(w.chunk(fmt.Sprintf("large 9 %d", c.n)), 1)[0]
		if a.status != link.OK || a.value != string(large(9, c.n)) || (a.place.Len > 0) != c.placed {
			t.Errorf("of %d bytes, status %d, %d bytes at %+v", c.n, a.status, len(a.value), a.place)
		}
	}
	w.quit()
}

// lease returns a place's slot and lease.
func lease(at link.Place) (slot, number uint32) {
	b := at.Append(nil)
	return binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
}

// testLeases has many more results than there are slots, two chunks at a time, in an arena that they would fill many times
// over. Each is in the arena, with a lease that its slot has not had, and the last before it was given back.
func testLeases(t *testing.T, l *language) {
	w := begun(t, l, 32<<20)
	const chunks, each, slots = 20, 500, 4096
	send := func(chunk int) {
		args := make([]string, each)
		for i := range args {
			args[i] = fmt.Sprintf("large %d 5000", chunk*each+i)
		}
		w.chunk(args...)
	}
	send(0)
	last := make(map[uint32]uint32)
	for c := range chunks {
		if c+1 < chunks {
			send(c + 1)
		}
		for i, a := range w.answers(uint64(c+1), each) {
			n := c*each + i
			if a.status != link.OK || a.value != string(large(n, 5000)) || a.place.Len == 0 {
				t.Fatalf("result %d has status %d, %d bytes at %+v", n, a.status, len(a.value), a.place)
			}
			slot, number := lease(a.place)
			if slot >= slots || number != last[slot]+1 {
				t.Fatalf("result %d has slot %d, lease %d, after %d", n, slot, number, last[slot])
			}
			last[slot] = number
		}
	}
	if len(last) > 2*each+100 {
		t.Errorf("%d slots were used for no more than %d results at a time", len(last), 2*each)
	}
	w.quit()
}

// testKept keeps results until there is no more room, or no slot: the others come through the pipe, and none is written over.
func testKept(t *testing.T, l *language) {
	for _, c := range []struct {
		name        string
		arena       int64
		n, size     int
		least, most int
	}{
		{"no room", 4 << 20, 300, 50_000, 30, 84},
		{"no slots", arenaSize, 4200, 5000, 4096, 4096},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := begun(t, l, c.arena)
			w.keep = true
			var args []string
			for i := range c.n {
				args = append(args, fmt.Sprintf("large %d %d", i, c.size))
			}
			var kept []answer
			taken := make(map[uint32]bool)
			for i, a := range w.answers(w.chunk(args...), c.n) {
				if a.status != link.OK || a.value != string(large(i, c.size)) {
					t.Fatalf("result %d has status %d, %d bytes", i, a.status, len(a.value))
				}
				if a.place.Len == 0 {
					continue
				}
				slot, _ := lease(a.place)
				if taken[slot] {
					t.Fatalf("slot %d has two results", slot)
				}
				taken[slot] = true
				kept = append(kept, a)
			}
			if len(kept) < c.least || len(kept) > c.most {
				t.Errorf("%d of %d results are in the arena, want %d to %d", len(kept), c.n, c.least, c.most)
			}
			for _, a := range kept {
				again, err := l.result(link.Item{Body: w.l.Results()[a.place.Off:][:a.place.Len], Place: a.place})
				if err != nil || again != a.value {
					t.Fatalf("a result that was kept was written over: %v", err)
				}
				w.l.Release(a.place)
			}
			if a := w.answers(w.chunk(args[0]), 1)[0]; a.place.Len == 0 {
				t.Error("what was given back is not used again")
			}
			w.quit()
		})
	}
}

func testNoArenas(t *testing.T, l *language) {
	w := begun(t, l, 0)
	for _, n := range []int{8, 5000, 100_000, 518_000, 520_000, 524_288, 2 << 20} { // some as large as the journal's area
		a := w.answers(w.chunk("echo a", fmt.Sprintf("large 9 %d", n), "echo b"), 3)
		w.want(a, "a", string(large(9, n)), "b")
		if a[1].place.Len > 0 {
			t.Errorf("a result lies at %+v, and there is no arena", a[1].place)
		}
	}
	w.quit()
}

// testShared passes segments, and has them forgotten: the worker keeps none of the descriptors.
func testShared(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	fd, err := shm.Create("conformance", 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	held := func() int {
		w.want(w.answers(w.chunk("echo a"), 1), "a")
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	before := held()
	for id := uint64(1); id <= 20; id++ {
		w.tell(link.Header{Type: link.Share, Chunk: id}, binary.LittleEndian.AppendUint64(nil, 4096), fd)
		if id%2 == 0 { // they may come together
			w.tell(link.Header{Type: link.Forget, Chunk: id - 1}, nil)
			w.tell(link.Header{Type: link.Forget, Chunk: id}, nil)
		}
	}
	w.tell(link.Header{Type: link.Forget, Chunk: 1000}, nil) // which never came
	g := newGate(t)
	first, second := w.chunk("hold "+g.path), w.chunk("echo b")
	open := g.entered()
	w.recall(second)
	w.returned(second) // then the worker has read all that
	open()
	w.want(w.answers(first, 1), "")
	until(t, "descriptors of shared data are closed", func() bool { return held() <= before })
	w.quit()
}
