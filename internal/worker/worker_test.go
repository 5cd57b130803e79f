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
	"syscall"
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

// TestByHand starts the worker as a user might who has set its variable by accident.
func TestByHand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files func() []*os.File // from 3 on
	}{
		{"no descriptors", func() []*os.File { return nil }},
		{"files", func() []*os.File {
			var files []*os.File
			for range 6 {
				f, err := os.Open(os.DevNull)
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, f)
			}
			return files
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var r [2]int
			if err := syscall.Pipe2(r[:], syscall.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			stderr, w := os.NewFile(uintptr(r[0]), "stderr"), os.NewFile(uintptr(r[1]), "stderr")
			defer stderr.Close()
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			given := c.files()
			p, err := os.StartProcess("/proc/self/exe", []string{"program"}, &os.ProcAttr{
				Env: append(os.Environ(), childMode+"=worker", quick), Files: append([]*os.File{null, null, w}, given...),
			})
			for _, f := range append(given, null, w) {
				f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(stderr)
			if err != nil {
				t.Fatal(err)
			}
			st, err := p.Wait()
			if err != nil {
				t.Fatal(err)
			}
			if st.ExitCode() != ExitFault || !strings.Contains(string(said), "told to be a worker, but not by a pool") || !strings.Contains(string(said), "unset BRINE_WORKER") {
				t.Errorf("%v, and it says\n%s", st, said)
			}
		})
	}
}

func TestServes(t *testing.T) {
	t.Parallel()
	w := start(t)
	if m := w.open("closing"); m.Status != link.OK || m.Decode != int64(time.Millisecond) {
		t.Fatalf("ready is %+v", m)
	}
	w.function(3, "do")
	w.send(link.Header{Type: link.Bind, Func: 3, Chunk: 7}, item("binding"))
	id := w.chunk(link.ChunkMessage{Bound: 7}, 3, "a", "", "error", "panic", "b")
	got := w.answers(id, 5)
	want := []answer{{link.OK, "a of state with binding"}, {link.OK, " of state with binding"}, {status: link.Failed}, {status: link.Panicked}, {link.OK, "b of state with binding"}}
	for i := range want {
		if got[i].status != want[i].status || (want[i].status == link.OK && got[i] != want[i]) {
			t.Errorf("task %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	if s := text(t, []byte(got[2].body)); s != "EOF" {
		t.Errorf("error %q", s)
	}
	var pm link.PanicMessage
	if err := pm.Parse([]byte(got[3].body)); err != nil || pm.Value != "at the disco" || !strings.Contains(pm.Stack, "worker.one") {
		t.Errorf("panic %+v, %v", pm, err)
	}
	w.send(link.Header{Type: link.Quit}, nil)
	h, payload := w.next()
	var bye link.ReadyMessage
	if err := bye.Parse(payload); h.Type != link.Bye || err != nil || bye.Status != link.Failed || text(t, bye.Body) != "closing state" {
		t.Errorf("%v: %+v, %v", h.Type, bye, err)
	}
	w.ends(0, "")
}

// TestRefuses has the worker be unable to open its state: it says why, and ends.
func TestRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		m      link.InitMessage
		status link.Status
		want   string
	}{
		{"unknown kind", link.InitMessage{Version: link.Version, Build: testBuild, Kind: "nobody"}, link.Failed, "kind nobody is not registered"},
		{"another version", link.InitMessage{Version: link.Version + 1, Build: testBuild, Kind: "plain"}, link.Failed, "another build"},
		{"another build", link.InitMessage{Version: link.Version, Build: "other", Kind: "plain"}, link.Failed, "another build"},
		{"fails", link.InitMessage{Version: link.Version, Build: testBuild, Kind: "fails"}, link.Failed, "no luck"},
		{"goexit", link.InitMessage{Version: link.Version, Build: testBuild, Kind: "exits"}, link.Failed, "runtime.Goexit"},
		{"panics", link.InitMessage{Version: link.Version, Build: testBuild, Kind: "panics"}, link.Panicked, "at the start"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.next() // hello
			c.m.Config = item("")
			w.send(link.Header{Type: link.Init}, c.m.Append(nil))
			m := w.ready()
			s := string(m.Body)
			if m.Status == link.Failed {
				s = text(t, m.Body)
			}
			if m.Status != c.status || !strings.Contains(s, c.want) {
				t.Errorf("status %d, %q; want %d, %q", m.Status, s, c.status, c.want)
			}
			w.ends(ExitFault, "")
		})
	}
}

