// Package proc starts, watches and kills one process and collects what it leaves behind: exit status, standard
// error, the runtime's crash report. It doesn't know what the process is for or how one talks to it.
package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// lingering is how long after a process's end its output is still read: its own children may hold the other end.
const lingering = 200 * time.Millisecond

// Spec says what to start.
type Spec struct {
	Path   string   // of the program
	Args   []string // with the name that the process shows, first
	Env    []string
	Stdout io.Writer // nil: the parent's; written to by one goroutine of this process
	Stderr io.Writer // nil: the parent's; written to by one goroutine of this process
	Files  []int     // the process's descriptors from 3 on; they stay the caller's to close
	Crash  int       // the read end of its crash pipe; Start takes it over, also when it fails
}

// Process is a running or ended process, the leader of a process group of its own. Its methods are safe for
// concurrent use.
type Process struct {
	p      *os.Process
	ended  chan struct{}
	gone   chan struct{} // ended, and all output read
	state  *os.ProcessState
	stderr tail

	parentPeak int64 // the most memory that this process had had when it started the other
	crash      tail
	quit       atomic.Bool // what comes on standard error now was asked for, and is for the autopsy alone
}

// Autopsy is what is known of an ended process.
type Autopsy struct {
	State  *os.ProcessState    // nil for an adopted process
	Status *syscall.WaitStatus // how an adopted process ended, nil if the system didn't tell
	Report []byte              // what the runtime wrote to the crash pipe
	Stderr []byte              // the end of standard error, and the last fatal line if it came before that
	Memory int64               // the most bytes that it had resident, 0 if that isn't known to be more than this process had
}

// Start starts a process.
func Start(s Spec) (_ *Process, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("starting a worker process: %w", err)
		}
	}()
	var opened []*os.File // to be closed in this process
	defer func() {
		for _, f := range opened {
			f.Close()
		}
	}()
	if err := syscall.SetNonblock(s.Crash, true); err != nil {
		syscall.Close(s.Crash)
		return nil, err
	}
	crash := os.NewFile(uintptr(s.Crash), "crash")
	null, err := os.Open(os.DevNull)
	if err != nil {
		crash.Close()
		return nil, err
	}
	opened = append(opened, null)

	p := &Process{ended: make(chan struct{}), gone: make(chan struct{})}
	copies := []copying{{from: crash, tail: &p.crash}}
	abandon := func() {
		for _, c := range copies {
			c.from.Close()
		}
	}
	// output gives the file that the process writes to, and has it copied where it isn't the program's own.
	output := func(to io.Writer, own *os.File, keep *tail) (*os.File, error) {
		if to == nil {
			to = own
		}
		if f, ok := to.(*os.File); ok && keep == nil {
			return f, nil
		}
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		opened = append(opened, w)
		copies = append(copies, copying{from: r, to: to, tail: keep, quiet: &p.quit})
		return w, nil
	}
	stdout, err := output(s.Stdout, os.Stdout, nil)
	if err != nil {
		abandon()
		return nil, err
	}
	stderr, err := output(s.Stderr, os.Stderr, &p.stderr)
	if err != nil {
		abandon()
		return nil, err
	}
	p.p, err = startProcess(s, []*os.File{null, stdout, stderr})
	if err != nil {
		abandon()
		return nil, err
	}
	p.parentPeak = ownPeak() // now, when it is at least what the process has inherited
	go p.watch(copies)
	return p, nil
}

// startProcess passes raw descriptors, which os.StartProcess can't: an os.File of a blocking pipe would be closed by
// its finalizer.
func startProcess(s Spec, std []*os.File) (*os.Process, error) {
	files := append([]*os.File(nil), std...)
	defer func() {
		for _, f := range files[len(std):] {
			f.Close()
		}
	}()
	for _, fd := range s.Files {
		dup, err := dupCloseOnExec(fd)
		if err != nil {
			return nil, err
		}
		files = append(files, os.NewFile(uintptr(dup), "inherited"))
	}
	return os.StartProcess(s.Path, s.Args, &os.ProcAttr{
		Env:   s.Env,
		Files: files,
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
}

// watch waits for the process, takes its own children down with it, and sees its output to the end.
func (p *Process) watch(copies []copying) {
	carry(copies, func() {
		if awaitExit(p.p.Pid) {
			_ = syscall.Kill(-p.p.Pid, syscall.SIGKILL) // the group; the ended process still holds its number
		}
		p.state, _ = p.p.Wait()
		close(p.ended)
	})
	close(p.gone)
}

// Pid returns the process's number.
func (p *Process) Pid() int { return p.p.Pid }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Quit asks the Go runtime in the process for its stacks; it prints them and exits. From now on, standard error is kept
// for the autopsy and no longer passed on.
func (p *Process) Quit() {
	p.quit.Store(true)
	_ = p.p.Signal(syscall.SIGQUIT)
}

// Kill ends the process and its group at once.
func (p *Process) Kill() {
	// A leader that has been waited for gives its number free; os.Process knows, so ask it first.
	if err := p.p.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		select {
		case <-p.ended:
		default:
			_ = syscall.Kill(-p.p.Pid, syscall.SIGKILL)
		}
	}
}

// Autopsy waits for the process's end and the last of its output.
func (p *Process) Autopsy() Autopsy {
	<-p.gone
	return Autopsy{State: p.state, Report: p.crash.bytes(), Stderr: p.stderr.bytes(), Memory: peakMemory(p.state, p.parentPeak)}
}

// copying carries one output of the process to where it belongs.
type copying struct {
	from  *os.File
	to    io.Writer    // nil: nowhere
	tail  *tail        // nil: none is kept
	quiet *atomic.Bool // true: no longer to to
}

// carry copies while await waits for the process's end, and then for a moment longer.
func carry(copies []copying, await func()) {
	done := make(chan struct{}, len(copies))
	for _, c := range copies {
		go func() { c.run(); done <- struct{}{} }()
	}
	await()
	for _, c := range copies {
		_ = c.from.SetReadDeadline(time.Now().Add(lingering))
	}
	for range copies {
		<-done
	}
}

func (c copying) run() {
	defer c.from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := c.from.Read(buf)
		if n > 0 {
			if c.tail != nil {
				c.tail.add(buf[:n])
			}
			if c.to != nil && !(c.tail != nil && c.quiet.Load()) {
				_, _ = c.to.Write(buf[:n]) // the program's writer; the process must not stall because it fails
			}
		}
		if err != nil {
			return
		}
	}
}
