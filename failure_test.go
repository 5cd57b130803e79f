package brine_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

// ends are the ways for a task to end by itself, each with what must be found in its error.
var ends = []struct {
	name  string
	deed  deed
	death bool   // of the worker
	text  string // in the error's text
	check func(t *testing.T, err error)
}{
	{name: "error", deed: deed{How: "error"}, text: "an error of its own", check: func(t *testing.T, err error) {
		if remote := as[*brine.RemoteError](t, err); remote.Message != "an error of its own" || remote.Type != "*errors.errorString" {
			t.Errorf("%+v", remote)
		}
	}},
	{name: "sentinel", deed: deed{How: "sentinel"}, text: "wrapped: taken", check: is(errTaken)},
	{name: "io.EOF", deed: deed{How: "eof"}, text: "EOF", check: is(io.EOF)},
	{name: "fs.ErrNotExist", deed: deed{How: "notexist"}, text: "/does/not/exist", check: is(fs.ErrNotExist)},
	{name: "joined", deed: deed{How: "joined"}, text: "unknown to the parent", check: is(io.ErrUnexpectedEOF)},
	{name: "registered type", deed: deed{How: "code"}, text: "code 42", check: func(t *testing.T, err error) {
		if code := as[codeError](t, err); code.Code != 42 {
			t.Errorf("%+v", code)
		}
	}},
	{name: "error that panics", deed: deed{How: "badError"}},
	{name: "panic", deed: deed{How: "panic"}, text: "a panic of its own", check: panicOf("a panic of its own", "doDeed")},
	{name: "panic with an error", deed: deed{How: "panicError"}, text: "a panic with taken", check: panicOf("a panic with taken", "doDeed")},
	{name: "panic with a value that panics", deed: deed{How: "panicStringer"}, check: panicOf("", "doDeed")},
	{name: "nil map", deed: deed{How: "nilmap"}, text: "nil map", check: panicOf("assignment to entry in nil map", "doDeed")},
	{name: "nil pointer", deed: deed{How: "nilpointer"}, text: "nil pointer", check: panicOf("invalid memory address", "doDeed")},
	{name: "index", deed: deed{How: "index", N: 5}, text: "index out of range", check: panicOf("index out of range [5]", "doDeed")},
	{name: "Goexit", deed: deed{How: "goexit"}, text: "Goexit"},
	{name: "panic in a goroutine", death: true, deed: deed{How: "goroutine"}, text: "in a goroutine of the task", check: crash(2, 0, "doDeed")},
	{name: "unlock", death: true, deed: deed{How: "unlock"}, text: "unlock of unlocked mutex", check: crash(2, 0, "doDeed")},
	{name: "concurrent map writes", death: true, deed: deed{How: "mapwrites"}, text: "concurrent map", check: crash(2, 0, "doDeed")},
	{name: "os.Exit(0)", death: true, deed: deed{How: "exit"}, text: "exit", check: crash(0, 0, "")},
	{name: "os.Exit(3)", death: true, deed: deed{How: "exit", N: 3}, text: "3", check: crash(3, 0, "")},
	{name: "log.Fatal", death: true, deed: deed{How: "logfatal"}, text: "fatal, says the log", check: crash(1, 0, "")},
	{name: "SIGKILL", death: true, deed: deed{How: "kill"}, text: "killed", check: crash(-1, syscall.SIGKILL, "")},
	{name: "SIGTERM", death: true, deed: deed{How: "term"}, check: crash(-1, syscall.SIGTERM, "")},
	{name: "SIGSEGV", death: true, deed: deed{How: "segv"}, text: "SIGSEGV"},
	{name: "descriptors closed", death: true, deed: deed{How: "descriptors"}},
	{name: "child left", death: true, deed: deed{How: "orphan"}, text: "5", check: crash(5, 0, "")},
}

func as[E error](t *testing.T, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("no %T in %v", e, err)
	}
	return e
}

func is(target error) func(*testing.T, error) {
	return func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, target) {
			t.Errorf("errors.Is does not find %v", target)
		}
	}
}

func panicOf(value, function string) func(*testing.T, error) {
	return func(t *testing.T, err error) {
		t.Helper()
		p := as[*brine.PanicError](t, err)
		if !strings.Contains(p.Value, value) {
			t.Errorf("the value is %q, want %q", p.Value, value)
		}
		if !strings.Contains(p.Stack, function) || !strings.Contains(p.Stack, "deed_test.go:") {
			t.Errorf("the stack does not lead to %s:\n%s", function, p.Stack)
		}
	}
}