// TestFaults sends what no parent may send: the worker ends at once, and says why.
func TestFaults(t *testing.T) {
	t.Parallel()
	items := (&link.ChunkMessage{}).Append(nil)
	for _, c := range []struct {
		name    string
		h       link.Header
		payload []byte
		says    string
	}{
		{"chunk of an unnumbered function", link.Header{Type: link.Chunk, Chunk: 1, Count: 1, Func: 9}, append(items, make([]byte, 8)...), "function 9"},
		{"half a chunk message", link.Header{Type: link.Chunk, Chunk: 1, Count: 1}, items[:5], "malformed message"},
		{"fewer tasks than it says", link.Header{Type: link.Chunk, Chunk: 1, Count: 2}, append(items, make([]byte, 8)...), "malformed item"},
		{"task beyond the payload", link.Header{Type: link.Chunk, Chunk: 1, Count: 1}, append(items, 9, 0, 0, 0, 0, 0, 0, 0, 'x'), "malformed item"},
		{"unknown binding", link.Header{Type: link.Chunk, Chunk: 1, Count: 1}, append((&link.ChunkMessage{Bound: 5}).Append(nil), make([]byte, 8)...), "bound arguments 5"},
		{"init again", link.Header{Type: link.Init}, nil, "unexpected frame"},
		{"frame of no type", link.Header{Type: 99}, nil, "unexpected frame"},
		{"a worker's frame", link.Header{Type: link.Results}, nil, "unexpected frame"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.open("plain")
			w.function(0, "do")
			w.send(c.h, c.payload)
			w.ends(ExitFault, c.says)
		})
	}
	t.Run("first frame", func(t *testing.T) {
		t.Parallel()
		for _, h := range []link.Header{{Type: link.Chunk}, {Type: 99}, {Type: link.Init}} { // the last one is empty
			w := start(t)
			w.next()
			w.send(h, nil)
			if m := w.ready(); m.Status != link.Failed {
				t.Errorf("%v: ready with status %d", h.Type, m.Status)
			}
			w.ends(ExitFault, "")
		}
	})
	t.Run("control", func(t *testing.T) {
		t.Parallel()
		w := start(t)
		w.open("plain")
		w.l.Control(link.Chunk, 1)
		w.ends(ExitFault, "control socket")
	})
}

// TestUnknownFunction: tasks of a function that the worker doesn't know fail, and it goes on.
func TestUnknownFunction(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.open("plain")
	w.function(1, "nobody's")
	w.function(2, "do")
	for _, a := range w.answers(w.chunk(link.ChunkMessage{}, 1, "a", "b"), 2) {
		if a.status != link.BadArg || !strings.Contains(text(t, []byte(a.body)), "not registered") {
			t.Errorf("answer %+v", a)
		}
	}
	w.send(link.Header{Type: link.Bind, Func: 1, Chunk: 7}, item(""))
	w.send(link.Header{Type: link.Bind, Func: 2, Chunk: 8}, item("bad"))
	for number, says := range map[uint32]string{1: "", 2: "bad binding"} {
		for _, a := range w.answers(w.chunk(link.ChunkMessage{Bound: 6 + uint64(number)}, number, "a"), 1) {
			if a.status != link.BadArg || !strings.Contains(text(t, []byte(a.body)), says) {
				t.Errorf("answer %+v", a)
			}
		}
	}
	if a := w.answers(w.chunk(link.ChunkMessage{}, 2, "a"), 1)[0]; a.status != link.OK {
		t.Errorf("answer %+v", a)
	}
}

// TestGoexit has tasks end their goroutine, at every place of a chunk: the next ones are run all the same.
func TestGoexit(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"do", "careless"} {
		for _, timeout := range []time.Duration{0, time.Minute} {
			t.Run(fmt.Sprintf("%s, %v", name, timeout), func(t *testing.T) {
				t.Parallel()
				w := start(t)
				w.open("plain")
				w.function(0, name)
				for _, args := range [][]string{
					{"goexit"}, {"goexit", "a"}, {"a", "goexit"}, {"a", "goexit", "goexit", "b"}, {"goexit", "goexit", "goexit"}, {"a", "b"},
				} {
					for i, a := range w.answers(w.chunk(link.ChunkMessage{Timeout: int64(timeout)}, 0, args...), len(args)) {
						want := link.OK
						if args[i] == "goexit" {
							want = link.Exited
						}
						if a.status != want || (want == link.Exited && name == "do" && !strings.Contains(a.body, "worker.one")) {
							t.Errorf("%v: task %d has status %d, %q", args, i, a.status, a.body)
						}
					}
				}
				w.send(link.Header{Type: link.Quit}, nil)
				w.ends(0, "")
			})
		}
	}
}

