package brine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/proc"
)

// ErrClosed is the error of work that was given to a closed pool, or was not finished when the pool was killed.
var ErrClosed = engine.ErrClosed

// ErrTimeout is in the error of a task that was over its Limits.Timeout. It is context.DeadlineExceeded too.
var ErrTimeout error = timeoutSentinel{}

type timeoutSentinel struct{}

func (timeoutSentinel) Error() string        { return "brine: task timed out" }
func (timeoutSentinel) Is(target error) bool { return target == context.DeadlineExceeded }
func (timeoutSentinel) Timeout() bool        { return true }

// TaskError is the error of one task that did not succeed. Err says how: a *RemoteError when the function returned an
// error, a *PanicError when it panicked, a *CrashError when its worker died with it (several, joined, when it was
// retried and did so again), an error that is ErrTimeout when it was over its time, the context's when it was
// cancelled, or what was wrong with its argument or result when that could not be encoded or decoded.
type TaskError struct {
	Func    string // the function's name, or the explicit one exactly
	Index   int    // of the task in Map, All and Unordered; 0 for a single one
	Attempt int    // how often it was run; 0 when it never was
	Err     error
}

// Error returns one line, or more where the error holds a stack.
func (e *TaskError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "brine: task %d of %s", e.Index, shortName(e.Func))
	if e.Attempt > 1 {
		fmt.Fprintf(&b, " (run %d times)", e.Attempt)
	}
	fmt.Fprintf(&b, ": %s", strings.TrimPrefix(e.Err.Error(), "brine: "))
	return b.String()
}

// Unwrap returns Err.
func (e *TaskError) Unwrap() error { return e.Err }

// RemoteError is an error that a function returned in a worker: its type there and its text. errors.Is finds the
// errors that were named to Sentinels, and many of the standard library, and errors.As those of a type that was given
// to RegisterType.
type RemoteError = codec.RemoteError

// PanicError is a panic of a task.
type PanicError struct {
	Value string // the text of the panic's value
	Stack string // of the goroutine, from the panic on
}

// Error names the function that panicked, where the stack tells, and the value.
func (e *PanicError) Error() string {
	if at := faultIn([]byte(e.Stack)); at != "" {
		return "panic in " + at + ": " + e.Value
	}
	return "panic: " + e.Value
}

// CrashError is the death of a worker while it ran a task.
type CrashError struct {
	// State is the process's end: exit code or signal, and what it had used.
	State *os.ProcessState
	// Report is what the Go runtime in the worker wrote to its crash output: the stacks, without the line that says
	// why, which is in Stderr.
	Report []byte
	// Stderr is the end of the worker's standard error.
	Stderr []byte
	// Memory is the most memory that the process had resident, in bytes.
	Memory int64

	why error // why it was ended, if it was ended on purpose
}

// Error names the signal or exit code, the line in which the process said why, and the function at fault, as far as they
// are known.
func (e *CrashError) Error() string {
	var b strings.Builder
	b.WriteString("worker died: ")
	if e.State != nil {
		b.WriteString(e.State.String())
	}
	if e.why != nil {
		fmt.Fprintf(&b, ": %v", e.why)
		return b.String()
	}
	if line := e.Cause(); line != "" {
		b.WriteString(": " + line)
	}
	if at := e.Function(); at != "" {
		b.WriteString(" in " + at)
	}
	return b.String()
}

// Unwrap returns why the worker was ended, if that was on purpose.
func (e *CrashError) Unwrap() error { return e.why }

// Cause returns the line in which the runtime, or the program itself, said why the worker ends; empty when nothing was
// said, as after os.Exit or SIGKILL.
func (e *CrashError) Cause() string {
	exit, signal := -1, syscall.Signal(-1)
	if e.State != nil {
		exit = e.State.ExitCode()
		if ws, ok := e.State.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			signal = ws.Signal()
		}
	}
	// Exit status 2 is that of the Go runtime, and SIGABRT that of one with GOTRACEBACK=crash and of C.
	if exit == 2 || signal == syscall.SIGABRT {
		if line := lastFatal(e.Stderr); line != "" {
			return line
		}
	}
	if exit > 0 {
		lines := strings.Split(strings.TrimSpace(string(e.Stderr)), "\n")
		return truncated(lines[len(lines)-1], 200)
	}
	return ""
}

// Function returns the function at fault, as far as the report has it.
func (e *CrashError) Function() string {
	if at := faultIn(e.Report); at != "" {
		return at
	}
	if e.State != nil && e.State.ExitCode() == 2 {
		return faultIn(e.Stderr)
	}
	return ""
}