func crash(code int, sig syscall.Signal, function string) func(*testing.T, error) {
	return func(t *testing.T, err error) {
		t.Helper()
		c := as[*brine.CrashError](t, err)
		if c.State == nil {
			t.Fatal("no State")
		}
		if status := c.State.Sys().(syscall.WaitStatus); c.State.ExitCode() != code || sig != 0 && status.Signal() != sig {
			t.Errorf("the process ended as %v", c.State)
		}
		if c.Memory != 0 && c.Memory < 1<<20 { // 0: this program had more
			t.Errorf("Memory is %d bytes", c.Memory)
		}
		if function != "" && !strings.Contains(string(c.Report), function) && !strings.Contains(string(c.Stderr), function) {
			t.Errorf("neither report nor stderr mention %s:\n%s\n%s", function, c.Report, c.Stderr)
		}
		if function != "" && !strings.Contains(c.Function(), function) && c.Function() == "" {
			t.Errorf("Function() is %q, want %s", c.Function(), function)
		}
	}
}

// Each end is that of the task alone: its neighbours in the chunk succeed and have run exactly once.
func TestEnds(t *testing.T) {
	t.Parallel()
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Stderr: io.Discard, Grace: 200 * time.Millisecond})
			dir := t.TempDir()
			const tasks, bad = 150, 17
			ins := make([]deed, tasks)
			for i := range ins {
				ins[i] = deed{N: i}
			}
			ins[bad] = end.deed
			for i := range ins {
				ins[i].Log = markPath(dir, i)
			}
			var outs []int
			var err error
			within(t, 30*time.Second, "Map", func() {
				outs, err = brine.Map(t.Context(), pool, do.With(brine.Limits{Chunk: 64}), ins)
			})
			for i := range ins {
				if i != bad && outs[i] != i {
					t.Errorf("task %d of the chunk, which has nothing to do with it: %d", i, outs[i])
				}
				if n := marks(t, ins[i].Log); n != 1 {
					t.Errorf("task %d ran %d times", i, n)
				}
			}
			checkEnd(t, err, bad, end.text)
			if end.check != nil {
				end.check(t, err)
			}
			s := pool.Stats()
			if s.Done != tasks-1 || s.Failed != 1 || s.Deaths > 1 || s.Retried != 0 || end.death != (s.Deaths == 1) {
				t.Errorf("Done %d, Failed %d, Deaths %d, Retried %d", s.Done, s.Failed, s.Deaths, s.Retried)
			}
			// The pool is whole.
			within(t, 30*time.Second, "Map afterwards", func() {
				if _, err := brine.Map(t.Context(), pool, do, make([]deed, 100)); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

func checkEnd(t *testing.T, err error, index int, text string) {
	t.Helper()
	task := as[*brine.TaskError](t, err)
	if task.Index != index || task.Attempt != 1 || task.Func == "" || task.Err == nil {
		t.Errorf("%+v, want index %d, attempt 1, a name and an error", task, index)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("the text lacks %q: %s", text, err)
	}
	if errors.Is(err, brine.ErrClosed) || errors.Is(err, brine.ErrTimeout) || errors.Is(err, context.Canceled) {
		t.Errorf("the error is also one that it isn't: %v", err)
	}
}

// The stack of a gigabyte is slow, so there is one task of it.
func TestStackOverflow(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, Stderr: io.Discard})
	within(t, time.Minute, "Map", func() {
		outs, err := brine.Map(t.Context(), pool, do.With(brine.Limits{Chunk: 64}), []deed{{N: 1}, {How: "overflow"}, {N: 2}})
		if outs[0] != 1 || outs[2] != 2 {
			t.Errorf("the others: %v", outs)
		}
		checkEnd(t, err, 1, "stack overflow")
		crash(2, 0, "recurse")(t, err)
		if c := as[*brine.CrashError](t, err); !strings.Contains(c.Cause(), "stack overflow") {
			t.Errorf("Cause() is %q", c.Cause())
		}
	})
}