// TestGoexitEndsItsLimit: what ended its goroutine is not over its time later on.
func TestGoexitEndsItsLimit(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.open("plain")
	w.function(0, "careless")
	const timeout = 50 * time.Millisecond
	w.answers(w.chunk(link.ChunkMessage{Timeout: int64(timeout)}, 0, "goexit"), 1)
	w.function(1, "do")
	// The time of the task that has ended runs out while another one, without a limit, waits.
	id := w.chunk(link.ChunkMessage{}, 1, "wait")
	timer := time.AfterFunc(3*timeout, func() { w.l.Control(link.Cancel, id) })
	defer timer.Stop()
	for {
		h, _ := w.next()
		if h.Type == link.Stuck {
			t.Errorf("task %d of chunk %d, which has ended, is said to be stuck", h.First, h.Chunk)
			continue
		}
		if h.Type != link.Results || h.Chunk != id {
			t.Errorf("%v of chunk %d", h.Type, h.Chunk)
		}
		return
	}
}

// TestTimeout has tasks be over their time, some of which return at once when they are told: each is told, and where it
// was goes to the parent before its result does.
func TestTimeout(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"wait", "slow to stop"} {
		t.Run(arg, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.open("plain")
			w.function(0, "do")
			for range 10 {
				id := w.chunk(link.ChunkMessage{Timeout: int64(10 * time.Millisecond)}, 0, arg, "a")
				h, stack := w.next()
				if h.Type != link.Stuck || h.Chunk != id || h.First != 0 || !strings.Contains(string(stack), "worker.one") {
					t.Fatalf("%v of task %d of chunk %d comes first, want its stack", h.Type, h.First, h.Chunk)
				}
				got := w.answers(id, 2)
				if got[0].status != link.Expired || text(t, []byte(got[0].body)) != context.DeadlineExceeded.Error() || got[1].status != link.OK {
					t.Errorf("answers %+v", got)
				}
			}
		})
	}
}

// TestCancel stops a running chunk, and has one returned that has not begun. One that is long past is ignored.
func TestCancel(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.open("plain")
	w.function(0, "do")
	past := w.chunk(link.ChunkMessage{}, 0, "a")
	w.answers(past, 1)
	first := w.chunk(link.ChunkMessage{}, 0, "wait", "a", "a")
	second := w.chunk(link.ChunkMessage{}, 0, "b")
	third := w.chunk(link.ChunkMessage{}, 0, "c")
	for w.l.Journal.Current() != first {
		runtime.Gosched()
	}
	w.l.Control(link.Recall, first) // has begun: nothing happens
	w.l.Control(link.Cancel, past)
	w.l.Control(link.Recall, second)
	if h, _ := w.next(); h.Type != link.Returned || h.Chunk != second {
		t.Fatalf("%v of chunk %d, want chunk %d returned", h.Type, h.Chunk, second)
	}
	w.l.Control(link.Cancel, first)
	got := w.answers(first, 3)
	if got[0].status != link.Failed || got[1].status != link.Cancelled || got[2].status != link.Cancelled {
		t.Errorf("answers %+v", got)
	}
	if got := w.answers(third, 1); got[0].status != link.OK {
		t.Errorf("answers %+v", got)
	}
}

// TestEndsWithItsParent closes the pipes as the parent's death does, with a task running and without.
func TestEndsWithItsParent(t *testing.T) {
	t.Parallel()
	for _, task := range []string{"", "wait"} {
		t.Run("task "+task, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.open("plain")
			w.function(0, "do")
			if task != "" {
				id := w.chunk(link.ChunkMessage{}, 0, task)
				for w.l.Journal.Current() != id {
					runtime.Gosched()
				}
			}
			w.close()
			select {
			case <-w.p.Ended():
			case <-time.After(20 * time.Second):
				t.Error("it goes on")
			}
		})
	}
}

// TestDiesInATask: the journal says which task it was.
func TestDiesInATask(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.open("plain")
	w.function(0, "do")
	id := w.chunk(link.ChunkMessage{}, 0, "a", "b", "exit", "c")
	w.ends(5, "")
	if got := w.l.Journal.Current(); got != id {
		t.Errorf("the journal says chunk %d, want %d", got, id)
	}
}
