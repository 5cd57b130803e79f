//go:build linux

package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/shm"
)

// testArena is how large the arenas of tests are that need none in particular.
const testArena = 8 << 20

// ends are both ends of a link in one process.
type ends struct {
	p      *Parent
	o      *Outbox
	s      *Shared
	task   int // the worker's descriptors
	result int
	ctl    int
	crash  int
	dead   bool
}

func setup(t testing.TB) *ends {
	t.Helper()
	p, child, err := New(testArena)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenShared(child[4], child[5])
	if err != nil {
		t.Fatal(err)
	}
	o := NewOutbox(child[1], s)
	l := &ends{p: p, o: o, s: s, task: child[0], result: child[1], ctl: child[2], crash: child[3]}
	t.Cleanup(func() {
		l.die()
		CloseAll([]int{l.task, l.ctl, l.crash, child[4], p.CrashFD()})
		p.Close()
		o.timer.Stop()
		o.mu.Lock()
		defer o.mu.Unlock()
		o.end = 0 // a timer that fires now finds nothing to write
		shm.Unmap(s.journal)
		shm.Unmap(s.Arguments)
	})
	return l
}

// die ends the result stream, as the worker's death does; nothing that wasn't written will be.
func (l *ends) die() {
	l.o.timer.Stop()
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	if !l.dead {
		l.dead = true
		l.o.broken = errors.New("dead")
		CloseAll([]int{l.result})
	}
}

type result struct {
	chunk uint64
	index uint32
	s     Status
	body  string
}

func (r result) String() string {
	return fmt.Sprintf("%d of chunk %d: status %d, %d bytes", r.index, r.chunk, r.s, len(r.body))
}

// parse reads results as the engine does.
func parse(frames []frame) (list []result, spent Spent, err error) {
	for i, f := range frames {
		if f.h.Type != Results || f.h.Count == 0 {
			return list, spent, fmt.Errorf("frame %d is %v of %d results", i, f.h.Type, f.h.Count)
		}
		s, items, err := ParseSpent(f.payload)
		if err != nil {
			return list, spent, err
		}
		spent.Run += s.Run
		spent.Decode += s.Decode
		spent.Encode += s.Encode
		spent.Bound += s.Bound
		for n := range f.h.Count {
			var r result
			var it Item
			if items, err = it.Next(items, nil); err != nil {
				return list, spent, fmt.Errorf("frame %d, item %d of %d: %w", i, n, f.h.Count, err)
			}
			r.chunk, r.index, r.s, r.body = f.h.Chunk, f.h.First+n, it.Status, string(it.Body)
			list = append(list, r)
		}
	}
	return list, spent, nil
}

func split(b []byte) (frames []frame, rest []byte) {
	for len(b) >= HeaderSize {
		var h Header
		h.Get(b)
		if uint64(len(b)) < HeaderSize+uint64(h.Length) {
			break
		}
		frames = append(frames, frame{h, b[HeaderSize : HeaderSize+int(h.Length)]})
		b = b[HeaderSize+int(h.Length):]
	}
	return frames, b
}

func (l *ends) publish(t testing.TB, r result, more bool) {
	t.Helper()
	if err := l.o.Result(r.chunk, r.index, r.s, []byte(r.body), Spent{1, 2, 3, 4}, more); err != nil {
		t.Fatal(err)
	}
}

// receive reads what was written to the pipe, up to the end of the stream.
func (l *ends) receive(t testing.TB) []result {
	t.Helper()
	got, _, err := parse(readAll(t, l.p.Reader))
	if err != nil {
		t.Error(err)
	}
	return got
}

func same(t testing.TB, what string, got, want []result) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: result %d is %v, want %v", what, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d results, want %d", what, len(got), len(want))
	}
}

