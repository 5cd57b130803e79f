//go:build linux

package engine

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/link"
)

// lend waits until a worker is to be had.
func lend(t *testing.T, e *Engine) *Loan {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if l := e.Lend(); l != nil {
			return l
		}
	}
	t.Fatal("no worker is to be had")
	return nil
}

// borrowed drives a worker that was lent: it has one task run.
func borrowed(t *testing.T, l *Loan) Receipt {
	t.Helper()
	task, result := l.w.link.Ends()
	id, received := l.Position()
	m := link.ChunkMessage{}
	payload, item := link.AppendItem(m.Append(nil))
	payload = append(payload, "lent"...)
	link.EndItem(payload, item, link.OK)
	b, err := link.AppendFrame(nil, link.Header{Type: link.Func, Func: 1 << 31}, []byte("f"))
	if err == nil {
		b, err = link.AppendFrame(b, link.Header{Type: link.Chunk, Func: 1 << 31, Chunk: id, Count: 1}, payload)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(task, b); err != nil {
		t.Fatal(err)
	}
	in := link.NewReader(result)
	for {
		h, payload, ok := in.Next()
		if !ok {
			if err := in.Fill(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var it link.Item
		spent, items, err := link.ParseSpent(payload)
		if err == nil {
			_, err = it.Next(items, nil)
		}
		if err != nil || h.Type != link.Results || h.Chunk != id || string(it.Body) != "lent" {
			t.Fatalf("%+v: %v, %q", h, err, it.Body)
		}
		return Receipt{NextID: id + 1, Received: received + in.Received(), Tasks: 1, Spent: spent}
	}
}

// revocations remembers what was revoked.
type revocations struct {
	mu sync.Mutex
	n  int
}

func (r *revocations) revoke(uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
}

func (r *revocations) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

func TestLend(t *testing.T) {
	t.Parallel()
	var r revocations
	cfg := config("good", 2)
	cfg.Revoke = r.revoke
	e := open(t, cfg)
	run := func(n int) {
		w := &work{}
		j := NewJob(context.Background(), e.Function("f"), w, 0)
		if err := e.Submit(j, n, false); err != nil {
			t.Fatal(err)
		}
		w.await(t, j, n)
	}
	for range 3 {
		run(10)
		a, b := lend(t, e), lend(t, e)
		if l := e.Lend(); l != nil {
			t.Error("a third of two workers was lent")
		}
		if err := a.Return(borrowed(t, a)); err != nil {
			t.Error(err)
		}
		run(10) // by the one that is back
		if err := b.Return(borrowed(t, b)); err != nil {
			t.Error(err)
		}
		if err := b.Return(Receipt{}); err != nil {
			t.Errorf("a second return: %v", err)
		}
	}
	if n := r.count(); n > 3 { // as often as two were needed and one was there
		t.Errorf("%d revocations", n)
	}
	if c := e.Counts(); c.Done != 66 || c.Deaths != 0 {
		t.Errorf("counts: %+v", c)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if e.Lend() != nil {
		t.Error("a closed pool lends")
	}
}

// TestLendRevokes has tasks wait for a worker that was lent.
func TestLendRevokes(t *testing.T) {
	t.Parallel()
	var r revocations
	cfg := config("good", 1)
	cfg.Revoke = r.revoke
	e := open(t, cfg)
	l := lend(t, e)
	w := &work{}
	j := NewJob(context.Background(), e.Function("f"), w, 0)
	if err := e.Submit(j, 5, true); err != nil {
		t.Fatal(err)
	}
	if err := e.Extend(j, 5); err != nil {
		t.Fatal(err)
	}
	if n := r.count(); n != 1 {
		t.Errorf("%d revocations", n)
	}
	if err := l.Return(borrowed(t, l)); err != nil {
		t.Error(err)
	}
	e.Finish(j)
	w.await(t, j, 10)
}

// TestLendAndLose gives back workers that have ended, that are to be, and that can't have done what is said.
func TestLendAndLose(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before func(l *Loan)
		change func(r *Receipt)
		wrong  bool
	}{
		"ended":    {before: func(l *Loan) { l.w.proc.Kill(nil); <-l.w.proc.Ended() }},
		"broken":   {change: func(r *Receipt) { r.Broken = true }},
		"ids":      {change: func(r *Receipt) { r.NextID = 0 }, wrong: true},
		"received": {change: func(r *Receipt) { r.Received = 3 }, wrong: true},
		"tasks":    {change: func(r *Receipt) { r.Tasks = 2 }, wrong: true},
		"failed":   {change: func(r *Receipt) { r.Failed = 2 }, wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config("good", 1)
			cfg.Revoke = func(uint32) {}
			e := open(t, cfg)
			l := lend(t, e)
			r := borrowed(t, l)
			if test.before != nil {
				test.before(l)
			}
			if test.change != nil {
				test.change(&r)
			}
			if err := l.Return(r); (err != nil) != test.wrong {
				t.Errorf("the return: %v", err)
			}
			w := &work{}
			j := NewJob(context.Background(), e.Function("f"), w, 0)
			if err := e.Submit(j, 3, false); err != nil {
				t.Fatal(err)
			}
			w.await(t, j, 3)
			if c := e.Counts(); c.Deaths != 1 {
				t.Errorf("counts: %+v", c)
			}
		})
	}
}

// TestKillLent kills, and closes, a pool whose worker is lent.
func TestKillLent(t *testing.T) {
	t.Parallel()
	cfg := config("good", 1)
	revoked := make(chan struct{}, 1)
	cfg.Revoke = func(uint32) { revoked <- struct{}{} }
	e := open(t, cfg)
	l := lend(t, e)
	e.Kill()
	if err := l.Return(Receipt{}); err != nil {
		t.Error(err)
	}
	e = open(t, cfg)
	l = lend(t, e)
	closed := make(chan error)
	go func() { closed <- e.Close() }()
	<-revoked
	if err := l.Return(borrowed(t, l)); err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestLaunch has workers started by somebody else, first in vain.
func TestLaunch(t *testing.T) {
	t.Parallel()
	no := errors.New("not now")
	cfg := config("good", 1)
	cfg.Launch = func(l *link.Parent, _ []int) (Process, error) {
		link.CloseAll([]int{l.CrashFD()})
		return nil, no
	}
	if _, err := Open(context.Background(), cfg); !errors.Is(err, no) {
		t.Errorf("Open: %v", err)
	}
	var mu sync.Mutex
	var launched []*known
	var self *Engine
	ready := make(chan struct{})
	cfg.Launch = func(l *link.Parent, child []int) (Process, error) {
		<-ready
		p, err := self.startOwn(l, child)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		k := &known{Process: p, number: uint32(len(launched) + 1)}
		launched = append(launched, k)
		return k, nil
	}
	self = Start(cfg)
	close(ready)
	t.Cleanup(self.Kill)
	if err := self.Ready(context.Background()); err != nil {
		t.Fatal(err)
	}
	w := &work{}
	j := NewJob(context.Background(), self.Function("f"), w, 0)
	if err := self.Submit(j, 3, false); err != nil {
		t.Fatal(err)
	}
	w.await(t, j, 3)
	if l := lend(t, self); l.Worker() != 1 {
		t.Errorf("worker %d", l.Worker())
	} else if err := l.Return(borrowed(t, l)); err != nil {
		t.Error(err)
	}
	launched[0].Process.Kill(nil)
	w = &work{}
	j = NewJob(context.Background(), self.Function("f"), w, 0)
	if err := self.Deal(j, 3, false); err != nil {
		t.Fatal(err)
	}
	w.await(t, j, 3)
	if len(launched) != 2 {
		t.Errorf("%d workers were launched", len(launched))
	}
	if err := self.Close(); err != nil {
		t.Error(err)
	}
	for _, k := range launched {
		if k.why != nil {
			t.Errorf("worker %d was ended: %v", k.number, k.why)
		}
	}
}

// known is a process with a number, and the reason for its end.
type known struct {
	Process
	number uint32
	why    error
}

func (k *known) Worker() uint32 { return k.number }

func (k *known) Kill(why error) {
	if k.why == nil {
		k.why = why
	}
	k.Process.Kill(why)
}
