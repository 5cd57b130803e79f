//go:build linux

package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/link"
)

func testTasks(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	w.want(w.answers(w.chunk("echo a"), 1), "a")
	long := string(large(1, 3000))
	w.want(w.answers(w.chunk("echo ", "echo a b", "echo "+long, "size xyz", "echo \x00\xff"), 5), "", "a b", long, "3 3951999591", "\x00\xff")
	if n := w.journal(0); n != 0 {
		t.Errorf("between chunks the journal has chunk %d", n)
	}
	w.quit()
}

// testAlone has chunks of one task and of several, the second time with a function that is known.
func testAlone(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	for range 2 {
		for _, n := range []int{1, 1, 3, 1} {
			var args, values []string
			for i := range n {
				args, values = append(args, fmt.Sprint("echo ", i)), append(values, fmt.Sprint(i))
			}
			w.want(w.answers(w.chunkWith(link.ChunkMessage{}, args...), n), values...)
		}
		a := w.answers(w.chunkWith(link.ChunkMessage{}, "error oh"), 1)[0]
		if a.status != link.Failed || w.failure(a.value).message != "oh" {
			t.Errorf("status %d: %q", a.status, a.value)
		}
		a = w.answers(w.chunkWith(link.ChunkMessage{}, "large 7 100000"), 1)[0]
		if a.status != link.OK || a.value != string(large(7, 100_000)) || a.place.Len == 0 {
			t.Errorf("status %d, %d bytes at %+v", a.status, len(a.value), a.place)
		}
	}
	w.quit()
}

// testPieces writes frames by bytes, and two at a time.
func testPieces(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	task, _ := w.l.Ends()
	items := append(item(l.argument([]byte("echo a"))), item(l.argument([]byte("echo b")))...)
	var b []byte
	for id := uint64(1); id <= 3; id++ {
		var err error
		b, err = link.AppendFrame(b, link.Header{Type: link.Chunk, Chunk: id, Count: 2, Func: number}, append((&link.ChunkMessage{Bound: 1}).Append(nil), items...))
		if err != nil {
			t.Fatal(err)
		}
		if id == 2 {
			continue // with the third
		}
		for len(b) > 0 {
			n := 1
			if id == 3 {
				n = 45 // a header, and a part of the head
			}
			n, err := unix.Write(task, b[:min(n, len(b))])
			if err != nil {
				t.Fatal(err)
			}
			b = b[n:]
		}
	}
	for id := uint64(1); id <= 3; id++ {
		w.want(w.answers(id, 2), "a", "b")
	}
	w.quit()
}

// testLargeFrames has arguments and results that take more than pipes and journal hold, though they could go elsewhere.
func testLargeFrames(t *testing.T, l *language) {
	w := begun(t, l, 0)
	big := string(large(5, 3<<20))
	for range 2 {
		id := w.chunk("echo a", "echo "+big, "echo b", "large 5 3145728")
		w.want(w.answers(id, 4), "a", big, "b", big)
	}
	w.quit()
}

func testTiny(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	const n, each = 20_000, 5_000
	for lo := 0; lo < n; lo += each {
		args := make([]string, each)
		for i := range args {
			args[i] = fmt.Sprint("echo ", lo+i)
		}
		w.chunk(args...)
	}
	for i := range n / each {
		for k, a := range w.answers(uint64(i+1), each) {
			if a.status != link.OK || a.value != fmt.Sprint(i*each+k) {
				t.Fatalf("result %d has status %d and value %q", i*each+k, a.status, a.value)
			}
		}
	}
	w.quit()
}

func testOutstanding(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	const chunks = 50
	for i := range chunks {
		args := make([]string, i%4+1)
		for k := range args {
			args[k] = fmt.Sprint("echo ", k)
		}
		w.chunk(args...)
	}
	w.send(link.Header{Type: link.Free, Chunk: 1}, nil) // behind the last one that needs it
	for i := range chunks {
		w.want(w.answers(uint64(i+1), i%4+1), []string{"0", "1", "2", "3"}[:i%4+1]...)
	}
	w.quit()
}

// testBound binds arguments once and uses them twice, one of them from the arena; who uses them after they were freed is no
// pool of this worker.
func testBound(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	w.bind(5, "five ")
	w.bind(6, "six ")
	mark := string(large(7, 10_000))
	w.send(link.Header{Type: link.Bind, Func: number, Chunk: 7}, w.placed(l.bound(mark)))
	for range 2 {
		w.want(w.answers(w.chunkWith(link.ChunkMessage{Bound: 5}, "echo a", "echo b"), 2), "five a", "five b")
		w.want(w.answers(w.chunkWith(link.ChunkMessage{Bound: 7}, "echo a"), 1), mark+"a")
		w.want(w.answers(w.chunkWith(link.ChunkMessage{Bound: 6}, "echo a"), 1), "six a")
	}
	w.send(link.Header{Type: link.Free, Chunk: 5}, nil)
	w.want(w.answers(w.chunkWith(link.ChunkMessage{Bound: 6}, "echo a"), 1), "six a")
	w.chunkWith(link.ChunkMessage{Bound: 5}, "echo a")
	w.faults()
}