func TestOutboxFlush(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		want []result
	}{
		{"one", []result{{1, 0, OK, "result"}}},
		{"empty bodies", []result{{1, 0, OK, ""}, {1, 1, OK, ""}, {1, 2, Exited, ""}}},
		{"words", []result{{1, 0, OK, "8 bytes."}, {1, 1, OK, "and sixteen of t"}, {1, 2, OK, "8 bytes."}}},
		{"odd lengths", []result{{1, 0, OK, "a"}, {1, 1, OK, "ab"}, {1, 2, OK, "abcdefghi"}, {1, 3, OK, ""}, {1, 4, OK, "x"}}},
		{"statuses", []result{{1, 0, OK, "ab"}, {1, 1, Failed, "err"}, {1, 2, Panicked, "oh"}, {1, 3, Cancelled, ""}}},
		{"another chunk", []result{{1, 0, OK, "12345678"}, {2, 0, OK, "12345678"}, {2, 1, OK, "x"}, {4, 0, OK, "y"}}},
		{"a gap", []result{{1, 0, OK, "12345678"}, {1, 2, OK, "12345678"}}},
		{"large in between", []result{{1, 0, OK, "abc"}, {1, 1, OK, string(bytes.Repeat([]byte("large"), journalSize/4))}, {1, 2, OK, "d"}, {1, 3, OK, "ef"}}},
		{"at the limit", []result{{1, 0, OK, "abc"}, {1, 1, OK, string(make([]byte, journalSize-journalHead-HeaderSize-StatsSize-2*ItemSize))}, {1, 2, OK, "d"}}},
		{"over the limit", []result{{1, 0, OK, "abc"}, {1, 1, OK, string(make([]byte, journalSize-journalHead-HeaderSize-StatsSize-2*ItemSize+1))}, {1, 2, OK, "d"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := setup(t)
			go func() {
				for i, r := range c.want {
					_ = l.o.Result(r.chunk, r.index, r.s, []byte(r.body), Spent{1, 2, 3, 4}, i < len(c.want)-1)
				}
				_ = l.o.Flush()
				l.die()
			}()
			got, spent, err := parse(readAll(t, l.p.Reader))
			if err != nil {
				t.Fatal(err)
			}
			same(t, "received", got, c.want)
			n := int64(len(c.want))
			if want := (Spent{n, 2 * n, 3 * n, 4 * n}); spent != want {
				t.Errorf("spent %v, want %v", spent, want)
			}
			if tail := l.p.Journal.Tail(l.p.Received()); len(tail) > 0 {
				t.Errorf("all was written, but the journal has %d bytes more", len(tail))
			}
		})
	}
}

// TestOutboxManyResults fills the journal many times over while the parent reads.
func TestOutboxManyResults(t *testing.T) {
	t.Parallel()
	l := setup(t)
	const n = 40_000
	nth := func(i int) result {
		return result{uint64(i/100 + 1), uint32(i % 100), OK, string(bytes.Repeat([]byte{byte(i)}, i%97))}
	}
	go func() {
		for i := range n {
			r := nth(i)
			_ = l.o.Result(r.chunk, r.index, r.s, []byte(r.body), Spent{}, r.index < 99)
		}
		_ = l.o.Flush()
		l.die()
	}()
	want := make([]result, n)
	for i := range want {
		want[i] = nth(i)
	}
	same(t, "received", l.receive(t), want)
}