func truncated(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// lastFatal finds the last line in which a Go runtime says why it ends.
func lastFatal(stderr []byte) string {
	last := ""
	for line := range strings.Lines(string(stderr)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "SIG") && strings.Contains(line, ": ") {
			last = line
		}
	}
	return truncated(last, 500)
}

// faultIn finds the function in which a stack begins that is not the runtime's own.
func faultIn(stack []byte) string {
	s := string(stack)
	if i := strings.Index(s, "goroutine "); i > 0 {
		s = s[i:]
	}
	for line := range strings.Lines(s) {
		name, _, ok := strings.Cut(line, "(0x")
		if !ok {
			if i := strings.LastIndexByte(line, '('); i > 0 {
				name, ok = line[:i], true
			}
		}
		if !ok || strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "goroutine ") || strings.HasPrefix(line, "created by ") {
			continue
		}
		switch {
		case strings.HasPrefix(name, "runtime."), strings.HasPrefix(name, "runtime/"), strings.HasPrefix(name, "internal/"), strings.HasPrefix(name, "panic"), strings.HasPrefix(name, "sync."), strings.HasPrefix(name, "github.com/brinepool/brine/internal/"), strings.HasPrefix(name, "github.com/brinepool/brine.(*task"):
			continue
		}
		return shortName(strings.TrimSpace(name))
	}
	return ""
}

// taskGoroutine finds the goroutine that ran the task among the stacks of a worker, down to where Brine called it.
func taskGoroutine(stacks string) string {
	goroutines := strings.Split(strings.TrimSpace(stacks), "\n\n")
	for _, g := range goroutines {
		if strings.Contains(g, "internal/worker.(*process).runChunk") {
			g, _, _ = strings.Cut(g, "\ngithub.com/brinepool/brine.")
			return g
		}
	}
	return goroutines[0]
}

// timeoutError is the error of a task that was over its time.
type timeoutError struct {
	limit  time.Duration
	stack  string // where it was when its time was up
	forced bool   // it did not return; its worker was ended
	errs   []error
}

func (e *timeoutError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "timed out after %v", e.limit)
	if at := faultIn([]byte(taskGoroutine(e.stack))); at != "" {
		b.WriteString(" in " + at)
	}
	if e.forced {
		b.WriteString(" and did not stop: its worker was ended")
	}
	if stack := taskGoroutine(e.stack); stack != "" {
		b.WriteString("\n" + stack)
	}
	return b.String()
}

func (e *timeoutError) Unwrap() []error { return append([]error{ErrTimeout}, e.errs...) }

// Timeout says that this is a timeout, as net.Error does.
func (e *timeoutError) Timeout() bool { return true }

func crashError(d engine.Death) *CrashError {
	return &CrashError{State: d.State, Report: d.Report, Stderr: d.Stderr, Memory: proc.PeakMemory(d.State), why: d.Err}
}

// taskError turns the engine's failure of a task into the error that the caller sees.
func taskError(name string, i int, f *engine.Failure) error {
	e := &TaskError{Func: name, Index: i, Attempt: f.Attempt}
	var crashes []error
	for _, d := range f.Deaths {
		crashes = append(crashes, crashError(d))
	}
	switch f.Cause {
	case engine.Panicked:
		e.Err = &PanicError{f.Value, f.Stack}
	case engine.Exited:
		e.Err = errors.New("the function ended its goroutine (runtime.Goexit)")
	case engine.Crashed:
		e.Err = errors.Join(crashes...)
		if len(crashes) == 1 {
			e.Err = crashes[0]
		}
	case engine.TimedOut:
		t := &timeoutError{limit: f.Timeout, stack: f.Stack, forced: len(f.Deaths) > 0, errs: crashes}
		if f.Err != nil {
			t.errs = append(t.errs, f.Err)
		}
		if t.stack == "" && len(f.Deaths) > 0 {
			t.stack = string(f.Deaths[len(f.Deaths)-1].Report)
		}
		e.Err = t
	case engine.Unsent:
		e.Err = fmt.Errorf("argument: %w", f.Err)
	case engine.Unread:
		e.Err = fmt.Errorf("result: %w", f.Err)
	case engine.Refused:
		return f.Err
	default:
		e.Err = f.Err
	}
	return e
}

// openError turns what the engine says of a failed start into what Open returns.
func openError(err error) error {
	var s *engine.StartError
	if !errors.As(err, &s) {
		return err
	}
	switch f := s.Failure; f.Cause {
	case engine.Panicked:
		return fmt.Errorf("brine: initializer of %s: %w", s.Kind, &PanicError{f.Value, f.Stack})
	case engine.Crashed:
		return fmt.Errorf("brine: worker of %s before it was ready: %w", s.Kind, crashError(f.Deaths[0]))
	default:
		return fmt.Errorf("brine: initializer of %s: %w", s.Kind, f.Err)
	}
}
