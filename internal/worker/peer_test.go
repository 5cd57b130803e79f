//go:build linux

package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/proc"
	"github.com/brinepool/brine/internal/shm"
)

// childMode is the environment variable that makes this program a worker.
const childMode = "BRINE_WORKER_TEST"

// quick has a child that is built with the race detector not wait a second before it exits.
const quick = "GORACE=atexit_sleep_ms=0"

const testBuild = "the build of this test"

// testArena is how large the arenas of a test's worker are.
const testArena = 16 << 20

func child(string) { Main(registry{}, testBuild) }

// registry has some kinds and functions whose arguments and results are plain bytes.
type registry struct{}

func (registry) Kind(name string) *Kind {
	k := &Kind{Name: name, Open: func(_ context.Context, _ string, config []byte, _ shm.Source) (any, time.Duration, error) {
		return string(config), time.Millisecond, nil
	}}
	switch name {
	case "plain":
	case "closing":
		k.Close = func(state any) error { return fmt.Errorf("closing %v", state) }
	case "panics when closed":
		k.Close = func(any) error { panic("at closing") }
	case "fails":
		k.Open = func(context.Context, string, []byte, shm.Source) (any, time.Duration, error) {
			return nil, 0, errors.New("no luck")
		}
	case "panics":
		k.Open = func(context.Context, string, []byte, shm.Source) (any, time.Duration, error) { panic("at the start") }
	case "exits":
		k.Open = func(context.Context, string, []byte, shm.Source) (any, time.Duration, error) {
			runtime.Goexit()
			return nil, 0, nil
		}
	default:
		return nil
	}
	return k
}

func (registry) Function(name string) *Function {
	switch name {
	case "do":
		return &Function{Name: name, Run: run, Bind: func(_ string, b []byte, _ shm.Source) (any, error) {
			if string(b) == "bad" {
				return nil, errors.New("bad binding")
			}
			return string(b), nil
		}}
	case "large":
		return &Function{Name: name, Run: large}
	case "careless": // doesn't say how its tasks ended
		return &Function{Name: name, Run: func(_ any, c *Chunk) {
			for c.Next() {
				if string(c.Arg()) == "goexit" {
					runtime.Goexit()
				}
				c.Done(append(c.Room(0), c.Arg()...))
			}
		}}
	}
	return nil
}

func run(state any, c *Chunk) {
	for c.Next() {
		one(state, c)
	}
}

func one(state any, c *Chunk) {
	returned := false
	defer func() {
		if !returned {
			c.Unwound(recover())
		}
	}()
	arg := string(c.Arg())
	c.Decoded()
	var err error
	switch arg {
	case "goexit":
		runtime.Goexit()
	case "panic":
		panic("at the disco")
	case "error":
		err = io.EOF
	case "wait":
		<-c.Context().Done()
		err = c.Context().Err()
	case "slow to stop":
		<-c.Context().Done()
		for link.Monotonic() < stopped(c) {
			runtime.Gosched()
		}
		err = c.Context().Err()
	case "exit":
		os.Exit(5) //nolint:gocritic // the task is to exit, and nothing deferred to run
	}
	returned = true
	if !c.Ran(err) {
		return
	}
	if err != nil {
		c.Fail(link.Failed, err)
		return
	}
	c.Done(fmt.Appendf(c.Room(0), "%s of %v with %v", arg, state, c.Bound()))
}

// stopped returns when a task that was told to stop at its deadline does.
func stopped(c *Chunk) int64 {
	deadline, _ := c.Context().Deadline()
	return link.Monotonic() + int64(50*time.Millisecond-time.Since(deadline))
}

// peer is a worker, seen from the parent.
type peer struct {
	t      *testing.T
	l      *link.Parent
	p      *proc.Process
	id     uint64
	closed bool
}

func start(t *testing.T) *peer { return startWith(t, testArena) }

func startWith(t *testing.T, arena int64) *peer {
	t.Helper()
	l, files, err := link.New(arena)
	if err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(proc.Spec{
		Path: "/proc/self/exe", Args: []string{"brine: worker of a test"}, Env: append(os.Environ(), childMode+"=worker", quick),
		Stdout: io.Discard, Stderr: io.Discard, Files: files, Crash: l.CrashFD(),
	})
	link.CloseAll(files)
	if err != nil {
		t.Fatal(err)
	}
	w := &peer{t: t, l: l, p: p}
	t.Cleanup(func() {
		p.Kill()
		p.Autopsy()
		w.close()
	})
	return w
}