// TestTailAtEveryMoment publishes and flushes at random and looks, after each step, at what a parent would find if the
// worker had died just then, and at every byte of the write that a flush is. Also when it died in the middle of the
// next step: with all of it in the journal but the words by which it counts.
func TestTailAtEveryMoment(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 3))
			l := setup(t)
			l.o.timer.Stop()
			var published []result
			written := 0 // of published
			before, torn, now := make([]byte, 0, journalSize), make([]byte, 0, journalSize), make([]byte, 0, journalSize)
			chunk, index := uint64(1), uint32(0)
			for step := range 60 {
				before = used(before, l.o)
				end := align(l.o.end)
				flush := random.IntN(8) == 0
				if flush {
					if err := l.o.Flush(); err != nil {
						t.Fatal(err)
					}
					written = len(published)
				} else {
					if random.IntN(6) == 0 {
						chunk, index = chunk+1, 0
					}
					body := bytes.Repeat([]byte{byte(random.Uint32())}, random.IntN(30))
					if random.IntN(20) == 0 {
						body = bytes.Repeat([]byte{1, 0, 0, 0, 1, 0, 0, 0}, 400) // a frame, if taken for one
					}
					r := result{chunk, index, Status(random.IntN(int(lastStat) + 1)), string(body)}
					l.publish(t, r, false)
					index++
					torn = used(torn, l.o)
					copy(torn[:journalHead], before)
					word := journalHead + l.o.open
					copy(torn[word:word+8], before[word:word+8])
					moment(t, fmt.Sprintf("in the middle of step %d", step), torn, l.o.base, end, published[written:])
					published = append(published, r)
				}
				l.o.sealStats()
				now = used(now, l.o)
				moment(t, fmt.Sprintf("after step %d", step), now, l.o.base, align(l.o.end), published[written:])
			}
			if err := l.o.Flush(); err != nil {
				t.Fatal(err)
			}
			l.die()
			same(t, "received", l.receive(t), published)
		})
	}
}

// used copies a journal into dst as far as there is something in it, and the room of one more result.
func used(dst []byte, o *Outbox) []byte {
	return append(dst[:0], o.mem[:journalHead+align(o.end)+8192]...)
}

// moment checks what a parent makes of a journal when it had received base bytes, or any part of those that a flush
// would write next.
func moment(t *testing.T, when string, mem []byte, base uint64, end int, want []result) {
	t.Helper()
	j := &Journal{mem: mem}
	step := 1 + end/500
	for k := 0; k <= end; k += step {
		stream := slices.Concat(mem[journalHead:journalHead+k], j.Tail(base+uint64(k)))
		frames, rest := split(stream)
		got, _, err := parse(frames)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%s, %d of %d bytes written: %v, %d bytes left over; %d results, want %d", when, k, end, err, len(rest), len(got), len(want))
		}
		same(t, fmt.Sprintf("%s, %d of %d bytes written", when, k, end), got, want)
	}
	for _, k := range []uint64{base + uint64(end) + 1, math.MaxUint64, base - 1} {
		if tail := j.Tail(k); len(tail) > 0 {
			t.Fatalf("%s: %d bytes for a parent that received %d, where %d were written", when, len(tail), k, base)
		}
	}
}

// TestTailAfterFlushes has the worker die in the middle of a flush: the pipe is full and the parent has read a part.
func TestTailAfterFlushes(t *testing.T) {
	t.Parallel()
	for _, read := range []int{0, 1, HeaderSize, 4096, 100_000, 1 << 20, 3 << 19} {
		t.Run(fmt.Sprint(read), func(t *testing.T) {
			t.Parallel()
			l := setup(t)
			// The write fails where the pipe is full, as if the worker were killed there.
			if err := syscall.SetNonblock(l.result, true); err != nil {
				t.Fatal(err)
			}
			var published []result
			buf := make([]byte, 32<<10)
			var stream []byte
			publish := func() bool {
				r := result{1, uint32(len(published)), OK, string(bytes.Repeat([]byte{byte(len(published))}, 1001))}
				err := l.o.Result(r.chunk, r.index, r.s, []byte(r.body), Spent{}, false)
				if err != nil {
					return false // this one was being published
				}
				published = append(published, r)
				return true
			}
			for len(stream) < read {
				if !publish() {
					t.Fatal("the pipe is full too early")
				}
				if l.o.base > uint64(len(stream)) {
					n, err := syscall.Read(l.p.resFD, buf[:min(len(buf), read-len(stream))])
					if err != nil {
						t.Fatal(err)
					}
					stream = append(stream, buf[:n]...)
				}
			}
			// Death comes in the flush that the next result needs. What the worker does after it, it didn't do.
			var mem []byte
			for {
				if l.o.end > len(l.o.area)-4096 { // the next one may need a flush
					mem = bytes.Clone(l.o.mem)
				}
				if !publish() {
					break
				}
			}
			l.die()
			for {
				n, err := syscall.Read(l.p.resFD, buf)
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					break
				}
				stream = append(stream, buf[:n]...)
			}
			j := &Journal{mem: mem}
			frames, rest := split(append(stream, j.Tail(uint64(len(stream)))...))
			got, _, err := parse(frames)
			if err != nil || len(rest) > 0 {
				t.Errorf("%v, %d bytes left over", err, len(rest))
			}
			same(t, "received and tail", got, published)
		})
	}
}