// A value that can't be encoded or decoded is the error of its task, and takes no worker with it.
func TestUncodable(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Stderr: io.Discard})
	const bad = 5
	type call struct {
		name, text string
		death      bool
		run        func(f func(i int) string) error
	}
	var tests []call
	for how, text := range map[string]string{"unregistered": "unregistered", "chan": "chan", "func": "func"} {
		tests = append(tests, call{"result of type any: " + how, text, false, func(f func(int) string) error {
			ins := make([]string, 64)
			for i := range ins {
				ins[i] = f(i)
			}
			ins[bad] = how
			outs, err := brine.Map(t.Context(), pool, doForAny.With(brine.Limits{Chunk: 64}), ins)
			for i, out := range outs {
				if i != bad && out != any(f(i)) {
					t.Errorf("%s: neighbour %d is %v", how, i, out)
				}
			}
			return err
		}})
	}
	poisonous := map[string]string{
		"marshal error": "can't be marshalled", "marshal panic": "in MarshalBinary",
		"unmarshal error": "can't be unmarshalled", "unmarshal panic": "in UnmarshalBinary",
	}
	for how, text := range poisonous {
		tests = append(tests, call{"argument: " + how, text, false, func(f func(int) string) error {
			ins := make([]poison, 64)
			for i := range ins {
				ins[i].how = f(i)
			}
			ins[bad].how = how
			outs, err := brine.Map(t.Context(), pool, doArgument.With(brine.Limits{Chunk: 64}), ins)
			for i, out := range outs {
				if i != bad && out != len(f(i)) {
					t.Errorf("%s: neighbour %d is %v", how, i, out)
				}
			}
			return err
		}}, call{"result: " + how, text, false, func(f func(int) string) error {
			ins := make([]string, 64)
			for i := range ins {
				ins[i] = f(i)
			}
			ins[bad] = how
			outs, err := brine.Map(t.Context(), pool, doResult.With(brine.Limits{Chunk: 64}), ins)
			for i, out := range outs {
				if i != bad && out.how != f(i) {
					t.Errorf("%s: neighbour %d is %v", how, i, out)
				}
			}
			return err
		}})
	}
	for _, test := range tests {
		within(t, 30*time.Second, test.name, func() {
			err := test.run(func(i int) string { return strings.Repeat("v", i) })
			t.Log(test.name, "→", err)
			task, ok := errors.AsType[*brine.TaskError](err)
			if !ok || task.Index != bad || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: %v; want a *TaskError of index %d with %q", test.name, err, bad, test.text)
			}
		})
	}
	if s := pool.Stats(); s.Deaths != 0 {
		t.Errorf("%d workers died", s.Deaths)
	}
	within(t, 30*time.Second, "argument whose decoder exits", func() {
		_, err := brine.Call(t.Context(), pool, doArgument, poison{"unmarshal exit"})
		crash(7, 0, "")(t, err)
	})
	for how, text := range poisonous {
		within(t, 30*time.Second, "bound "+how, func() {
			f := brine.Bind(doBoundPoison, poison{how})
			for range 2 {
				if _, err := brine.Call(t.Context(), pool, f, 1); err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("bound argument, %s: %v", how, err)
				}
			}
		})
	}
	if n, err := brine.Call(t.Context(), pool, doArgument, poison{"good"}); n != 4 || err != nil {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}

// A worker that is killed from outside while it runs nothing is replaced, and nobody hears of it.
func TestKillIdleWorkers(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 3, &brine.Options{Workers: 3})
	for range 5 {
		old := workerPIDs(pool.Stats())
		if len(old) != 3 {
			t.Fatalf("workers %v", old)
		}
		for _, pid := range old {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		eventually(t, 20*time.Second, "three new workers", func() bool {
			pids := workerPIDs(pool.Stats())
			return len(pids) == 3 && !slices.ContainsFunc(pids, func(pid int) bool { return slices.Contains(old, pid) })
		})
	}
	outs, err := brine.Map(t.Context(), pool, add, numbers(100))
	if err != nil || outs[99] != 102 {
		t.Error(outs, err)
	}
	if s := pool.Stats(); s.Deaths != 15 || s.Started != 18 {
		t.Errorf("Deaths %d, Started %d, want 15 and 18", s.Deaths, s.Started)
	}
}

// A child that the task left in its session holds the worker's stdout open; nothing waits for it.
func TestDaemonLeft(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, Stdout: &out, Stderr: &out})
	pid, err := brine.Call(t.Context(), pool, do, deed{How: "daemon"})
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	within(t, 20*time.Second, "Close beside a daemon", func() { pool.Close() })
}

// Bytes that are no frames, written to the protocol by a task, end its worker at worst.
func TestGarbageOnTheWire(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Stdout: io.Discard, Stderr: io.Discard, Grace: 200 * time.Millisecond})
	within(t, 30*time.Second, "garbage", func() {
		_, err := brine.Call(t.Context(), pool, do, deed{How: "garbage"})
		t.Log(err)
		for i := range 20 {
			if n, err := brine.Call(t.Context(), pool, double, i); err != nil || n != 2*i {
				t.Logf("call %d: %d, %v", i, n, err)
			}
		}
		if n, err := brine.Call(t.Context(), pool, double, 21); err != nil || n != 42 {
			t.Errorf("later: %d, %v", n, err)
		}
	})
}

// The cap on memory is hard, and the task that ran into it is told so.
func TestMemoryCap(t *testing.T) {
	t.Parallel()
	if underRace {
		t.Skip("the race detector cannot start under a cap")
	}
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, MaxMemory: 256 << 20, Stderr: io.Discard})
	ins := make([]deed, 64)
	dir := t.TempDir()
	for i := range ins {
		ins[i] = deed{N: i, Log: markPath(dir, i)}
	}
	ins[5].How = "memory"
	within(t, time.Minute, "Map", func() {
		outs, err := brine.Map(t.Context(), pool, do.With(brine.Limits{Chunk: 64}), ins)
		checkEnd(t, err, 5, "out of memory")
		crash(2, 0, "doDeed")(t, err)
		if c := as[*brine.CrashError](t, err); c.Memory > 400<<20 || !strings.Contains(c.Cause(), "memory") {
			t.Errorf("Memory %d, Cause %q", c.Memory, c.Cause())
		}
		for i := range ins {
			if i != 5 && outs[i] != i || marks(t, ins[i].Log) != 1 {
				t.Errorf("neighbour %d: %d, ran %d times", i, outs[i], marks(t, ins[i].Log))
			}
		}
	})
}
