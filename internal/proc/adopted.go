package proc

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// StackWait is how long a process that was asked for its stacks has to print them.
	StackWait = 300 * time.Millisecond
	// stackQuiet is how long nothing more has come when all of them have.
	stackQuiet = 20 * time.Millisecond
)

// Foreign says what process to adopt, which somebody else has started and will reap.
type Foreign struct {
	PID    int
	Errors int       // the read end of its standard error; Adopt takes it over, also when it fails
	Crash  int       // the read end of its crash pipe, likewise
	Stderr io.Writer // nil: nowhere
}

// Adopted is a process that somebody else has started, and reaps when it has been told that it may: until then, its
// number can't be another's. Its methods are safe for concurrent use.
type Adopted struct {
	pid    int
	handle handle
	ended  chan struct{}
	gone   chan struct{} // ended, and all output read
	stderr tail
	crash  tail
	quit   atomic.Bool
	status *syscall.WaitStatus // once ended

	mu     sync.Mutex
	closed bool // the handle is
}

// Adopt begins to watch a process.
func Adopt(f Foreign) (*Adopted, error) {
	for i, fd := range [...]int{f.Errors, f.Crash} {
		if err := syscall.SetNonblock(fd, true); err != nil {
			syscall.Close(f.Errors)
			syscall.Close(f.Crash)
			return nil, fmt.Errorf("adopting process %d: pipe %d: %w", f.PID, i, err)
		}
	}
	errs, crash := os.NewFile(uintptr(f.Errors), "stderr"), os.NewFile(uintptr(f.Crash), "crash")
	h, err := openHandle(f.PID)
	if err != nil {
		errs.Close()
		crash.Close()
		return nil, fmt.Errorf("adopting process %d: %w", f.PID, err)
	}
	p := &Adopted{pid: f.PID, handle: h, ended: make(chan struct{}), gone: make(chan struct{})}
	go p.watch([]copying{{from: crash, tail: &p.crash}, {from: errs, to: f.Stderr, tail: &p.stderr, quiet: &p.quit}})
	return p, nil
}

// watch is Process's, but for the wait.
func (p *Adopted) watch(copies []copying) {
	carry(copies, func() {
		p.handle.await()
		p.status = exitStatus(p.pid)
		p.mu.Lock()
		p.closed = true
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // the group; nobody has reaped the ended process
		p.handle.close()
		p.mu.Unlock()
		close(p.ended)
	})
	close(p.gone)
}

// Pid returns the process's number.
func (p *Adopted) Pid() int { return p.pid }

// Ended is closed when the process has ended.
func (p *Adopted) Ended() <-chan struct{} { return p.ended }

// Stop asks the process for its stacks, on its crash pipe, and ends it when they have come, or nothing has for
// StackWait. From now on, standard error is kept for the autopsy and no longer passed on.
func (p *Adopted) Stop() {
	p.quit.Store(true)
	p.signal(syscall.SIGQUIT, false)
	go p.stop()
}

func (p *Adopted) stop() {
	timer := time.NewTicker(stackQuiet)
	defer timer.Stop()
	before := p.crash.size()
	last := before
	for end := time.Now().Add(StackWait); ; {
		select {
		case <-p.ended:
			return
		case now := <-timer.C:
			n := p.crash.size()
			if (n > before && n == last) || now.After(end) {
				p.Kill()
				return
			}
			last = n
		}
	}
}

// Kill ends the process and its group at once.
func (p *Adopted) Kill() { p.signal(syscall.SIGKILL, true) }

func (p *Adopted) signal(s syscall.Signal, group bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.handle.signal(s)
	if group {
		_ = syscall.Kill(-p.pid, s)
	}
}

// Autopsy waits for the process's end and the last of its output. State and Memory are not known, Status may be.
func (p *Adopted) Autopsy() Autopsy {
	<-p.gone
	return Autopsy{Status: p.status, Report: p.crash.bytes(), Stderr: p.stderr.bytes()}
}