// TestTimerFlushes publishes and does nothing more: the result is written all the same.
func TestTimerFlushes(t *testing.T) {
	t.Parallel()
	l := setup(t)
	for i := range uint32(5) {
		want := result{7, i, OK, "12345678"}
		l.publish(t, want, true)
		var got []frame
		for len(got) == 0 {
			if err := l.p.Fill(); err != nil {
				t.Fatal(err)
			}
			if h, payload, ok := l.p.Next(); ok {
				got = append(got, frame{h, bytes.Clone(payload)})
			}
		}
		list, _, err := parse(got)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "received", list, []result{want})
	}
}

// TestNoMoreIsNotFlushed publishes the last result of a chunk, which is the caller's to flush, or to Arm.
func TestNoMoreIsNotFlushed(t *testing.T) {
	t.Parallel()
	l := setup(t)
	want := result{7, 0, OK, "12345678"}
	l.publish(t, want, false)
	if l.o.armed || l.o.base != 0 {
		t.Error("written, or about to be")
	}
	l.o.Arm()
	if err := l.p.Fill(); err != nil {
		t.Fatal(err)
	}
	h, payload, _ := l.p.Next()
	list, _, err := parse([]frame{{h, payload}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "received", list, []result{want})
}

func TestFramesAndResultsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	l := setup(t)
	var want []Type
	for i := range uint32(50) {
		l.publish(t, result{1, i, OK, "12345678"}, true)
		want = append(want, Results)
		if i%3 == 0 {
			if err := l.o.Frame(Header{Type: Stuck, Chunk: 1, First: i}, []byte("stack")); err != nil {
				t.Fatal(err)
			}
			want = append(want, Stuck)
		}
	}
	_ = l.o.Flush()
	l.die()
	var got []Type
	for _, f := range readAll(t, l.p.Reader) {
		for range max(1, f.h.Count) {
			got = append(got, f.h.Type)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := l.o.Frame(Header{}, nil); err == nil {
		t.Error("a frame to nowhere")
	}
}

func TestOutboxBroken(t *testing.T) {
	t.Parallel()
	l := setup(t)
	CloseAll([]int{l.p.resFD})
	l.p.resFD = -1
	l.publish(t, result{1, 0, OK, "x"}, false)
	if err := l.o.Flush(); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("flush: %v", err)
	}
	if err := l.o.Result(1, 1, OK, nil, Spent{}, false); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("result: %v", err)
	}
	if err := l.o.Result(1, 2, OK, make([]byte, journalSize), Spent{}, false); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("large result: %v", err)
	}
}

// TestOutboxBrokenAndFull has the pipe break when the journal is full: there is no room for more, and never will be.
func TestOutboxBrokenAndFull(t *testing.T) {
	t.Parallel()
	l := setup(t)
	CloseAll([]int{l.p.resFD})
	l.p.resFD = -1
	for i := uint32(0); l.o.end+2000 < len(l.o.area); i++ {
		l.publish(t, result{1, i, OK, string(make([]byte, 1000))}, false)
	}
	for i := range uint32(3) {
		if err := l.o.Result(2, i, OK, make([]byte, 3000), Spent{}, false); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("result: %v", err)
		}
	}
}

