//go:build linux

package conformance

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
	"github.com/brinepool/brine/internal/worker"
)

// registry is what the Go workers can do.
type registry struct{}

func (registry) Kind(name string) *worker.Kind {
	if name != "kind" {
		return nil
	}
	return &worker.Kind{Name: name, Open: begin, Close: func(state any) error {
		if state == "bad end" {
			return errors.New("bad end")
		}
		return nil
	}}
}

func begin(_ context.Context, _ string, config []byte, _ shm.Source) (state any, _ time.Duration, err error) {
	state = string(config)
	switch verb, what, _ := strings.Cut(string(config), " "); verb {
	case "fail":
		err = errors.New(what)
	case "panic":
		panic(what)
	case "count":
		state, err = os.OpenFile(what, os.O_WRONLY, 0)
	}
	return state, 0, err
}

func (registry) Function(name string) *worker.Function {
	if name != "do" {
		return nil
	}
	return &worker.Function{
		Name: name,
		Run: func(state any, c *worker.Chunk) {
			for c.Next() {
				do(state, c)
			}
		},
		Bind: func(_ string, b []byte, _ shm.Source) (any, error) {
			if string(b) == "unbindable" {
				return nil, errors.New("there is no such thing")
			}
			return string(b), nil
		},
	}
}

func do(state any, c *worker.Chunk) {
	returned := false
	defer func() {
		if !returned {
			c.Unwound(recover())
		}
	}()
	c.Decoded()
	result, err := verb(state, c)
	returned = true
	switch {
	case !c.Ran(err):
	case err != nil:
		c.Fail(link.Failed, err)
	default:
		mark, _ := c.Bound().(string)
		c.Done(append(append(c.Room(len(result)), mark...), result...))
	}
}

// verb does what an argument says.
func verb(state any, c *worker.Chunk) (result []byte, err error) {
	verb, what, _ := strings.Cut(string(c.Arg()), " ")
	var x, y int
	_, _ = fmt.Sscan(what, &x, &y)
	switch verb {
	case "echo":
		return []byte(what), nil
	case "error":
		return nil, errors.New(what)
	case "exit":
		os.Exit(x)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "hold":
		return hold(what)
	case "late":
		_, _ = hold(what)
		return nil, errors.New("late")
	case "wait": // at the gate, and then for the context
		if _, err = hold(what); err != nil {
			return nil, err
		}
		<-c.Context().Done()
		return nil, c.Context().Err()
	case "spin":
		for {
			_ = x
		}
	case "child":
		cmd := exec.Command("sleep", "1000")
		if err = cmd.Start(); err != nil {
			return nil, err
		}
		return fmt.Append(nil, cmd.Process.Pid), nil
	case "shell":
		return exec.Command("sh", "-c", what).Output()
	case "large":
		return large(x, y), nil
	case "size":
		return fmt.Appendf(nil, "%d %d", len(what), crc32.ChecksumIEEE([]byte(what))), nil
	case "tick":
		result = ticked(x)
		_, err = state.(*os.File).WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(x)+1), 0)
		return result, err
	case "panic":
		panic(what)
	case "goexit":
		runtime.Goexit()
	case "placed":
		return fmt.Append(nil, c.Lends(), c.Placed()), nil
	}
	return nil, fmt.Errorf("what is %q?", verb)
}

func hold(gate string) ([]byte, error) {
	f, err := os.Open(gate)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// large returns so many bytes with a number before a pattern.
func large(number, size int) []byte {
	var pattern [251]byte
	for i := range pattern {
		pattern[i] = byte(i)
	}
	b := make([]byte, 0, size+len(pattern)) // by runs, for bytes are slow with the race detector
	b = fmt.Appendf(b, "%08d", number)
	for len(b) < size {
		b = append(b, pattern[:min(len(pattern), size-len(b))]...)
	}
	return b
}

// ticked returns the result of a tick.
func ticked(n int) []byte {
	if n%7 == 6 {
		return large(n, 10_000)
	}
	return large(n, 8+n%9)
}
