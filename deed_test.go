package brine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/brinepool/brine"
)

// deed is an argument that says how a task is to end, and leaves a mark in a file for each run.
type deed struct {
	How string
	Log string
	N   int
}

var (
	errTaken      = errors.New("taken")
	errUnknown    = errors.New("unknown to the parent")
	_             = brine.RegisterType
	do            = brine.Plain(doDeed)
	doForAny      = brine.PlainNamed("answers with any", doAny)
	doArgument    = brine.PlainNamed("takes a poisonous argument", takePoison)
	doResult      = brine.PlainNamed("returns a poisonous result", returnPoison)
	doBoundPoison = brine.MethodBoundNamed("bound poison", brine.Stateless, func(_ struct{}, _ context.Context, p poison, n int) (int, error) { return n, nil })
)

func doDeed(ctx context.Context, d deed) (int, error) {
	if d.How != "await" {
		mark(d.Log)
	}
	switch d.How {
	case "", "return":
		return d.N, nil
	case "error":
		return 0, errors.New("an error of its own")
	case "sentinel":
		return 0, fmt.Errorf("wrapped: %w", errTaken)
	case "eof":
		return 0, io.EOF
	case "notexist":
		_, err := os.Open("/does/not/exist")
		return 0, err
	case "joined":
		return 0, errors.Join(errUnknown, fmt.Errorf("and: %w", io.ErrUnexpectedEOF))
	case "code":
		return 0, fmt.Errorf("wrapped: %w", codeError{Code: 42})
	case "badError":
		return 0, panickingError{}
	case "panic":
		panic("a panic of its own")
	case "panicError":
		panic(fmt.Errorf("a panic with %w", errTaken))
	case "panicStringer":
		panic(panickingError{})
	case "nilmap":
		var m map[string]int
		//lint:ignore SA5000 the task is to panic
		m["x"] = 1
	case "nilpointer":
		var p *deed
		return p.N, nil
	case "index":
		return []int{}[d.N], nil
	case "goexit":
		runtime.Goexit()
	case "goroutine":
		go panic("in a goroutine of the task")
		select {}
	case "unlock":
		var mu sync.Mutex
		mu.Unlock()
	case "mapwrites":
		m := map[int]int{}
		for i := range 8 {
			go func() {
				for {
					m[i]++
				}
			}()
		}
		select {}
	case "overflow":
		return recurse(0), nil
	case "exit":
		os.Exit(d.N)
	case "logfatal":
		log.Fatal("fatal, says the log")
	case "kill", "segv", "term", "abrt":
		syscall.Kill(os.Getpid(), map[string]syscall.Signal{
			"kill": syscall.SIGKILL, "segv": syscall.SIGSEGV, "term": syscall.SIGTERM, "abrt": syscall.SIGABRT,
		}[d.How])
		select {}
	case "stop":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {}
	case "descriptors":
		for fd := range 64 {
			syscall.Close(fd)
		}
		select {}
	case "loop":
		spinForEver()
	case "deaf":
		signal.Ignore()
		spinForEver()
	case "hang":
		hangForEver()
	case "wait":
		<-ctx.Done()
		return 0, ctx.Err()
	case "overtime": // sees that it is to stop, and succeeds after all
		<-ctx.Done()
		return d.N, nil
	case "memory":
		var hoard [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			hoard = append(hoard, b)
			runtime.KeepAlive(hoard)
		}
	case "sleep":
		time.Sleep(time.Duration(d.N) * time.Millisecond)
		return d.N, nil
	case "await": // until the file of marks exists
		for {
			if _, err := os.Stat(d.Log); err == nil {
				return d.N, nil
			}
			time.Sleep(time.Millisecond)
		}
	case "once": // dies unless it has run before
		if info, _ := os.Stat(d.Log); info.Size() <= int64(d.N) {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return d.N, nil
	case "daemon": // leaves a child in a session of its own, that holds stdout and stderr
		c := exec.Command("sleep", "300")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return 0, err
		}
		return c.Process.Pid, nil
	case "orphan": // leaves a child in the worker's process group and dies
		c := exec.Command("sleep", "300")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			return 0, err
		}
		if err := os.WriteFile(d.Log+".pid", fmt.Append(nil, c.Process.Pid), 0o600); err != nil {
			return 0, err
		}
		os.Exit(5)
	case "garbage": // on every descriptor that can be written
		for fd := range 64 { // most of them fail: they aren't open, or only for reading
			_ = syscall.SetNonblock(fd, true)
			_, _ = syscall.Write(fd, []byte("garbage that is no frame, and long enough to be taken for one of those"))
		}
		return d.N, nil
	case "stdout", "stderr":
		f := map[string]*os.File{"stdout": os.Stdout, "stderr": os.Stderr}[d.How]
		line := []byte("0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456\n")
		block := make([]byte, 0, 1000*len(line))
		for range 1000 {
			block = append(block, line...)
		}
		for written := 0; written < d.N; written += len(block) {
			if _, err := f.Write(block); err != nil {
				return 0, err
			}
		}
		return d.N, nil
	}
	return d.N, nil
}

//go:noinline
func recurse(n int) int {
	if n < 0 {
		return 0
	}
	return recurse(n+1) + 1
}

//go:noinline
func spinForEver() {
	for i := 0; ; i++ {
		if i < 0 {
			return
		}
	}
}

//go:noinline
func hangForEver() { <-make(chan int) }

type codeError struct{ Code int }

func (e codeError) Error() string { return fmt.Sprint("code ", e.Code) }

type panickingError struct{}

func (panickingError) Error() string { panic("while an error was asked for its text") }

func init() {
	brine.Sentinels(errTaken)
	brine.RegisterType(codeError{})
	brine.RegisterType([]int(nil))
}

type unregistered struct{ A int }

// doAny returns values of any type.
func doAny(_ context.Context, how string) (any, error) {
	switch how {
	case "unregistered":
		return unregistered{1}, nil
	case "chan":
		return make(chan int), nil
	case "func":
		return func() {}, nil
	case "nil":
		return nil, nil
	case "registered":
		return []int{1, 2}, nil
	}
	return how, nil
}

// poison marshals itself, or doesn't.
type poison struct{ how string }

func (p poison) MarshalBinary() ([]byte, error) {
	switch p.how {
	case "marshal error":
		return nil, errors.New("can't be marshalled")
	case "marshal panic":
		panic("in MarshalBinary")
	}
	return []byte(p.how), nil
}

func (p *poison) UnmarshalBinary(b []byte) error {
	switch p.how = string(b); p.how {
	case "unmarshal error":
		return errors.New("can't be unmarshalled")
	case "unmarshal panic":
		panic("in UnmarshalBinary")
	case "unmarshal exit":
		os.Exit(7)
	}
	return nil
}

func takePoison(_ context.Context, p poison) (int, error) { return len(p.how), nil }

func returnPoison(_ context.Context, how string) (poison, error) { return poison{how}, nil }
