//go:build linux

package serve

import (
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/link"
)

// borrower drives a leased worker.
type borrower struct {
	c        *client
	w        *child
	in       *link.Reader
	id       uint64
	received uint64
	tasks    uint32
	failed   uint32
	spent    link.Spent
	over     sync.Once
}

// borrow leases a worker, which there must be.
func (c *client) borrow() *borrower {
	c.t.Helper()
	l := c.leaseSome()
	if l.worker == 0 {
		c.t.Fatal("no worker is to be had")
	}
	c.mu.Lock()
	w := c.workers[l.worker]
	w.borrowed.Add(1)
	c.mu.Unlock()
	b := &borrower{c: c, w: w, in: link.NewReader(w.result), id: l.id, received: l.received}
	c.t.Cleanup(b.leave)
	b.send(link.Header{Type: link.Func, Func: 1 << 31}, []byte("do"))
	return b
}

func (b *borrower) send(h link.Header, payload []byte) {
	frame, err := link.AppendFrame(nil, h, payload)
	if err != nil {
		b.c.t.Fatal(err)
	}
	_, _ = syscall.Write(b.w.task, frame)
}

// call has a task run and returns its result, empty when the worker has ended.
func (b *borrower) call(arg string) string {
	b.begin(arg)
	return b.end()
}

func (b *borrower) begin(arg string) {
	m := link.ChunkMessage{}
	payload, item := link.AppendItem(m.Append(nil))
	payload = append(payload, arg...)
	link.EndItem(payload, item, link.OK)
	b.send(link.Header{Type: link.Chunk, Func: 1 << 31, Chunk: b.id, Count: 1}, payload)
	b.id++
}

func (b *borrower) end() string {
	for {
		h, payload, ok := b.in.Next()
		if !ok {
			if b.in.Fill() != nil {
				return ""
			}
			continue
		}
		spent, items, err := link.ParseSpent(payload)
		var item link.Item
		if err == nil {
			_, err = item.Next(items, nil)
		}
		if err != nil || h.Type != link.Results || h.Chunk != b.id-1 {
			b.c.t.Fatalf("frame %+v: %v", h, err)
		}
		b.tasks++
		if item.Status != link.OK {
			b.failed++
		}
		b.spent.Run += spent.Run
		return string(item.Body)
	}
}

func (b *borrower) account(broken uint8) []byte {
	p := appendU64(nil, b.id)
	p = appendU64(p, b.received+b.in.Received())
	p = append(p, u32s(b.tasks, b.failed)...)
	p = appendString(p, "do")
	p = appendU64(appendU64(p, 40), 20)
	for _, ns := range []int64{b.spent.Run, 1, 2, 3} {
		p = appendU64(p, uint64(ns))
	}
	return append(p, broken)
}

// leave ends the use of the worker's pipes.
func (b *borrower) leave() { b.over.Do(b.w.borrowed.Done) }

// back gives the worker back.
func (b *borrower) back(broken uint8) {
	b.leave()
	b.c.send(header{typ: typeUnlease, worker: b.w.number}, b.account(broken))
}

func TestLease(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{})
	for job := range uint64(3) {
		c.submit(1, job, submission{}, "echo a", "error b")
		c.results(job, 2)
		b := c.borrow()
		if l := c.lease(); l.worker != 0 {
			t.Errorf("worker %d was leased, which is not there", l.worker)
		}
		for _, what := range []string{"x", "y", "z"} {
			if got := b.call("echo " + what); got != what {
				t.Errorf("a leased worker returned %q, not %q", got, what)
			}
		}
		b.call("error")
		b.back(0)
	}
	account := c.statistics()
	for _, want := range []string{`"done":12`, `"failed":6`, `"deaths":0`, `"started":1`, `"tasks":18`} {
		if !strings.Contains(account, want) {
			t.Errorf("%s is not in the statistics: %s", want, account)
		}
	}
	if err := c.finish(1); err != "" {
		t.Error(err)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{})
	b := c.borrow()
	b.begin("sleep 50")
	c.submit(1, 1, submission{}, "echo a", "echo b")
	c.await("revoke", func() bool { return slices.Equal(c.revoked, []uint32{b.w.number}) })
	if l := c.lease(); l.worker != 0 {
		t.Errorf("worker %d was leased while tasks wait", l.worker)
	}
	if got := b.end(); got != "50" {
		t.Errorf("it returned %q", got)
	}
	b.back(0)
	c.want(1, "a", "b")
}

