//go:build linux

package worker

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/link"
)

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