// addresses returns n bytes that are never to be touched, for they are not there.
func addresses(t *testing.T, n int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		t.Skip("no room for 4 GB of addresses:", err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b
}

func TestOutboxRefusesTooMuch(t *testing.T) {
	t.Parallel()
	l := setup(t)
	body := addresses(t, MaxPayload-ItemSize-StatsSize+1)
	if err := l.o.Result(1, 0, OK, body, Spent{}, false); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("more than a frame can carry: %v", err)
	}
	want := []result{{1, 0, BadResult, "too large"}}
	l.publish(t, want[0], false)
	_ = l.o.Flush()
	l.die()
	same(t, "received", l.receive(t), want)
}

func TestJournalWords(t *testing.T) {
	t.Parallel()
	l := setup(t)
	j := l.p.Journal
	for _, c := range []struct {
		name    string
		do      func()
		current uint64
		started int64
	}{
		{"new", func() {}, 0, 0},
		{"begun", func() { l.o.Begin(5) }, 5, 0},
		{"started", func() { l.o.Started(1 << 60) }, 5, 1 << 60},
		{"ended", l.o.End, 0, 0},
	} {
		c.do()
		if j.Current() != c.current || j.Started() != c.started {
			t.Errorf("%s: chunk %d, started %d; want %d, %d", c.name, j.Current(), j.Started(), c.current, c.started)
		}
	}
}

func TestMonotonicIsTheClock(t *testing.T) {
	t.Parallel()
	a := Monotonic()
	if b := Monotonic(); b < a || a <= 0 || b-a > int64(time.Minute) {
		t.Errorf("%d, then %d", a, b)
	}
}

// TestExchange sends far more than the pipes hold both ways at once: neither side may wait for the other.
func TestExchange(t *testing.T) {
	t.Parallel()
	l := setup(t)
	const n = 60
	body := bytes.Repeat([]byte("argument"), 20_000)
	out := l.p.Buffer()
	for i := range uint64(n) {
		var err error
		if out, err = AppendFrame(out, Header{Type: Chunk, Chunk: i + 1, Count: 1}, body); err != nil {
			t.Fatal(err)
		}
	}
	l.p.SetBuffer(out)
	go func() { // the worker answers each with as much
		in := NewReader(l.task)
		for answered := 0; answered < n; {
			if in.Fill() != nil {
				break
			}
			for {
				h, payload, ok := in.Next()
				if !ok {
					break
				}
				_ = l.o.Result(h.Chunk, 0, OK, payload, Spent{}, false)
				_ = l.o.Flush()
				answered++
			}
		}
		l.die()
	}()
	if err := l.p.Flush(); err != nil {
		t.Fatal(err)
	}
	if l.p.Pending() == 0 {
		t.Fatal("all fits in the pipe: the test is too small")
	}
	for got := uint64(0); ; {
		err := l.p.Exchange()
		if errors.Is(err, io.EOF) {
			if got != n || l.p.Pending() != 0 {
				t.Errorf("%d answers, %d bytes not sent", got, l.p.Pending())
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for {
			h, payload, ok := l.p.Next()
			if !ok {
				break
			}
			got++
			if _, items, err := ParseSpent(payload); h.Chunk != got || err != nil || len(items) < len(body) {
				t.Fatalf("answer %d is of chunk %d, with %d bytes (%v)", got, h.Chunk, len(payload), err)
			}
		}
	}
}

// TestExchangeWithTheDead reads what a worker had written before it closed its task pipe with much unread.
func TestExchangeWithTheDead(t *testing.T) {
	t.Parallel()
	l := setup(t)
	want := []result{{1, 0, OK, "12345678"}}
	l.publish(t, want[0], false)
	_ = l.o.Flush()
	l.p.SetBuffer(make([]byte, 4<<20))
	_ = l.p.Flush()
	CloseAll([]int{l.task})
	l.die()
	l.task = -1
	var frames []frame
	for {
		if err := l.p.Exchange(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for {
			h, payload, ok := l.p.Next()
			if !ok {
				break
			}
			frames = append(frames, frame{h, bytes.Clone(payload)})
		}
	}
	got, _, err := parse(frames)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "received", got, want)
}

// TestKick has the parent be told of the worker's death while much is unread, and while another holds the pipe. All of
// it comes, nothing else does, and then the end.
func TestKick(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 10_000} {
		for _, held := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d results, held %v", n, held), func(t *testing.T) {
				t.Parallel()
				l := setup(t)
				var want []result
				for i := range n {
					want = append(want, result{1, uint32(i), OK, "12345678"})
					l.publish(t, want[i], false)
				}
				_ = l.o.Flush()
				wrote := l.o.base
				if !held {
					l.die()
				}
				l.p.Kick()
				l.p.Kick()
				var frames []frame
				for ended := false; !ended; {
					err := l.p.Exchange()
					if ended = errors.Is(err, io.EOF); err != nil && !ended {
						t.Fatal(err)
					}
					for {
						h, payload, ok := l.p.Next()
						if !ok {
							break
						}
						frames = append(frames, frame{h, bytes.Clone(payload)})
					}
				}
				got, _, err := parse(frames)
				if err != nil {
					t.Fatal(err)
				}
				same(t, "received", got, want)
				if r := l.p.Received(); r != wrote || l.p.w != l.p.r {
					t.Errorf("received %d bytes, %d were written; %d are left over", r, wrote, l.p.w-l.p.r)
				}
				if err := l.p.Exchange(); !errors.Is(err, io.EOF) {
					t.Errorf("after the end: %v", err)
				}
			})
		}
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	l := setup(t)
	const n = 10_000 // more than any socket holds: the last ones are lost, and none is torn
	for i := range uint64(n) {
		l.p.Control(Cancel, i+1)
	}
	in := NewControlReader(l.ctl)
	next := uint64(1)
	CloseAll([]int{l.p.ctlFD})
	l.p.ctlFD = -1
	for {
		m, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || m.Type != Cancel || m.ID != next || m.FD != -1 {
			t.Fatalf("got %+v (%v), want cancel of %d", m, err, next)
		}
		next++
	}
	if t.Logf("%d of %d cancellations arrived", next-1, n); next < 100 || next > n {
		t.Errorf("%d cancellations arrived", next-1)
	}
}

