//go:build linux

package worker

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// large does as the beginning of its argument says.
func large(_ any, c *Chunk) {
	for c.Next() {
		func() {
			returned := false
			defer func() {
				if !returned {
					c.Unwound(recover())
				}
			}()
			b := c.Arg()
			c.Decoded()
			var do string
			var x, y int
			if _, err := fmt.Sscan(string(b[:min(len(b), 40)]), &do, &x, &y); err != nil {
				panic(err)
			}
			var err error
			var result []byte
			switch do {
			case "echo":
				result = append(c.Room(len(b)), b...)
			case "make": // x bytes, expecting y
				result = append(c.Room(y), pattern(x)...)
			case "share": // segment x
				var s *shm.Segment
				if s, err = c.Shared().Get(uint64(x)); err == nil {
					var mem []byte
					mem, err = s.Bytes()
					if y > 0 {
						mem[0] = 1
					}
					result = append(c.Room(0), mem...)
				}
			case "scribble":
				b[0] = 1
			}
			returned = true
			switch {
			case !c.Ran(err):
			case err != nil:
				c.Fail(link.Failed, err)
			default:
				c.Done(result)
			}
		}()
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%251 + n)
	}
	return b
}

// place sends one task whose argument lies in the arena.
func (w *peer) place(number uint32, arg []byte) (uint64, link.Place) {
	w.t.Helper()
	room := w.l.Arena.Alloc(len(arg))
	if cap(room) < len(arg) {
		w.t.Fatal("no room")
	}
	at, _ := w.l.Arena.Keep(append(room, arg...))
	w.id++
	w.send(link.Header{Type: link.Chunk, Chunk: w.id, Count: 1, Func: number}, link.AppendPlaced((&link.ChunkMessage{}).Append(nil), link.OK, at))
	return w.id, at
}

// item returns the one result of a chunk. It stays in its place.
func (w *peer) item(chunk uint64) (item link.Item) {
	w.t.Helper()
	h, payload := w.next()
	_, items, err := link.ParseSpent(payload)
	if err == nil {
		_, err = item.Next(items, w.l.Results())
	}
	if err != nil || h.Type != link.Results || h.Chunk != chunk || h.Count != 1 {
		w.t.Fatalf("%v of chunk %d, %d of them (%v), want the result of chunk %d", h.Type, h.Chunk, h.Count, err, chunk)
	}
	return item
}

// TestLargeResults has results of all sizes, with good estimates and bad: those that are large and fit are in the arena.
func TestLargeResults(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.open("plain")
	w.function(0, "large")
	for _, c := range []struct {
		size, expected int
		placed         bool
	}{
		{0, 0, false},
		{100, 0, false},
		{100, 100_000, false},
		{link.ArenaFrom - 1, link.ArenaFrom - 1, false},
		{link.ArenaFrom - 1, link.ArenaFrom, false},
		{link.ArenaFrom, link.ArenaFrom, true},
		{link.ArenaFrom, 0, true},
		{100_000, 0, true},
		{100_000, 99_000, true},
		{2 << 20, 20_000, true},
		{20_000, 2 << 20, true},
		{20_000, 1 << 40, true},
		{8 << 20, 8 << 20, true},
		{testArena + 1, testArena + 1, false},
		{testArena + 1, 20_000, false},
		{testArena + 1, 0, false},
	} {
		for range 2 {
			item := w.item(w.chunk(link.ChunkMessage{}, 0, fmt.Sprintf("make %d %d", c.size, c.expected)))
			if item.Status != link.OK || !bytes.Equal(item.Body, pattern(c.size)) || (item.Place.Len > 0) != c.placed {
				t.Errorf("%d bytes where %d were expected: status %d, %d bytes, in the arena: %v", c.size, c.expected, item.Status, len(item.Body), item.Place.Len > 0)
			}
			w.l.Release(item.Place)
		}
	}
}

// TestLargeArguments has arguments in the arena, and their echoes. One that writes to its argument panics.
func TestLargeArguments(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.open("plain")
	w.function(0, "large")
	for _, n := range []int{100, link.ArenaFrom, 1 << 20, 7 << 20} {
		arg := append([]byte("echo 0 0 "), pattern(n)...)
		id, at := w.place(0, arg)
		item := w.item(id)
		if item.Status != link.OK || !bytes.Equal(item.Body, arg) || (item.Place.Len > 0) != (n >= link.ArenaFrom) {
			t.Errorf("status %d, %d bytes for %d", item.Status, len(item.Body), len(arg))
		}
		w.l.Release(item.Place)
		w.l.Arena.Free(at)
		id, at = w.place(0, append([]byte("scribble 0 0 "), pattern(n)...))
		if item = w.item(id); item.Status != link.Panicked {
			t.Errorf("writing to an argument has status %d", item.Status)
		}
		w.l.Arena.Free(at)
	}
}

