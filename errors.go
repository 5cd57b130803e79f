package brine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/engine"
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
// retried and did so again), a *TimeoutError when it was over its time, the context's when it was
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
	fmt.Fprintf(&b, "brine: task %d of %s", e.Index, bill.ShortName(e.Func))
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
	// Memory is the most memory that the process had resident, in bytes. It is 0 where that isn't known: on Linux, a
	// process that had less than the program that started it seems to have had as much.
	Memory int64

	why error // why it was ended, if it was ended on purpose
	cap int64 // on its memory, 0 for none
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
	// A runtime that is refused memory may fail in ways that don't say so.
	if e.cap > 0 && e.State != nil && !e.State.Success() {
		switch {
		case e.Memory == 0:
			fmt.Fprintf(&b, " (its memory was capped at %s)", bill.Size(e.cap))
		case e.Memory > e.cap/4:
			fmt.Fprintf(&b, " (at %s of memory, capped at %s)", bill.Size(e.Memory), bill.Size(e.cap))
		}
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

// faultIn finds the function at fault among the stacks of a runtime that ends: the first that is neither the runtime's
// nor Brine's, in the goroutine that was running, or else in the one that ran the task.
func faultIn(stacks []byte) string {
	goroutines := strings.Split(string(stacks), "\n\n")
	var running, task string
	for _, g := range goroutines {
		head, _, _ := strings.Cut(g[max(0, strings.Index(g, "goroutine ")):], "\n")
		if running == "" && strings.Contains(head, "running") {
			running = topFunction(g)
		}
		if task == "" && strings.Contains(g, runsTasks) {
			task = topFunction(g)
		}
	}
	switch {
	case running != "":
		return running
	case task != "":
		return task
	case len(goroutines) == 1:
		return topFunction(goroutines[0])
	}
	return ""
}

// runsTasks is in the stack of the goroutine that runs tasks.
const runsTasks = "internal/worker.(*process).runChunk"

func topFunction(goroutine string) string {
	for line := range strings.Lines(goroutine) {
		i := strings.LastIndexByte(line, '(')
		if j := strings.Index(line, "(0x"); j > 0 {
			i = j
		}
		if i <= 0 || strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "goroutine ") || strings.HasPrefix(line, "created by ") {
			continue
		}
		name := line[:i]
		if strings.ContainsAny(name, " =") || slices.ContainsFunc(notAtFault, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		return bill.ShortName(strings.TrimSpace(name))
	}
	return ""
}

// notAtFault begin the names of functions that are on top of a stack because of another's fault.
var notAtFault = []string{"runtime.", "runtime/", "internal/", "panic", "sync.", "syscall.", "github.com/brinepool/brine.", "github.com/brinepool/brine/internal/"}

// taskGoroutine finds the goroutine that ran the task among the stacks of a worker, down to where Brine called it.
func taskGoroutine(stacks string) string {
	goroutines := strings.Split(strings.TrimSpace(stacks), "\n\n")
	for _, g := range goroutines {
		if strings.Contains(g, runsTasks) {
			g, _, _ = strings.Cut(g, "\ngithub.com/brinepool/brine.")
			return g
		}
	}
	return goroutines[0]
}

// TimeoutError is the error of a task that was over its Limits.Timeout. errors.Is finds it to be ErrTimeout and
// context.DeadlineExceeded.
type TimeoutError struct {
	Limit  time.Duration
	Stack  string // of the task's goroutine when its time was up, then of all others in the worker
	Forced bool   // it did not return within Options.Grace, and its worker was ended

	errs []error // what it returned, or of the workers that it took with it
}

// Error names the function that was stuck, and has the stack of the task.
func (e *TimeoutError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "timed out after %v", e.Limit)
	if at := faultIn([]byte(taskGoroutine(e.Stack))); at != "" {
		b.WriteString(" in " + at)
	}
	if e.Forced {
		b.WriteString(" and did not stop: its worker was ended")
	}
	if stack := taskGoroutine(e.Stack); stack != "" {
		b.WriteString("\n" + stack)
	}
	return b.String()
}

// Unwrap returns ErrTimeout, what the function returned, and the CrashErrors of workers that were ended.
func (e *TimeoutError) Unwrap() []error { return append([]error{ErrTimeout}, e.errs...) }

// Timeout says that this is a timeout, as net.Error does.
func (e *TimeoutError) Timeout() bool { return true }

func crashError(d engine.Death) *CrashError {
	return &CrashError{cap: d.MaxMemory, State: d.State, Report: d.Report, Stderr: d.Stderr, Memory: d.Memory, why: d.Err}
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
		t := &TimeoutError{Limit: f.Timeout, Stack: f.Stack, Forced: len(f.Deaths) > 0, errs: crashes}
		if f.Err != nil {
			t.errs = append(t.errs, f.Err)
		}
		if t.Stack == "" && len(f.Deaths) > 0 {
			t.Stack = string(f.Deaths[len(f.Deaths)-1].Report)
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
