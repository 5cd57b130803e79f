//go:build linux

package engine

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/brinepool/brine/internal/link"
)

// childMode is the environment variable that makes this program the worker of a test, and says how it behaves:
// "good", "MODE", or "FILE:MODE" for one that is good when FILE exists already.
const childMode = "BRINE_ENGINE_TEST"

// quick has a child that is built with the race detector not wait a second before it exits.
const quick = "GORACE=atexit_sleep_ms=0"

const testBuild = "the build of this test"

// rogue is a worker that keeps to the protocol but for what its mode says. It answers each task with its argument.
type rogue struct {
	mode string
	n    int // a number behind the mode
	in   *link.Reader
	out  *link.Outbox
	mem  *link.Shared
	seen int // chunks
}

// child is a worker. It doesn't return.
func child(mode string) {
	if file, rest, ok := strings.Cut(mode, ":"); ok {
		mode = rest
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			mode = "good"
		} else {
			f.Close()
		}
	}
	if mode == "sleeper" {
		time.Sleep(30 * time.Second)
		os.Exit(0)
	}
	r := &rogue{mode: mode, in: link.NewReader(link.TaskFD)}
	if name, number, ok := strings.Cut(mode, "#"); ok {
		r.mode = name
		r.n, _ = strconv.Atoi(number)
	}
	if r.mode == "die at once" {
		os.Exit(3)
	}
	var err error
	if r.mem, err = link.OpenShared(link.JournalFD, link.LeasesFD); err != nil {
		r.fail(err)
	}
	r.out = link.NewOutbox(link.ResultFD, r.mem)
	go r.listen()
	r.start()
	for {
		h, payload := r.next()
		switch h.Type {
		case link.Chunk:
			r.seen++
			r.chunk(h, payload)
		case link.Quit:
			if r.mode == "ignores quit" {
				park()
			}
			if r.mode == "long goodbye" {
				for { // a stream of nonsense instead
					r.send(link.Header{Type: link.Stuck}, make([]byte, 1000))
				}
			}
			m := link.ReadyMessage{}
			r.send(link.Header{Type: link.Bye}, m.Append(nil))
			os.Exit(0)
		}
	}
}

// listen reads the control socket. The worker dies with its parent, like any.
func (r *rogue) listen() {
	in := link.NewControlReader(link.ControlFD)
	for m, err := in.Next(); err == nil; m, err = in.Next() {
		if m.FD >= 0 {
			link.CloseAll([]int{m.FD})
		}
		switch {
		case r.mode == "tells":
			fmt.Fprintln(os.Stderr, m.Type, os.Getpid(), m.ID)
		case r.mode == "returns what is cancelled" && m.Type == link.Cancel:
			r.send(link.Header{Type: link.Returned, Chunk: m.ID}, nil)
		}
	}
	os.Exit(0)
}

func park() {
	for {
		time.Sleep(time.Hour)
	}
}

func (r *rogue) fail(err error) {
	fmt.Fprintln(os.Stderr, "rogue:", r.mode, err)
	os.Exit(96)
}

func (r *rogue) next() (link.Header, []byte) {
	for {
		if h, payload, ok := r.in.Next(); ok {
			return h, payload
		}
		if err := r.out.Flush(); err != nil {
			os.Exit(95)
		}
		if err := r.in.Fill(); err != nil {
			park() // the parent is gone, or going
		}
	}
}

func (r *rogue) send(h link.Header, payload []byte) {
	if err := r.out.Frame(h, payload); err != nil {
		os.Exit(95)
	}
}

// raw writes bytes that no frame needs to be.
func (r *rogue) raw(b []byte) {
	for len(b) > 0 {
		n, err := syscall.Write(link.ResultFD, b)
		if err != nil {
			os.Exit(95)
		}
		b = b[n:]
	}
}

func (r *rogue) start() {
	hello := link.HelloMessage{Version: link.Version, PID: uint32(os.Getpid()), Build: testBuild}
	ready := link.ReadyMessage{}
	switch r.mode {
	case "hello of another version":
		hello.Version++
	case "hello of another build":
		hello.Build = "another build"
	case "half a hello":
		r.send(link.Header{Type: link.Hello}, hello.Append(nil)[:7])
		park()
	case "no hello":
		r.send(link.Header{Type: link.Ready}, ready.Append(nil))
		park()
	case "two hellos":
		r.send(link.Header{Type: link.Hello}, hello.Append(nil))
	case "noise at the start":
		r.raw([]byte(strings.Repeat("GET / HTTP/1.1\r\n", 10)))
		park()
	case "silence":
		park()
	}
	r.send(link.Header{Type: link.Hello}, hello.Append(nil))
	r.next() // init
	switch r.mode {
	case "half a ready":
		r.send(link.Header{Type: link.Ready}, ready.Append(nil)[:3])
		park()
	case "failed without an error":
		ready.Status, ready.Body = link.Failed, []byte("no encoded error")
	case "panicked without a message":
		ready.Status, ready.Body = link.Panicked, []byte("no")
	case "dies instead of ready":
		os.Exit(3)
	}
	r.send(link.Header{Type: link.Ready}, ready.Append(nil))
	switch r.mode {
	case "ready twice":
		r.send(link.Header{Type: link.Ready}, ready.Append(nil))
	case "results that nobody asked for":
		r.result(9, 0, 1, "x")
	case "dies when ready":
		os.Exit(3)
	}
}

