//go:build linux

package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/link"
)

const (
	arenaSize = 64 << 20
	// journalSize is that of the journal, behind which the arena of results begins.
	journalSize = 512 << 10
	// patience is how long a test waits for what should take milliseconds.
	patience = 20 * time.Second
	// number is that of the function in most cases.
	number = 3
)

// peer is a worker, seen from the pool.
type peer struct {
	t       *testing.T
	lang    *language
	l       *link.Parent
	cmd     *exec.Cmd
	ended   chan struct{}
	stderr  bytes.Buffer
	control int // the pool's end of the control socket; -1 when it is closed
	id      uint64
	keep    bool    // don't give results in the arena back
	aside   []frame // stuck and returned, which answers came across
}

// frame is what a worker has written.
type frame struct {
	link.Header
	payload []byte
}

// answer is a result.
type answer struct {
	status link.Status
	value  string     // or the body, if the status isn't OK
	place  link.Place // in the arena
}

// start starts a worker.
func start(t *testing.T, lang *language, arena int64) *peer {
	t.Helper()
	l, files, err := link.New(arena)
	if err != nil {
		t.Fatal(err)
	}
	w := &peer{t: t, lang: lang, l: l, ended: make(chan struct{}), control: -1}
	t.Cleanup(w.close)
	// A control socket of our own, for what link doesn't send and to be closed alone.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		link.CloseAll(files)
		t.Fatal(err)
	}
	w.control = pair[0]
	link.CloseAll(files[2:3])
	files[2] = pair[1]
	defer link.CloseAll(files)

	w.cmd = &exec.Cmd{
		Path: lang.path, Args: lang.args, Stderr: &w.stderr, WaitDelay: time.Second, SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		Env: append(append(os.Environ(), marker+"=1", "BRINE_DEPTH=1"), lang.env...),
	}
	defer func() {
		for _, f := range w.cmd.ExtraFiles {
			f.Close()
		}
	}()
	for _, fd := range files {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.cmd.ExtraFiles = append(w.cmd.ExtraFiles, os.NewFile(uintptr(dup), "inherited"))
	}
	if err := w.cmd.Start(); err != nil {
		close(w.ended)
		t.Fatal(err)
	}
	go func() {
		defer close(w.ended)
		_ = w.cmd.Wait()
	}()
	return w
}

// close ends the worker, with what it has started.
func (w *peer) close() {
	if w.cmd != nil && w.cmd.Process != nil {
		_ = w.cmd.Process.Kill()
		<-w.ended
		_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
	}
	w.hangUp()
	link.CloseAll([]int{w.l.CrashFD()})
	w.l.Close()
}

// hangUp closes the control socket.
func (w *peer) hangUp() {
	if w.control >= 0 {
		link.CloseAll([]int{w.control})
		w.control = -1
	}
}

// begun returns a worker that is ready for tasks of the function, with bound arguments 1, whose mark is empty.
func begun(t *testing.T, lang *language, arena int64) *peer {
	t.Helper()
	w := start(t, lang, arena)
	w.init(w.initial())
	if m := w.ready(); m.Status != link.OK {
		t.Fatalf("ready has status %d: %q", m.Status, m.Body)
	}
	w.function()
	return w
}

// function gives the function its number, and binds arguments 1.
func (w *peer) function() {
	w.t.Helper()
	w.send(link.Header{Type: link.Func, Func: number}, []byte("do"))
	w.bind(1, "")
}

func (w *peer) bind(id uint64, mark string) {
	w.t.Helper()
	w.send(link.Header{Type: link.Bind, Func: number, Chunk: id}, item(w.lang.bound(mark)))
}

// initial is an ordinary init frame's message.
func (w *peer) initial() link.InitMessage {
	return link.InitMessage{Version: link.Version, Build: testBuild, Kind: "kind", Config: item(w.lang.config(""))}
}

func (w *peer) init(m link.InitMessage) {
	w.t.Helper()
	w.send(link.Header{Type: link.Init}, m.Append(nil))
}