// TestRevokeAtClose closes a pool whose worker is leased.
func TestRevokeAtClose(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{workers: 2})
	b := c.borrow()
	c.send(header{typ: typeClose, pool: 1}, nil)
	c.await("revoke", func() bool { return slices.Equal(c.revoked, []uint32{b.w.number}) })
	if got := b.call("echo x"); got != "x" {
		t.Errorf("it returned %q", got)
	}
	b.back(0)
	if err := c.awaitClosed(1); err != "" {
		t.Error(err)
	}
}

// TestDeathWhileLeased has a leased worker end: the engine says so at once, and starts another when it is given back.
func TestDeathWhileLeased(t *testing.T) {
	t.Parallel()
	for _, broken := range []uint8{0, 1} {
		c := connect(t)
		c.open(1, setting{})
		b := c.borrow()
		if got := b.call("die"); got != "" {
			t.Errorf("it returned %q", got)
		}
		c.await("its end", func() bool { return b.w.ended })
		if b.w.why != "" {
			t.Errorf("the engine says that it ended the worker: %s", b.w.why)
		}
		b.back(broken)
		<-b.w.reaped
		if ws, ok := b.w.exit.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
			t.Errorf("it ended with %v", b.w.exit)
		}
		c.submit(1, 1, submission{}, "echo a")
		c.want(1, "a")
		if o := c.results(1, 1)[0]; o.worker == b.w.number {
			t.Errorf("worker %d has ended, and ran a task", o.worker)
		}
	}
}

// TestGivenUp gives back a worker that can't be used any more.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{})
	b := c.borrow()
	b.begin("hang")
	b.back(1)
	<-b.w.reaped
	if !strings.Contains(b.w.why, "gave it up") {
		t.Errorf("why: %q", b.w.why)
	}
	c.submit(1, 1, submission{}, "echo a")
	c.want(1, "a")
}

// TestNoKickWhileLeased has a leased worker end: the engine must not wake itself through a pipe that is the borrower's.
func TestNoKickWhileLeased(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{})
	b := c.borrow()
	if err := unix.Kill(b.w.process.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.await("its end", func() bool { return b.w.ended })
	time.Sleep(100 * time.Millisecond) // longer than the engine waits before it helps a reader
	if n, err := syscall.Read(b.w.result, make([]byte, 10)); n > 0 && err == nil {
		t.Errorf("the engine wrote %d bytes into the pipe", n)
	}
	b.back(0)
	c.submit(1, 1, submission{}, "echo a")
	c.want(1, "a")
}

func TestKillWhileLeased(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{workers: 2})
	b, other := c.borrow(), c.borrow()
	b.begin("hang")
	c.send(header{typ: typeKill, pool: 1}, nil)
	c.awaitClosed(1)
	b.back(1) // too late, which is nobody's fault
	other.back(0)
	if l := c.lease(); l.worker != 0 {
		t.Errorf("worker %d was leased of a pool that has ended", l.worker)
	}
	c.submit(1, 1, submission{}, "echo a")
	if o := c.results(1, 1)[0]; o.cause != uint8(engine.Refused) {
		t.Errorf("a task: %+v", o)
	}
}

// TestMaxTasksWhileLeased counts what borrowers run.
func TestMaxTasksWhileLeased(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{maxTasks: 2})
	b := c.borrow()
	b.call("echo a")
	b.call("echo b")
	b.back(0)
	<-b.w.reaped
	if b.w.why != "" || !b.w.exit.Success() {
		t.Errorf("it ended with %v: %s", b.w.exit, b.w.why)
	}
	c.borrow().back(0)
}