// answer publishes a result, in the arena if it is large, as a worker does.
func (r *rogue) answer(chunk uint64, index uint32, body []byte) {
	spent := link.Spent{Run: 1000}
	if room := r.mem.Arena.Alloc(len(body)); len(body) >= link.ArenaFrom && cap(room) >= len(body) {
		if at, ok := r.mem.Arena.Keep(append(room, body...)); ok {
			if err := r.out.Placed(chunk, index, link.OK, at, spent, false); err != nil {
				os.Exit(95)
			}
			return
		}
	}
	if err := r.out.Result(chunk, index, link.OK, body, spent, false); err != nil {
		os.Exit(95)
	}
}

// result sends a Results frame that says to hold count results.
func (r *rogue) result(chunk uint64, first, count uint32, bodies ...string) {
	b := make([]byte, link.StatsSize)
	for _, body := range bodies {
		var at int
		b, at = link.AppendItem(b)
		b = append(b, body...)
		link.EndItem(b, at, link.OK)
	}
	r.send(link.Header{Type: link.Results, Chunk: chunk, First: first, Count: count}, b)
}

func (r *rogue) chunk(h link.Header, payload []byte) {
	stats := make([]byte, link.StatsSize)
	results := link.Header{Type: link.Results, Chunk: h.Chunk, Count: 1}
	switch r.mode {
	case "begins and dies":
		r.out.Begin(h.Chunk)
		os.Exit(3)
	case "dies":
		os.Exit(3)
	case "answers some and dies":
		if r.seen > r.n {
			os.Exit(3)
		}
	case "wrong chunk":
		r.result(h.Chunk+1, 0, 1, "x")
		park()
	case "wrong first":
		r.result(h.Chunk, 1, 1, "x")
		park()
	case "huge first":
		r.result(h.Chunk, 1<<32-1, 1, "x")
		park()
	case "no results":
		r.result(h.Chunk, 0, 0)
		park()
	case "too many results":
		r.result(h.Chunk, 0, 1<<32-1, "x")
		park()
	case "fewer items than it says":
		r.result(h.Chunk, 0, h.Count)
		park()
	case "more items than it says":
		r.result(h.Chunk, 0, 1, "x", "a second one of some length")
		park()
	case "no account":
		r.send(results, stats[:5])
		park()
	case "item beyond the payload":
		r.send(results, append(stats, 100, 0, 0, 0, 0, 0, 0, 0, 'x'))
		park()
	case "item of all ones":
		r.send(results, append(stats, 255, 255, 255, 255, 255, 255, 255, 255))
		park()
	case "item of no status":
		r.send(results, append(stats, 0, 0, 0, 0, 0, 0, 0, 200))
		park()
	case "frame of no type":
		r.send(link.Header{Type: 77}, nil)
		park()
	case "hello again":
		r.send(link.Header{Type: link.Hello}, nil)
		park()
	case "bye at once":
		r.send(link.Header{Type: link.Bye}, nil)
		park()
	case "returns what it never got":
		r.send(link.Header{Type: link.Returned, Chunk: h.Chunk + 5}, nil)
		park()
	case "returns the first":
		if r.seen == 1 {
			r.send(link.Header{Type: link.Returned, Chunk: h.Chunk}, nil)
			return
		}
	case "returns what is cancelled":
		var m link.ChunkMessage
		if _, err := m.Parse(payload); err != nil || m.Bound > 0 {
			return // those with bound arguments are
		}
	case "returns twice":
		r.send(link.Header{Type: link.Returned, Chunk: h.Chunk}, nil)
		r.send(link.Header{Type: link.Returned, Chunk: h.Chunk}, nil)
		park()
	case "claims much and dies":
		b := make([]byte, link.HeaderSize)
		results.Length = 3 << 30
		results.Put(b)
		r.raw(append(b, make([]byte, 1000)...))
		os.Exit(3)
	case "cut in a header":
		r.raw(make([]byte, link.HeaderSize-1))
		os.Exit(3)
	case "noise":
		r.raw([]byte(strings.Repeat("fatal error: everything\n", 100)))
		park()
	case "begins nonsense":
		r.out.Begin(1 << 60)
		r.result(h.Chunk+1, 0, 1, "x")
		park()
	case "closes its result pipe":
		syscall.Close(link.ResultFD)
		park()
	case "closes its task pipe":
		syscall.Close(link.TaskFD)
		r.out.Begin(h.Chunk)
		park()
	case "hangs":
		r.out.Begin(h.Chunk)
		r.out.Started(link.Monotonic())
		park()
	case "never begins":
		park()
	case "leaves a child with its pipe":
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), childMode+"=sleeper")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.ExtraFiles = []*os.File{os.NewFile(link.ResultFD, "results")}
		if err := cmd.Start(); err != nil {
			r.fail(err)
		}
		fmt.Fprintln(os.Stderr, "sleeper", cmd.Process.Pid)
		os.Exit(3)
	}
	r.place(h)
	var m link.ChunkMessage
	items, err := m.Parse(payload)
	if err != nil {
		r.fail(err)
	}
	r.out.Begin(h.Chunk)
	for i := range h.Count {
		var item link.Item
		if items, err = item.Next(items, r.mem.Arguments); err != nil {
			r.fail(err)
		}
		r.answer(h.Chunk, i, item.Body)
		switch r.mode {
		case "dies in the last of a chunk":
			if i == h.Count-2 {
				_ = r.out.Flush()
				os.Exit(3)
			}
		case "dies with a result in the journal":
			os.Exit(3)
		case "dies after the first":
			_ = r.out.Flush()
			os.Exit(3)
		}
	}
	r.out.End()
}