// send writes a frame to the task pipe; what doesn't fit goes when frames are read.
func (w *peer) send(h link.Header, payload []byte) {
	w.t.Helper()
	b, err := link.AppendFrame(w.l.Buffer(), h, payload)
	if err != nil {
		w.t.Fatal(err)
	}
	w.l.SetBuffer(b)
	_ = w.l.Flush() // an error means that the worker is gone, which next finds
}

// write writes bytes to the task pipe.
func (w *peer) write(b []byte) {
	w.l.SetBuffer(append(w.l.Buffer(), b...))
	_ = w.l.Flush()
}

// tell writes a frame to the control socket, with descriptors.
func (w *peer) tell(h link.Header, payload []byte, fds ...int) {
	w.t.Helper()
	b, err := link.AppendFrame(nil, h, payload)
	if err != nil {
		w.t.Fatal(err)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(w.control, b, rights, nil, unix.MSG_NOSIGNAL); err != nil && !errors.Is(err, unix.EPIPE) {
		w.t.Fatal(err)
	}
}

func (w *peer) cancel(chunk uint64) { w.tell(link.Header{Type: link.Cancel, Chunk: chunk}, nil) }

func (w *peer) recall(chunk uint64) { w.tell(link.Header{Type: link.Recall, Chunk: chunk}, nil) }

// item is a body behind its word.
func item(body []byte) []byte {
	b, at := link.AppendItem(nil)
	b = append(b, body...)
	link.EndItem(b, at, link.OK)
	return b
}

// placed puts a body into the arena of arguments, and returns the item that says where.
func (w *peer) placed(body []byte) []byte {
	w.t.Helper()
	room := w.l.Arena.Alloc(len(body))
	if cap(room) < len(body) {
		w.t.Fatal("no room in the arena")
	}
	at, ok := w.l.Arena.Keep(append(room, body...))
	if !ok {
		w.t.Fatal("no place in the arena")
	}
	return link.AppendPlaced(nil, link.OK, at)
}

// chunk sends tasks with bound arguments 1, and returns the chunk's id.
func (w *peer) chunk(args ...string) uint64 {
	w.t.Helper()
	return w.chunkWith(link.ChunkMessage{Bound: 1}, args...)
}

func (w *peer) chunkWith(m link.ChunkMessage, args ...string) uint64 {
	w.t.Helper()
	encode := w.lang.argument
	if m.Bound == 0 {
		encode = w.lang.alone
	}
	items := make([][]byte, len(args))
	for i, arg := range args {
		items[i] = item(encode([]byte(arg)))
	}
	return w.chunkOf(m, 0, items...)
}

// chunkOf sends tasks of encoded items.
func (w *peer) chunkOf(m link.ChunkMessage, flags uint8, items ...[]byte) uint64 {
	w.t.Helper()
	w.id++
	h := link.Header{Type: link.Chunk, Chunk: w.id, Count: uint32(len(items)), Func: number, Flags: flags}
	w.send(h, append(m.Append(nil), bytes.Join(items, nil)...))
	return w.id
}

// next returns the next frame; a type of 0 means the end. What is true of all frames is checked here.
func (w *peer) next() frame {
	w.t.Helper()
	watchdog := time.AfterFunc(patience, func() { _ = w.cmd.Process.Kill() })
	defer watchdog.Stop()
	for {
		if h, payload, ok := w.l.Next(); ok {
			w.check(h)
			return frame{h, payload}
		}
		if err := w.l.Exchange(); err != nil {
			return frame{}
		}
	}
}

// check looks for fields that a type doesn't mention.
func (w *peer) check(h link.Header) {
	w.t.Helper()
	bare := link.Header{Length: h.Length, Type: h.Type}
	switch h.Type {
	case link.Hello, link.Ready, link.Bye:
	case link.Results:
		bare.Count, bare.Chunk, bare.First = h.Count, h.Chunk, h.First
	case link.Stuck:
		bare.Chunk, bare.First = h.Chunk, h.First
	case link.Returned:
		bare.Chunk, bare.Length = h.Chunk, 0
	default:
		w.t.Errorf("a worker's frame of %v", h.Type)
	}
	if h != bare {
		w.t.Errorf("%v frame has the header %+v", h.Type, h)
	}
}

// ready takes hello and ready.
func (w *peer) ready() (m link.ReadyMessage) {
	w.t.Helper()
	f := w.next()
	var hello link.HelloMessage
	if err := hello.Parse(f.payload); f.Type != link.Hello || err != nil || hello != (link.HelloMessage{Version: link.Version, PID: uint32(w.cmd.Process.Pid), Build: testBuild}) {
		w.t.Fatalf("the first frame is %v: %+v, %v\n%s", f.Type, hello, err, w.says())
	}
	f = w.next()
	if err := m.Parse(f.payload); f.Type != link.Ready || err != nil || m.Decode < 0 {
		w.t.Fatalf("the second frame is %v: %+v, %v\n%s", f.Type, m, err, w.says())
	}
	m.Body = bytes.Clone(m.Body)
	return m
}

// says ends the worker and returns what it wrote to standard error.
func (w *peer) says() string {
	_ = w.cmd.Process.Kill()
	<-w.ended
	return w.stderr.String()
}

// answers takes n results of a chunk, in order.
func (w *peer) answers(chunk uint64, n int) []answer {
	w.t.Helper()
	return w.more(chunk, 0, n)
}

// more takes n results of a chunk from one on.
func (w *peer) more(chunk uint64, first, n int) (list []answer) {
	w.t.Helper()
	for len(list) < n {
		f := w.next()
		switch {
		case f.Type == link.Stuck || f.Type == link.Returned:
			f.payload = bytes.Clone(f.payload)
			w.aside = append(w.aside, f)
		case f.Type != link.Results || f.Chunk != chunk || int(f.First) != first+len(list):
			w.t.Fatalf("%v of chunk %d from %d on, want results of chunk %d from %d on\n%s", f.Type, f.Chunk, f.First, chunk, first+len(list), w.says())
		default:
			list = append(list, w.results(f)...)
		}
	}
	return list
}

// results takes a results frame apart. Places are given back at once.
func (w *peer) results(f frame) (list []answer) {
	w.t.Helper()
	spent, items, err := link.ParseSpent(f.payload)
	if err != nil || spent.Run < 0 || spent.Decode < 0 || spent.Encode < 0 || spent.Bound < 0 {
		w.t.Fatalf("the account is %+v, %v", spent, err)
	}
	for range f.Count {
		var it link.Item
		if items, err = it.Next(items, w.l.Results()); err != nil {
			w.t.Fatal(err)
		}
		if it.Place.Len > 0 && it.Place.Off < journalSize {
			w.t.Fatalf("a result lies at %d, which is not in the arena", it.Place.Off)
		}
		a := answer{status: it.Status, value: string(it.Body), place: it.Place}
		if it.Status == link.OK {
			if a.value, err = w.lang.result(it); err != nil {
				w.t.Fatal(err)
			}
		}
		if !w.keep {
			w.l.Release(it.Place)
		}
		list = append(list, a)
	}
	if len(items) > 7 {
		w.t.Errorf("there are %d bytes behind %d results", len(items), f.Count)
	}
	return list
}

// want compares results with values.
func (w *peer) want(got []answer, values ...string) {
	w.t.Helper()
	if len(got) != len(values) {
		w.t.Fatalf("%d results, want %d", len(got), len(values))
	}
	for i, a := range got {
		if a.status != link.OK || a.value != values[i] {
			w.t.Fatalf("result %d has status %d and value %.60q, want %.60q", i, a.status, a.value, values[i])
		}
	}
}

// failure is an encoded error.
type failure struct{ kind, message string }

func (w *peer) failure(body string) (f failure) {
	w.t.Helper()
	p := link.Parser{Rest: []byte(body)}
	f.kind, f.message = string(p.Bytes()), string(p.Bytes())
	for range p.U32() {
		p.Bytes()
	}
	if n := p.U32(); n != 1<<32-1 {
		p.Take(int(n))
	}
	if err := p.Err("encoded error"); err != nil || len(p.Rest) > 0 {
		w.t.Fatalf("%v, and %d bytes behind it: %q", err, len(p.Rest), body)
	}
	return f
}

// exit waits for the worker's end, and returns its status, or the signal that ended it as a negative number.
func (w *peer) exit() int {
	w.t.Helper()
	select {
	case <-w.ended:
	case <-time.After(patience):
		w.t.Fatal("it hangs")
	}
	status := w.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return -int(status.Signal())
	}
	return status.ExitStatus()
}

