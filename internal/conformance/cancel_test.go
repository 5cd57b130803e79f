//go:build linux

package conformance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/link"
)

// returned takes a returned frame.
func (w *peer) returned(chunk uint64) {
	w.t.Helper()
	if f := w.next(); f.Type != link.Returned || f.Chunk != chunk {
		w.t.Fatalf("%v of chunk %d, want chunk %d returned\n%s", f.Type, f.Chunk, chunk, w.says())
	}
}

// testCancelRunning cancels a chunk that runs: its task goes on, and none is begun. One that was not cancelled is not
// concerned.
func testCancelRunning(t *testing.T, l *language) {
	for _, m := range []link.ChunkMessage{{Bound: 1}, {}, {Bound: 1, Timeout: int64(time.Hour)}} {
		w := begun(t, l, arenaSize)
		g := newGate(t)
		args := append([]string{"echo a", "hold " + g.path}, strings.Split(strings.Repeat("echo b,", 300), ",")[:300]...)
		id := w.chunkWith(m, args...)
		second, third := w.chunk("echo c"), w.chunk("echo d")
		open := g.entered()
		w.want(w.answers(id, 1), "a")
		w.cancel(id)
		w.recall(second) // when it is back, the worker has heard of the cancellation
		w.returned(second)
		open()
		got := w.more(id, 1, 301)
		w.want(got[:1], "")
		for i, a := range got[1:] {
			if a.status != link.Cancelled || a.value != "" {
				t.Fatalf("task %d has status %d: %q", i+2, a.status, a.value)
			}
		}
		w.want(w.answers(third, 1), "d")
		w.quit()
	}
}

// testCancelWaiting takes chunks back that wait, in both ways. One that runs can't be recalled.
func testCancelWaiting(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	g := newGate(t)
	first := w.chunk("hold "+g.path, "echo a")
	second, third, fourth, fifth := w.chunk("echo b"), w.chunk("echo c"), w.chunk("echo d"), w.chunk("echo e")
	open := g.entered()
	w.recall(first)
	w.recall(second)
	w.cancel(fourth)
	w.cancel(second) // which is back already
	w.recall(fourth)
	w.returned(second)
	w.returned(fourth)
	open()
	w.want(w.answers(first, 2), "", "a")
	w.want(w.answers(third, 1), "c")
	w.want(w.answers(fifth, 1), "e")
	w.cancel(first) // which has ended
	w.cancel(fifth)
	w.recall(third)
	w.want(w.answers(w.chunk("echo f"), 1), "f")
	if len(w.aside) > 0 {
		t.Errorf("%d chunks are returned that were not to be, or twice: %+v", len(w.aside), w.aside)
	}
	w.quit()
}

// testCancelToCome takes chunks back ahead of their arrival. The worker may say so at once, or when they come.
func testCancelToCome(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	for _, take := range []func(uint64){w.cancel, w.recall} {
		g := newGate(t)
		first, second := w.chunk("hold "+g.path), w.chunk("echo a")
		third, fourth := w.id+1, w.id+2
		open := g.entered()
		take(third)
		w.recall(second)
		w.aside = nil
		for !w.has(second) { // then the worker has heard of the third too
			w.aside = append(w.aside, w.next())
		}
		w.chunk("echo b")
		w.chunk("echo c")
		open()
		w.want(w.answers(first, 1), "")
		w.want(w.answers(fourth, 1), "c")
		if len(w.aside) != 2 || !w.has(third) {
			t.Fatalf("there came %+v, want chunks %d and %d returned", w.aside, second, third)
		}
	}
	w.quit()
}

// has says whether a chunk is among those that were returned.
func (w *peer) has(chunk uint64) bool {
	return slices.ContainsFunc(w.aside, func(f frame) bool { return f.Type == link.Returned && f.Chunk == chunk })
}

func testCancelTells(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	g := newGate(t)
	id := w.chunk("wait "+g.path, "echo a")
	g.entered()()
	w.cancel(id)
	got := w.answers(id, 2)
	if got[0].status != link.Failed || w.failure(got[0].value).message != "context canceled" || got[1].status != link.Cancelled {
		t.Errorf("the results are %+v", got)
	}
	w.quit()
}

// stuck takes a stuck frame.
func (w *peer) stuck(chunk uint64, index uint32) {
	w.t.Helper()
	f := w.next()
	if f.Type != link.Stuck || f.Chunk != chunk || f.First != index {
		w.t.Fatalf("%v of task %d of chunk %d, want task %d of chunk %d stuck\n%s", f.Type, f.First, f.Chunk, index, chunk, w.says())
	}
	first, _, _ := strings.Cut(string(f.payload), "\n\n")
	if !strings.Contains(first, w.lang.stack) {
		w.t.Errorf("the first stack has no %q:\n%s", w.lang.stack, f.payload)
	}
}

const limit = 20 * time.Millisecond

// testLimit has tasks that return when their time is up, with bound arguments and without.
func testLimit(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	g := newGate(t)
	for _, bound := range []uint64{1, 0, 1} {
		before := link.Monotonic()
		id := w.chunkWith(link.ChunkMessage{Bound: bound, Timeout: int64(limit)}, "hold "+g.path, "echo a")
		open := g.entered()
		w.stuck(id, 0)
		if w.journal(0) != id {
			t.Errorf("the journal has chunk %d, want %d", w.journal(0), id)
		}
		now := link.Monotonic()
		if at := int64(w.journal(1)); at < before || at > now-int64(limit) {
			t.Errorf("the journal says that the task was started at %d; it was %d when the chunk was sent, and is %d", at, before, now)
		}
		open()
		got := w.answers(id, 2)
		if got[0].status != link.Expired || got[0].value != "" {
			t.Errorf("status %d: %q", got[0].status, got[0].value)
		}
		w.want(got[1:], "a")
	}
	w.want(w.answers(w.chunk("echo a"), 1), "a")
	if len(w.aside) > 0 {
		t.Errorf("%v of chunk %d came too", w.aside[0].Type, w.aside[0].Chunk)
	}
	w.quit()
}

func testLimitAndError(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	g := newGate(t)
	id := w.chunkWith(link.ChunkMessage{Bound: 1, Timeout: int64(limit)}, "echo a", "late "+g.path)
	open := g.entered()
	w.want(w.answers(id, 1), "a")
	w.stuck(id, 1)
	open()
	a := w.more(id, 1, 1)[0]
	if a.status != link.Expired || w.failure(a.value).message != "late" {
		t.Errorf("status %d: %q", a.status, a.value)
	}
	w.quit()
}

// testLimitKept has tasks that are done in time, all of them together not.
func testLimitKept(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	g := newGate(t)
	id := w.chunkWith(link.ChunkMessage{Bound: 1, Timeout: int64(time.Hour)}, "echo a", "error oh", "hold "+g.path)
	open := g.entered()
	if at := int64(w.journal(1)); at <= 0 || at > link.Monotonic() {
		t.Errorf("the journal says that the task was started at %d", at)
	}
	open()
	if got := w.answers(id, 3); got[0].status != link.OK || got[1].status != link.Failed || got[2].status != link.OK {
		t.Errorf("the results are %+v", got)
	}
	id = w.chunk("hold " + g.path) // which has no limit, though the one before had
	open = g.entered()
	if at := w.journal(1); at != 0 {
		t.Errorf("a task without a limit was started at %d", at)
	}
	open()
	w.want(w.answers(id, 1), "")
	if len(w.aside) > 0 {
		t.Errorf("%v of chunk %d", w.aside[0].Type, w.aside[0].Chunk)
	}
	w.quit()
}
