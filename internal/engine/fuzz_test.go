//go:build linux

package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
)

// stream makes a worker's stream of frames, as a seed.
func stream(frames ...func([]byte) []byte) (b []byte) {
	for _, f := range frames {
		b = f(b)
	}
	return b
}

func results(chunk uint64, first, count uint32, bodies ...string) func([]byte) []byte {
	return func(b []byte) []byte {
		b, at := link.AppendHeader(b)
		b = append(b, make([]byte, link.StatsSize)...)
		for _, body := range bodies {
			var item int
			b, item = link.AppendItem(b)
			b = append(b, body...)
			link.EndItem(b, item, link.Status(len(body)%9))
		}
		_ = link.EndFrame(b, at, link.Header{Type: link.Results, Chunk: chunk, First: first, Count: count})
		return b
	}
}

func plain(typ link.Type, chunk uint64, payload string) func([]byte) []byte {
	return func(b []byte) []byte {
		b, _ = link.AppendFrame(b, link.Header{Type: typ, Chunk: chunk}, []byte(payload))
		return b
	}
}

// FuzzStream has a worker that holds two chunks, of 3 and 2 tasks, write any bytes. Each task ends at most once, those
// that haven't are still accounted for, and the job is neither done early nor never.
func FuzzStream(f *testing.F) {
	f.Add([]byte{})
	f.Add(stream(results(1, 0, 3, "", "", ""), results(2, 0, 2, "x", "xx")))
	f.Add(stream(results(1, 0, 1, ""), plain(link.Stuck, 1, "stack"), results(1, 1, 1, "123456"), results(1, 2, 1, "")))
	f.Add(stream(plain(link.Returned, 2, ""), results(1, 0, 3, "", "", "")))
	f.Add(stream(plain(link.Returned, 1, ""), plain(link.Returned, 2, "")))
	f.Add(stream(results(1, 0, 1, "", "and one too many, too long for padding")))
	f.Add(stream(results(1, 0, 3, "", "")))
	f.Add(stream(results(2, 0, 2, "", "")))
	f.Add(stream(plain(link.Hello, 1, ""), plain(link.Bye, 1, "")))
	f.Add(binary.LittleEndian.AppendUint64(nil, 1<<63-1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 32<<10 {
			return
		}
		e := &Engine{cfg: config("", 1), jobs: make(map[*Job]struct{}), stopping: make(chan struct{})}
		e.drained = sync.NewCond(&e.mu)
		e.ledger, e.parent = ledger.New(os.Getpid())
		l, child, err := link.New(testArena)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			link.CloseAll(append([]int{child[0], l.CrashFD()}, child[2:]...))
			l.Close()
		}()
		w := &conn{e: e, link: l, nextID: 1, acct: e.ledger.Open("worker", 1, 0), shares: new(shares)}
		const n = 5
		task := &work{}
		j := NewJob(context.Background(), e.Function("f"), task, 3)
		j.Retries = 1 // so that expired tasks go back
		if err := e.Submit(j, n, false); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			e.mu.Lock()
			w.take(1 << 30)
			e.mu.Unlock()
			w.post()
		}
		if len(w.flights) != 2 {
			t.Fatalf("%d chunks are on their way", len(w.flights))
		}
		if _, err := syscall.Write(child[1], b); len(b) > 0 && err != nil {
			t.Fatal(err)
		}
		link.CloseAll(child[1:2])
		for err = nil; err == nil; {
			err = w.exchange()
		}
		var bad *protocolError
		if !errors.Is(err, errEnded) && !errors.As(err, &bad) {
			t.Errorf("it ended with %v", err)
		}
		if len(task.twice) > 0 {
			t.Fatalf("these ended twice: %v", task.twice)
		}
		e.mu.Lock()
		waiting := e.queue.Len()
		e.mu.Unlock()
		flying := make(map[int]bool)
		for _, f := range w.flights {
			for i := f.next; i < f.span.Hi; i++ {
				if _, ended := task.ended[i]; ended || flying[i] {
					t.Fatalf("task %d has ended, or is in two chunks, and would be run again", i)
				}
				flying[i] = true
			}
		}
		if len(task.ended)+waiting+len(flying) != n || j.left.Load() != int64(n-len(task.ended)) {
			t.Fatalf("%d tasks have ended, %d wait, %d are on their way; %d are said to be left", len(task.ended), waiting, len(flying), j.left.Load())
		}
		select {
		case <-j.Done():
			if len(task.ended) != n {
				t.Fatal("done before its tasks are")
			}
		default:
			if len(task.ended) == n {
				t.Fatal("all tasks have ended, but the job isn't done")
			}
		}
	})
}