// faults waits until the worker has ended because of what it was sent.
func (w *peer) faults() {
	w.t.Helper()
	for f := w.next(); f.Type != 0; f = w.next() {
		if f.Type == link.Bye {
			w.t.Error("it says bye")
		}
	}
	if status := w.exit(); status != 70 {
		w.t.Errorf("it ended with %d, want 70\n%s", status, w.stderr.String())
	}
}

// rest takes the results that a worker has left, which has ended: in the pipe, and in the journal.
func (w *peer) rest(take func(f frame)) (tail int) {
	w.t.Helper()
	for f := w.next(); f.Type != 0; f = w.next() {
		take(f)
	}
	w.exit()
	b := w.l.Journal.Tail(w.l.Received())
	w.l.Feed(b)
	for {
		h, payload, ok := w.l.Next()
		if !ok {
			break
		}
		w.check(h)
		take(frame{h, payload})
	}
	_ = w.l.Flush() // which drops what nobody will read
	if !w.l.Clean() {
		w.t.Errorf("there is half a frame at the end: %d bytes came by the pipe, %d are in the journal, whose base is %d, and whose last frame at %d begins %x",
			w.l.Received()-uint64(len(b)), len(b), w.journal(2), int64(w.journal(3))-8, w.journal(512+int(w.journal(3)-8)/8))
	}
	return len(b)
}