func testUnbindable(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	w.send(link.Header{Type: link.Bind, Func: number, Chunk: 2}, item(l.unbindable))
	for i, a := range w.answers(w.chunkWith(link.ChunkMessage{Bound: 2}, "echo a", "echo b"), 2) {
		if a.status != l.unbound || w.failure(a.value).message == "" {
			t.Errorf("task %d has status %d: %q", i, a.status, a.value)
		}
	}
	w.want(w.answers(w.chunk("echo a"), 1), "a")
	w.quit()
}

func testUnknownFunction(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	w.send(link.Header{Type: link.Func, Func: number}, []byte("unknown"))
	for i, a := range w.answers(w.chunkWith(link.ChunkMessage{}, "echo a", "echo b"), 2) {
		if a.status != link.BadArg || !strings.Contains(w.failure(a.value).message, "not registered") {
			t.Errorf("task %d has status %d: %q", i, a.status, a.value)
		}
	}
	w.quit()
}

func testNamelessFunction(t *testing.T, l *language) {
	w := start(t, l, arenaSize)
	w.init(w.initial())
	w.ready()
	w.id++
	h := link.Header{Type: link.Chunk, Chunk: w.id, Count: 1, Func: 1<<32 - 1}
	w.send(h, append((&link.ChunkMessage{}).Append(nil), item(l.alone([]byte("echo a")))...))
	w.want(w.answers(w.id, 1), "a")
	w.quit()
}

func testErrors(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	long := strings.Repeat("too long a text ", 1000)
	got := w.answers(w.chunk("echo a", "error oh", "echo b", "error "+long, "error ", "echo c"), 6)
	w.want([]answer{got[0], got[2], got[5]}, "a", "b", "c")
	for i, want := range map[int]string{1: "oh", 3: long, 4: ""} {
		if got[i].status != link.Failed {
			t.Fatalf("task %d has status %d", i, got[i].status)
		}
		if f := w.failure(got[i].value); f.message != want || f.kind == "" {
			t.Errorf("task %d has the error %.60q of type %q", i, f.message, f.kind)
		}
	}
	w.quit()
}

func testPanics(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	got := w.answers(w.chunk("echo a", "panic at the disco", "echo b"), 3)
	w.want([]answer{got[0], got[2]}, "a", "b")
	var p link.PanicMessage
	if err := p.Parse([]byte(got[1].value)); got[1].status != link.Panicked || err != nil || p.Value != "at the disco" || !strings.Contains(p.Stack, l.stack) {
		t.Errorf("status %d: %+v, %v", got[1].status, p, err)
	}
	w.quit()
}

func testGoexit(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	got := w.answers(w.chunk("echo a", "goexit", "echo b"), 3)
	w.want([]answer{got[0], got[2]}, "a", "b")
	if got[1].status != link.Exited || !strings.Contains(got[1].value, l.stack) {
		t.Errorf("status %d: %q", got[1].status, got[1].value)
	}
	w.quit()
}

// testEarly has results that come although the task behind them runs.
func testEarly(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	g := newGate(t)
	const n = 200
	args := make([]string, n)
	for i := range args {
		args[i] = fmt.Sprint("echo ", i)
	}
	id := w.chunk(append(args, "hold "+g.path, "echo a")...)
	for i, a := range w.answers(id, n) {
		w.want([]answer{a}, fmt.Sprint(i))
	}
	open := g.entered()
	if w.journal(0) != id {
		t.Errorf("the journal has chunk %d, want %d", w.journal(0), id)
	}
	open()
	w.want(w.more(id, n, 2), "", "a")
	w.quit()
}

// testAccounts compares the accounts with the time that there was.
func testAccounts(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	g := newGate(t)
	since := time.Now()
	id := w.chunk("echo a", "hold "+g.path)
	open := g.entered()
	held := time.Now()
	time.Sleep(10 * time.Millisecond) // the task's time, which is measured
	least := time.Since(held)
	open()
	var sum link.Spent
	for n := 0; n < 2; {
		f := w.next()
		spent, _, err := link.ParseSpent(f.payload)
		if f.Type != link.Results || f.Chunk != id || err != nil {
			t.Fatalf("%v of chunk %d: %v", f.Type, f.Chunk, err)
		}
		n += int(f.Count)
		sum.Run += spent.Run
		sum.Decode += spent.Decode
		sum.Encode += spent.Encode
		sum.Bound += spent.Bound
	}
	all := time.Since(since)
	if time.Duration(sum.Run) < least || time.Duration(sum.Run+sum.Decode+sum.Encode+sum.Bound) > all {
		t.Errorf("the accounts say %+v, of at least %v in functions and %v in all", sum, least, all)
	}
	w.quit()
}