// FuzzJournalTail looks for the tail in any journal. Nothing comes that isn't in it.
func FuzzJournalTail(f *testing.F) {
	l := setup(f)
	for i := range uint32(3) {
		l.publish(f, result{1, i, OK, "12345678"}, false)
	}
	valid := bytes.Clone(l.o.area[:align(l.o.end)+16])
	f.Add(valid, uint64(0), uint64(0), uint64(0))
	f.Add(valid, uint64(100), uint64(120), uint64(0))
	f.Add(valid[:40], uint64(0), uint64(39), uint64(100))
	f.Add(bytes.Repeat([]byte{0xff}, 64), uint64(1), uint64(0), ^uint64(0))
	f.Add([]byte{0, 0, 0x7f - 8, 0, 1}, uint64(1)<<63, uint64(1)<<63+5, uint64(journalSize))
	mem := make([]byte, journalSize)
	f.Fuzz(func(t *testing.T, area []byte, base, received, other uint64) {
		n := copy(mem[journalHead:], area)
		if other&1 == 1 { // at the end instead: frames that claim to go on beyond it
			clear(mem[journalHead : journalHead+n])
			n = copy(mem[journalSize-min(len(area), journalSize-journalHead):], area)
			word(mem, journalHead).Store(uint64(journalSize-journalHead-n-HeaderSize) | 1<<32)
		}
		for at := 24; at < 64; at += 8 {
			word(mem, at).Store(other) // any other word of the head
		}
		word(mem, wordBase).Store(base)
		defer clear(mem)
		j := &Journal{mem: mem}
		tail := j.Tail(received)
		switch {
		case len(tail) == 0:
			return
		case received < base || received-base+uint64(len(tail)) > journalSize-journalHead:
			t.Fatalf("%d bytes of a stream that begins at %d, for one who has %d", len(tail), base, received)
		case &tail[0] != &mem[journalHead+int(received-base)]:
			t.Fatal("the tail is not a part of the journal")
		}
		frames, _ := split(tail)
		_, _, _ = parse(frames)
	})
}