// journal returns a word of the journal.
func (w *peer) journal(i int) uint64 { return binary.LittleEndian.Uint64(w.l.Results()[8*i:]) }

// quit ends the worker in order, and checks what it leaves.
func (w *peer) quit() {
	w.t.Helper()
	w.send(link.Header{Type: link.Quit}, nil)
	f := w.next()
	var bye link.ReadyMessage
	if err := bye.Parse(f.payload); f.Type != link.Bye || err != nil || bye.Status != link.OK || len(bye.Body) > 0 {
		w.t.Fatalf("the last frame is %v: %+v, %v\n%s", f.Type, bye, err, w.says())
	}
	if f := w.next(); f.Type != 0 {
		w.t.Errorf("%v comes after bye", f.Type)
	}
	if status := w.exit(); status != 0 || w.stderr.Len() > 0 {
		w.t.Errorf("it ended with %d\n%s", status, w.stderr.String())
	}
	if w.journal(0) != 0 || w.journal(1) != 0 || w.journal(2) != w.l.Received() || w.journal(3) != 0 {
		w.t.Errorf("after %d bytes, the journal has %d, %d, %d, %d", w.l.Received(), w.journal(0), w.journal(1), w.journal(2), w.journal(3))
	}
}

// gate is where a task waits.
type gate struct {
	t    *testing.T
	path string
}

func newGate(t *testing.T) gate {
	t.Helper()
	g := gate{t, filepath.Join(t.TempDir(), "gate")}
	if err := syscall.Mkfifo(g.path, 0o600); err != nil {
		t.Fatal(err)
	}
	return g
}

// entered waits until the task is at the gate, and returns a function that lets it through.
func (g gate) entered() (open func()) {
	g.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		f, err := os.OpenFile(g.path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			g.t.Cleanup(func() { f.Close() })
			return func() { f.Close() }
		}
		if !errors.Is(err, syscall.ENXIO) || time.Now().After(deadline) {
			g.t.Fatalf("no task has come: %v", err)
		}
	}
}

// until waits for something to become true.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// gone says whether a process has ended, or is about to be waited for.
func gone(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}
