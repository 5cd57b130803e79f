//go:build linux

package link

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

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
