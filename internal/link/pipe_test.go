//go:build linux

package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

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
