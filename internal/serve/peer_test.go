//go:build linux

package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/leaktest"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
	work "github.com/brinepool/brine/internal/worker"
)

// childMode is the environment variable that makes this program a worker.
const childMode = "BRINE_SERVE_TEST"

const testVersion = "of this test"

// TestMain runs the tests, and checks that they left no goroutine, process, descriptor or mapping.
func TestMain(m *testing.M) {
	if os.Getenv(childMode) != "" {
		work.Main(registry{}, "brine engine "+testVersion)
	}
	leaktest.Main(m)
}

// registry has the kinds and functions of the tests' workers.
type registry struct{}

func (registry) Kind(name string) *work.Kind {
	return &work.Kind{
		Name: name,
		Open: func(_ context.Context, _ string, config []byte, _ shm.Source) (any, time.Duration, error) {
			switch do, what, _ := strings.Cut(string(config), " "); do {
			case "fail":
				return nil, 0, errors.New(what)
			case "panic":
				panic(what)
			case "die":
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			case "once": // dies if the file is there, and takes it away
				if os.Remove(what) == nil {
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				}
			}
			return string(config), 0, nil
		},
		Close: func(state any) error {
			if state == "bad end" {
				return errors.New("bad end")
			}
			return nil
		},
	}
}

func (registry) Function(name string) *work.Function {
	return &work.Function{
		Name: name,
		Run: func(_ any, c *work.Chunk) {
			for c.Next() {
				do(c)
			}
		},
		Bind: func(_ string, b []byte, _ shm.Source) (any, error) { return string(b), nil },
	}
}

// do runs a task: the first word of its argument says what it is to do, with the rest.
func do(c *work.Chunk) {
	returned := false
	defer func() {
		if !returned {
			c.Unwound(recover())
		}
	}()
	verb, what, _ := strings.Cut(string(c.Arg()), " ")
	c.Decoded()
	var n int
	_, _ = fmt.Sscan(what, &n)
	var err error
	result := []byte(what)
	switch verb {
	case "echo":
	case "bound":
		result = []byte(c.Bound().(string))
	case "large":
		result = pattern(n)
	case "size":
		result = []byte(fmt.Sprint(len(c.Arg())))
	case "error":
		err = errors.New(what)
	case "panic":
		panic(what)
	case "sleep":
		time.Sleep(time.Duration(n) * time.Millisecond)
	case "hang":
		for {
			time.Sleep(time.Hour)
		}
	case "wait":
		<-c.Context().Done()
		err = c.Context().Err()
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "once": // as of the kind
		if os.Remove(what) == nil {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	case "say":
		fmt.Fprintln(os.Stderr, what)
	case "pid":
		result = []byte(fmt.Sprint(os.Getpid()))
	default:
		err = fmt.Errorf("what is %q?", verb)
	}
	returned = true
	switch {
	case !c.Ran(err):
	case err != nil:
		c.Fail(link.Failed, err)
	default:
		c.Done(append(c.Room(len(result)), result...))
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}
