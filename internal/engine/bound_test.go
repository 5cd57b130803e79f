//go:build linux

package engine

import (
	"bytes"
	"context"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// TestBoundOfAReturnedChunk has a worker return a chunk before it has read the large bound arguments that were sent ahead
// of it, as it does when it is told to while another task runs. They stay where they are until it has.
func TestBoundOfAReturnedChunk(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: config("", 1), jobs: make(map[*Job]struct{}), shared: make(map[uint64]*shm.Segment), stopping: make(chan struct{})}
	e.drained = sync.NewCond(&e.mu)
	e.ledger, e.parent = ledger.New(os.Getpid())
	l, child, err := link.New(testArena)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		link.CloseAll(append([]int{l.CrashFD()}, child...))
		l.Close()
	}()
	w := &conn{e: e, link: l, nextID: 1, acct: e.ledger.Open("worker", 1, 0), shares: new(shares)}
	post := func(task Work, bound *Bound) {
		t.Helper()
		j := NewJob(context.Background(), e.Function("f"), task, 1)
		j.Sized, j.Bound = true, bound
		if err := e.Submit(j, 1, false); err != nil {
			t.Fatal(err)
		}
		e.mu.Lock()
		w.take(1)
		e.mu.Unlock()
		w.post()
	}
	returned := func(id uint64) {
		t.Helper()
		b, err := link.AppendFrame(nil, link.Header{Type: link.Returned, Chunk: id}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Write(child[1], b); err != nil {
			t.Fatal(err)
		}
		if err := w.exchange(); err != nil {
			t.Fatal(err)
		}
	}
	want := bytes.Repeat([]byte("bound"), 20_000)
	post(&work{}, nil) // which runs
	post(&work{}, &Bound{ID: 7, Bytes: want})
	e.queue.Drop(&w.flights[1].job.queue)
	returned(2)
	for range 3 {
		post(&blobs{work: new(work), least: 90_000, most: 100_000}, nil)
	}
	_ = l.Flush()

	// Now the worker gets there.
	size, err := shm.Size(child[5])
	if err != nil {
		t.Fatal(err)
	}
	arguments, err := shm.Map(child[5], size, false)
	if err != nil {
		t.Fatal(err)
	}
	defer shm.Unmap(arguments)
	in := link.NewReader(child[0])
	for {
		h, payload, ok := in.Next()
		if !ok {
			if err := in.Fill(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if h.Type != link.Bind {
			continue
		}
		var item link.Item
		if _, err := item.Next(payload, link.View(arguments)); err != nil {
			t.Fatal(err)
		}
		if item.Place.Len == 0 {
			t.Error("they don't lie in the arena: the test shows nothing")
		}
		if !bytes.Equal(item.Body, want) {
			t.Error("the worker reads something else")
		}
		return
	}
}

// TestPassingBound has bound arguments of many jobs go to a worker: with the next chunk after the end of a job it is told
// to forget those.
func TestPassingBound(t *testing.T) {
	t.Parallel()
	cfg := config("good", 1)
	e := open(t, cfg)
	run := func(b *Bound) {
		t.Helper()
		w := &work{}
		j := NewJob(context.Background(), e.Function("f"), w, 0)
		j.Bound = b
		if err := e.Submit(j, 3, false); err != nil {
			t.Fatal(err)
		}
		w.await(t, j, 3)
	}
	kept := &Bound{ID: 1000, Bytes: []byte("kept")}
	run(kept)
	for i := range 10 {
		b := &Bound{ID: uint64(i + 1), Bytes: []byte("passing"), Passing: true}
		run(b)
		if b.Bytes != nil {
			t.Error("the bytes of bound arguments outlive their job")
		}
	}
	run(nil)
	l := lend(t, e)
	if n := len(l.w.bound); n != 1 || l.w.bound[0] != kept {
		t.Errorf("the worker is to keep %d bound arguments", n)
	}
	if err := l.Return(borrowed(t, l)); err != nil {
		t.Error(err)
	}
}