// TestResultsThatAreKept has the parent keep so many results that the worker has no more words for them, or no more room:
// the others come by the pipe, and all stay what they are.
func TestResultsThatAreKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		arena          int64
		n, least, most int // results, and how many of them may be in the arena
	}{
		{"no words", 80 << 20, 4200, 4096, 4096},
		{"no room", 8 << 20, 600, 300, 511},
		{"no arena", 0, 20, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := startWith(t, c.arena)
			w.open("plain")
			w.function(0, "large")
			kept := make(map[int]link.Item)
			const size = 16 << 10
			for i := range c.n {
				item := w.item(w.chunk(link.ChunkMessage{}, 0, fmt.Sprintf("make %d %d", size+i%7, size)))
				if item.Status != link.OK || !bytes.Equal(item.Body, pattern(size+i%7)) {
					t.Fatalf("result %d has status %d, %d bytes", i, item.Status, len(item.Body))
				}
				if item.Place.Len > 0 {
					kept[i] = item
				}
			}
			if len(kept) < c.least || len(kept) > c.most {
				t.Errorf("%d of %d results are in the arena, want %d to %d", len(kept), c.n, c.least, c.most)
			}
			for i, item := range kept {
				if !bytes.Equal(item.Body, pattern(size+i%7)) {
					t.Fatalf("result %d was written over", i)
				}
				w.l.Release(item.Place)
			}
			if item := w.item(w.chunk(link.ChunkMessage{}, 0, fmt.Sprintf("make %d %d", size, size))); (item.Place.Len > 0) != (c.arena > 0) {
				t.Error("what was given back is not used again")
			}
		})
	}
}

// TestPlaceFault has an argument lie where there is no arena: that is no parent of this worker.
func TestPlaceFault(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.open("plain")
	w.function(0, "large")
	w.send(link.Header{Type: link.Chunk, Chunk: 1, Count: 1}, link.AppendPlaced((&link.ChunkMessage{}).Append(nil), link.OK, link.Place{Off: 1 << 40, Len: 20_000}))
	w.ends(ExitFault, "malformed item")
}

// TestShared passes segments, before and after the tasks that need them. Writing to one is the task's panic.
func TestShared(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.open("plain")
	w.function(0, "large")
	want := pattern(50_000)
	share := func(id uint64, size int64) {
		t.Helper()
		fd, err := shm.Create("brine journal of "+t.Name(), int64(len(want)))
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if _, err := unix.Write(fd, want); err != nil {
			t.Fatal(err)
		}
		if err := w.l.Share(id, size, fd); err != nil {
			t.Fatal(err)
		}
	}
	look := func(chunk uint64) {
		t.Helper()
		item := w.item(chunk)
		if item.Status != link.OK || !bytes.Equal(item.Body, want) {
			t.Errorf("status %d, %d bytes: %.100q", item.Status, len(item.Body), item.Body)
		}
		w.l.Release(item.Place)
	}
	share(7, int64(len(want)))
	look(w.chunk(link.ChunkMessage{}, 0, "share 7 0"))
	id := w.chunk(link.ChunkMessage{}, 0, "share 8 0")
	for deadline := time.Now().Add(20 * time.Second); w.l.Journal.Current() != id && time.Now().Before(deadline); { // it waits for what is on its way
		runtime.Gosched()
	}
	share(8, int64(len(want)))
	look(id)
	if item := w.item(w.chunk(link.ChunkMessage{}, 0, "share 7 1")); item.Status != link.Panicked {
		t.Errorf("writing to shared data has status %d", item.Status)
	}
	look(w.chunk(link.ChunkMessage{}, 0, "share 7 0"))
	share(9, int64(len(want))+1) // which is not there
	if item := w.item(w.chunk(link.ChunkMessage{}, 0, "share 9 0")); item.Status != link.Failed || !strings.Contains(text(t, item.Body), "50000 bytes, not 50001") {
		t.Errorf("status %d, %q", item.Status, item.Body)
	}
	w.l.Control(link.Forget, 7)
	w.l.Control(link.Forget, 100) // which never came
	share(10, int64(len(want)))
	look(w.chunk(link.ChunkMessage{}, 0, "share 10 0"))
	if item := w.item(w.chunk(link.ChunkMessage{}, 0, "share 7 0")); item.Status != link.Failed || !strings.Contains(text(t, item.Body), "closed") {
		t.Errorf("forgotten: status %d, %q", item.Status, item.Body)
	}
}