// close closes the parent's ends, once: the numbers may be others' by the second time.
func (w *peer) close() {
	if !w.closed {
		w.closed = true
		w.l.Close()
	}
}

func (w *peer) send(h link.Header, payload []byte) {
	w.t.Helper()
	b, err := link.AppendFrame(w.l.Buffer(), h, payload)
	if err != nil {
		w.t.Fatal(err)
	}
	w.l.SetBuffer(b)
	_ = w.l.Flush()
}

// next returns the next frame; a type of 0 means the end.
func (w *peer) next() (link.Header, []byte) {
	w.t.Helper()
	watchdog := time.AfterFunc(20*time.Second, w.p.Kill) // nothing here takes that long
	defer watchdog.Stop()
	for {
		if h, payload, ok := w.l.Next(); ok {
			return h, payload
		}
		if err := w.l.Exchange(); err != nil {
			return link.Header{}, nil
		}
	}
}

// item is a value behind its head.
func item(value string) []byte {
	b, at := link.AppendItem(nil)
	b = append(b, value...)
	link.EndItem(b, at, link.OK)
	return b
}

func (w *peer) open(kind string) link.ReadyMessage {
	w.t.Helper()
	h, payload := w.next()
	var hello link.HelloMessage
	if err := hello.Parse(payload); h.Type != link.Hello || err != nil || hello.Build != testBuild || hello.Version != link.Version || int(hello.PID) != w.p.Pid() {
		w.t.Fatalf("hello is %v: %+v, %v", h.Type, hello, err)
	}
	m := link.InitMessage{Version: link.Version, Build: testBuild, Kind: kind, Config: item("state")}
	w.send(link.Header{Type: link.Init}, m.Append(nil))
	return w.ready()
}

func (w *peer) ready() (m link.ReadyMessage) {
	w.t.Helper()
	h, payload := w.next()
	if err := m.Parse(payload); h.Type != link.Ready || err != nil {
		w.t.Fatalf("ready is %v, %v", h.Type, err)
	}
	m.Body = bytes.Clone(m.Body)
	return m
}

// function numbers a function.
func (w *peer) function(number uint32, name string) {
	w.send(link.Header{Type: link.Func, Func: number}, []byte(name))
}

// chunk sends tasks and returns the chunk's id.
func (w *peer) chunk(m link.ChunkMessage, number uint32, args ...string) uint64 {
	w.t.Helper()
	b := m.Append(nil)
	for _, arg := range args {
		var at int
		b, at = link.AppendItem(b)
		b = append(b, arg...)
		link.EndItem(b, at, link.OK)
	}
	w.id++
	w.send(link.Header{Type: link.Chunk, Chunk: w.id, Count: uint32(len(args)), Func: number}, b)
	return w.id
}

type answer struct {
	status link.Status
	body   string
}

// answers collects n results of a chunk, in order.
func (w *peer) answers(chunk uint64, n int) (list []answer) {
	w.t.Helper()
	for len(list) < n {
		h, payload := w.next()
		if h.Type == link.Stuck {
			continue
		}
		if h.Type != link.Results || h.Chunk != chunk || int(h.First) != len(list) {
			w.t.Fatalf("%v of chunk %d from %d, want results of chunk %d from %d", h.Type, h.Chunk, h.First, chunk, len(list))
		}
		_, items, err := link.ParseSpent(payload)
		for range h.Count {
			var item link.Item
			if err == nil {
				items, err = item.Next(items, w.l.Results())
			}
			if err != nil {
				w.t.Fatal(err)
			}
			list = append(list, answer{item.Status, string(item.Body)})
			w.l.Release(item.Place)
		}
	}
	return list
}

// ends waits for the worker's end and checks its exit status and what it says.
func (w *peer) ends(status int, says string) {
	w.t.Helper()
	for h, _ := w.next(); h.Type != 0; h, _ = w.next() {
	}
	select {
	case <-w.p.Ended():
	case <-time.After(20 * time.Second):
		w.t.Fatal("it hangs")
	}
	if a := w.p.Autopsy(); a.State.ExitCode() != status || !strings.Contains(string(a.Stderr), says) {
		w.t.Errorf("%v, want status %d and %q in\n%s", a.State, status, says, a.Stderr)
	}
}

func text(t *testing.T, b []byte) string {
	t.Helper()
	err, bad := codec.DecodeError(b)
	if bad != nil {
		t.Fatal(bad)
	}
	return err.Error()
}
