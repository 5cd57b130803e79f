package engine

import (
	"time"

	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/proc"
)

// Process is a worker's process, as a front end may provide it. Its methods are safe for concurrent use.
type Process interface {
	// Pid returns the process's number.
	Pid() int
	// Worker returns the number that the front end knows the worker by.
	Worker() uint32
	// Ended is closed when the process has ended.
	Ended() <-chan struct{}
	// Stop ends it after it had the chance to print its stacks. It doesn't wait. why is as in Kill.
	Stop(why error)
	// Kill ends it and its group at once. why is the engine's reason; nil if it has ended of itself, as far as one knows.
	Kill(why error)
	// Autopsy waits for its end and the last of its output.
	Autopsy() proc.Autopsy
}

// Launch starts a worker's process with the worker's descriptors, in the order that begins at link.TaskFD, which stay
// the caller's to close. It takes over the parent's crash pipe, also when it fails.
type Launch func(l *link.Parent, child []int) (Process, error)

// started is a process of this program's own.
type started struct{ *proc.Process }

func (started) Worker() uint32 { return 0 }

func (s started) Kill(error) { s.Process.Kill() }

func (s started) Stop(error) {
	s.Quit()
	time.AfterFunc(proc.StackWait, s.Process.Kill)
}

// startOwn is the Launch of a pool whose workers are this program's children.
func (e *Engine) startOwn(l *link.Parent, child []int) (Process, error) {
	p, err := proc.Start(proc.Spec{
		Path:   e.cfg.Path,
		Args:   e.cfg.Args,
		Env:    environment(e.cfg.Env, e.cfg.Depth+1),
		Stdout: e.cfg.Stdout,
		Stderr: e.cfg.Stderr,
		Files:  child,
		Crash:  l.CrashFD(),
	})
	if err != nil {
		return nil, err
	}
	return started{p}, nil
}
