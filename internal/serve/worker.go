package serve

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/proc"
)

var errGone = errors.New("the client has ended")

// maxPID is more than the number of any process can be.
const maxPID = 1 << 22

// worker is a process that the client was asked to start.
type worker struct {
	*proc.Adopted
	c      *connection
	pool   *pool
	number uint32
	answer chan answer // what the client said of the start; nil once it did, for the reading goroutine

	why     atomic.Pointer[string] // the engine ended it
	telling sync.Once              // the client of its end
	last    proc.Autopsy           // once it was told
}

type answer struct {
	pid int
	why string
}

// launch has the client start a worker.
func (p *pool) launch(l *link.Parent, child []int) (_ engine.Process, err error) {
	c := p.c
	crash := l.CrashFD()
	errs, write, err := pipe()
	if err != nil {
		_ = syscall.Close(crash)
		return nil, fmt.Errorf("a pipe for standard error: %w", err)
	}
	a := make(chan answer, 1)
	w := &worker{c: c, pool: p, answer: a}
	c.mu.Lock()
	c.last++
	w.number = c.last
	c.workers[w.number] = w
	c.mu.Unlock()
	task, result := l.Ends()
	fds := append(append([]int(nil), child...), write, task, result)
	fds[link.LeasesFD-link.TaskFD] = l.LeasesFD() // it is the client that gives the places of results back
	<-c.out.with(header{typ: typeStart, pool: p.number, worker: w.number}, fds)
	_ = syscall.Close(write)
	abandon := func(err error) (engine.Process, error) {
		_ = syscall.Close(errs)
		_ = syscall.Close(crash)
		c.forget(w)
		return nil, err
	}
	var got answer
	select {
	case got = <-a:
	case <-c.gone:
		return abandon(errGone)
	}
	if got.pid == 0 {
		w.end(0, got.why, proc.Autopsy{})
		return abandon(fmt.Errorf("the worker could not be started: %s", got.why))
	}
	w.Adopted, err = proc.Adopt(proc.Foreign{PID: got.pid, Errors: errs, Crash: crash, Stderr: p.stderr})
	if err != nil {
		w.end(got.pid, err.Error(), proc.Autopsy{})
		c.forget(w)
		return nil, err
	}
	c.running.Go(w.watch)
	return w, nil
}

// started takes what the client says of a start.
func (c *connection) started(h header, payload []byte) error {
	p := parser{Rest: payload}
	got := answer{pid: int(p.U32())}
	if got.pid == 0 {
		got.why = string(p.Bytes())
	}
	if err := ended(&p, "started"); err != nil {
		return err
	}
	if got.pid == 1 || got.pid > maxPID || got.pid == os.Getpid() {
		return wrong("started: process %d can't be a worker", got.pid)
	}
	c.mu.Lock()
	w := c.workers[h.worker]
	c.mu.Unlock()
	if w == nil || w.answer == nil {
		return wrong("started: worker %d is not to be started", h.worker)
	}
	a := w.answer
	w.answer = nil
	a <- got
	return nil
}

func (c *connection) forget(w *worker) {
	c.mu.Lock()
	delete(c.workers, w.number)
	c.mu.Unlock()
}

// watch tells the client of the end of a worker that it drives itself: it may be waiting for that. Of any other it is told
// when all that the worker has finished is on its way, by Autopsy.
func (w *worker) watch() {
	<-w.Ended()
	w.c.mu.Lock()
	_, lent := w.c.loans[w.number]
	w.c.mu.Unlock()
	if lent {
		w.tell()
	}
}

// tell tells the client of the worker's end, once.
func (w *worker) tell() {
	w.telling.Do(func() {
		w.last = w.Adopted.Autopsy()
		why := ""
		if s := w.why.Load(); s != nil {
			why = *s
		}
		w.end(w.Pid(), why, w.last)
		w.c.forget(w)
	})
}

func (w *worker) end(pid int, why string, a proc.Autopsy) {
	w.c.out.frame(header{typ: typeEnded, pool: w.pool.number, worker: w.number}, func(b []byte) []byte {
		b = appendU32(b, uint32(pid))
		b = appendString(b, why)
		b = appendString(b, a.Report[:min(len(a.Report), maxText)])
		return appendString(b, a.Stderr)
	})
}

// Worker is engine.Process's.
func (w *worker) Worker() uint32 { return w.number }

// Stop is engine.Process's.
func (w *worker) Stop(why error) {
	w.note(why)
	w.Adopted.Stop()
}

// Kill is engine.Process's.
func (w *worker) Kill(why error) {
	w.note(why)
	w.Adopted.Kill()
}

// note remembers the first reason for which the worker was ended.
func (w *worker) note(why error) {
	if why == nil {
		return
	}
	select {
	case <-w.Ended():
	default:
		s := why.Error()
		w.why.CompareAndSwap(nil, &s)
	}
}

// Autopsy is engine.Process's. The client has been told of the end when it returns, and so before it is of what the end
// did to tasks.
func (w *worker) Autopsy() proc.Autopsy {
	w.tell()
	return w.last
}
