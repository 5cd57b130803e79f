//go:build linux

package link

import (
	"errors"
	"fmt"
	"testing"

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
