//go:build linux

package serve

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// patience is how long a test waits for what should take milliseconds.
const patience = 30 * time.Second

// client is a client of the engine, which runs in this process. It starts workers as they are asked for, unless told
// otherwise, and keeps all that comes.
type client struct {
	t    testing.TB
	fd   int
	over chan struct{} // closed when the engine has ended
	err  error         // what Run returned
	read chan struct{} // closed when the engine's end of the socket is
	stop context.CancelFunc

	mu       sync.Mutex
	changed  *sync.Cond
	late     bool
	refuse   string // why workers are not started, empty for not
	helloed  bool
	workers  map[uint32]*child
	outcomes map[uint64]map[uint32]outcome
	opened   map[uint32]outcome
	closed   map[uint32]string
	log      []string
	leases   []lent
	revoked  []uint32
	stats    []string
	faults   []string
}

// child is a worker, as the client knows it.
type child struct {
	number, pool       uint32
	process            *os.Process
	task, result       int
	journal, leases    int
	ended              bool
	pid                uint32
	why, report, tail  string
	exit               *os.ProcessState
	reaped             chan struct{}
	borrowed           sync.WaitGroup
	end                sync.Once
	arena, leasesWords []byte
}

// outcome is what became of a task, or of opening a pool.
type outcome struct {
	worker  uint32
	status  link.Status
	placed  bool
	body    []byte
	failed  bool
	cause   uint8
	runs    uint32
	message string
	stack   string
	deaths  []uint32
}

type lent struct {
	worker       uint32
	id, received uint64
}

// connect starts an engine and greets it.
func connect(t testing.TB) *client {
	t.Helper()
	c := dial(t)
	c.send(header{typ: typeClientHello}, u32s(Version, uint32(os.Getpid())))
	c.await("hello", func() bool { return c.helloed })
	return c
}

// dial starts an engine.
func dial(t testing.TB) *client {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{
		t: t, fd: fds[0], over: make(chan struct{}), read: make(chan struct{}), stop: cancel, workers: make(map[uint32]*child),
		outcomes: make(map[uint64]map[uint32]outcome), opened: make(map[uint32]outcome), closed: make(map[uint32]string),
	}
	c.changed = sync.NewCond(&c.mu)
	go func() {
		c.err = Run(ctx, fds[1], testVersion)
		close(c.over)
	}()
	go c.receive()
	t.Cleanup(c.hangUp)
	return c
}

// hangUp ends the connection, and checks that the engine and all workers end.
func (c *client) hangUp() {
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
	select {
	case <-c.over:
	case <-time.After(patience):
		c.t.Error("the engine did not end")
		return
	}
	<-c.read
	c.stop()
	unix.Close(c.fd)
	c.mu.Lock()
	left := make([]*child, 0, len(c.workers))
	for _, w := range c.workers {
		left = append(left, w)
	}
	c.mu.Unlock()
	for _, w := range left {
		c.reap(w)
	}
}

// reap waits for a worker's end and lets go of what it had, once.
func (c *client) reap(w *child) { w.end.Do(func() { c.bury(w) }) }

func (c *client) bury(w *child) {
	if w.process == nil {
		return
	}
	late := time.AfterFunc(patience, func() {
		c.t.Errorf("worker %d did not end", w.number)
		_ = w.process.Kill()
	})
	defer late.Stop()
	state, err := w.process.Wait()
	if err != nil {
		c.t.Errorf("waiting for worker %d: %v", w.number, err)
	}
	c.mu.Lock()
	delete(c.workers, w.number)
	w.exit = state
	c.mu.Unlock()
	w.borrowed.Wait()
	link.CloseAll([]int{w.task, w.result, w.journal, w.leases})
	shm.Unmap(w.arena)
	shm.Unmap(w.leasesWords)
	close(w.reaped)
}

// await waits until something holds.
func (c *client) await(what string, holds func() bool) {
	c.t.Helper()
	late := time.AfterFunc(patience, func() {
		c.mu.Lock()
		c.late = true
		c.changed.Broadcast()
		c.mu.Unlock()
	})
	defer late.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !holds() {
		if c.late {
			c.t.Fatalf("waited too long for %s; the engine says %q, and did %q", what, c.faults, c.log)
		}
		c.changed.Wait()
	}
}

// send writes a frame.
func (c *client) send(h header, payload []byte, fds ...int) {
	h.length = uint32(len(payload))
	b := make([]byte, headerSize, headerSize+len(payload))
	h.put(b)
	c.write(append(b, payload...), fds...)
}

func (c *client) write(b []byte, fds ...int) {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for len(b) > 0 {
		n, err := unix.SendmsgN(c.fd, b, oob, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return // the test finds out
		}
		b, oob = b[n:], nil
	}
}

func u32s(values ...uint32) (b []byte) {
	for _, v := range values {
		b = appendU32(b, v)
	}
	return b
}

// setting is a pool to be opened.
type setting struct {
	workers, maxTasks uint32
	depth             uint32
	memory            int64
	grace             time.Duration
	arena             int64
	config            string
	stderr            *os.File
}

func (s setting) payload() []byte {
	b := u32s(s.workers, s.maxTasks)
	b = appendU64(b, uint64(s.memory))
	b = appendU64(b, uint64(s.grace))
	b = appendU64(b, uint64(s.arena))
	b = appendU32(b, s.depth)
	b = appendString(b, "kind")
	return append(b, s.config...)
}

// begin asks for a pool.
func (c *client) begin(number uint32, s setting) {
	c.t.Helper()
	if s.workers == 0 {
		s.workers = 1
	}
	if s.arena == 0 {
		s.arena = 16 << 20
	}
	if s.stderr == nil {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			c.t.Fatal(err)
		}
		defer null.Close()
		s.stderr = null
	}
	c.send(header{typ: typeOpen, pool: number}, s.payload(), int(s.stderr.Fd()))
}

// open opens a pool.
func (c *client) open(number uint32, s setting) {
	c.t.Helper()
	c.begin(number, s)
	if o := c.awaitOpened(number); o.cause != causeNone {
		c.t.Fatalf("not opened: %+v", o)
	}
}

func (c *client) awaitOpened(number uint32) (o outcome) {
	c.t.Helper()
	c.await("opened", func() bool { o = c.opened[number]; _, ok := c.opened[number]; return ok })
	return o
}

// events returns what has happened to workers and pools.
func (c *client) events() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log)
}

// statistics asks for the account of the pool.
func (c *client) statistics() (account string) {
	c.t.Helper()
	c.send(header{typ: typeStats, pool: 1}, nil)
	c.await("statistics", func() bool {
		if len(c.stats) > 0 {
			account = c.stats[0]
		}
		return len(c.stats) > 0
	})
	return account
}

// job is what is to be submitted.
type submission struct {
	timeout        time.Duration
	retries, chunk uint32
	bound          string
	more           bool
}

func bodies(args []string) (b []byte) {
	for _, a := range args {
		b = appendU32(b, uint32(len(a)))
	}
	for _, a := range args {
		b = append(b, a...)
	}
	return b
}

func (c *client) submit(pool uint32, job uint64, s submission, args ...string) {
	b := appendString(nil, "do")
	b = appendU64(b, uint64(s.timeout))
	b = appendU32(b, s.retries)
	b = appendU32(b, s.chunk)
	b = appendU64(b, 1000)
	b = appendString(b, s.bound)
	h := header{typ: typeSubmit, pool: pool, job: job, count: uint32(len(args))}
	if s.more {
		h.flags = more
	}
	c.send(h, append(b, bodies(args)...))
}

func (c *client) extend(job uint64, further bool, args ...string) {
	h := header{typ: typeExtend, job: job, count: uint32(len(args))}
	if further {
		h.flags = more
	}
	c.send(h, append(appendU64(nil, 10), bodies(args)...))
}

// outcomes waits until n tasks of a job have ended.
func (c *client) results(job uint64, n int) []outcome {
	c.t.Helper()
	c.await(fmt.Sprintf("%d results of job %d", n, job), func() bool { return len(c.outcomes[job]) >= n })
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]outcome, n)
	for i := range list {
		o, ok := c.outcomes[job][uint32(i)]
		if !ok {
			c.t.Fatalf("no result %d", i)
		}
		list[i] = o
	}
	return list
}

// want checks that tasks returned something.
func (c *client) want(job uint64, want ...string) {
	c.t.Helper()
	for i, o := range c.results(job, len(want)) {
		if o.failed || o.status != link.OK || string(o.body) != want[i] {
			c.t.Errorf("task %d of job %d: %+v, want %q", i, job, o, want[i])
		}
	}
}

// finish closes a pool and waits for its end.
func (c *client) finish(pool uint32) string {
	c.t.Helper()
	c.send(header{typ: typeClose, pool: pool}, nil)
	return c.awaitClosed(pool)
}

func (c *client) awaitClosed(pool uint32) (err string) {
	c.t.Helper()
	c.await("closed", func() bool { err = c.closed[pool]; _, ok := c.closed[pool]; return ok })
	return err
}

// receive takes what the engine sends.
func (c *client) receive() {
	defer close(c.read)
	var buf []byte
	var fds []int
	part, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4*64))
	for {
		n, oobn, _, _, err := unix.Recvmsg(c.fd, part, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			link.CloseAll(fds)
			return
		}
		messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
		for i := range messages {
			got, _ := unix.ParseUnixRights(&messages[i])
			fds = append(fds, got...)
		}
		buf = append(buf, part[:n]...)
		for len(buf) >= headerSize {
			var h header
			h.get(buf)
			end := headerSize + int(h.length)
			if len(buf) < end {
				break
			}
			payload := slices.Clone(buf[headerSize:end])
			buf = buf[end:]
			var mine []int
			if h.typ == typeStart {
				mine, fds = fds[:9:9], fds[9:]
			}
			c.take(h, payload, mine)
		}
	}
}

func (c *client) take(h header, payload []byte, fds []int) {
	if h.typ == typeStart {
		c.start(h, fds)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	p := parser{Rest: payload}
	switch h.typ {
	case typeEngineHello:
		c.helloed = p.U32() == Version && p.U32() != 0 && string(p.Bytes()) == testVersion
	case typeOpened:
		o := outcome{worker: h.worker, cause: p.U8()}
		if o.cause != causeNone {
			o.parse(&p)
		}
		c.opened[h.pool] = o
		c.log = append(c.log, fmt.Sprintf("opened %d", h.pool))
	case typeResults:
		c.takeResults(h, &p)
	case typeFailed:
		o := outcome{worker: h.worker, failed: true, cause: p.U8()}
		o.parse(&p)
		c.put(h.job, h.first, o)
		c.log = append(c.log, fmt.Sprintf("failed %d.%d", h.job, h.first))
	case typeEnded:
		c.log = append(c.log, fmt.Sprintf("ended %d", h.worker))
		w := c.workers[h.worker]
		if w == nil {
			c.t.Errorf("worker %d ended, which there is none", h.worker)
			return
		}
		w.pid = p.U32()
		w.why, w.report, w.tail = string(p.Bytes()), string(p.Bytes()), string(p.Bytes())
		w.ended = true
		if w.process == nil {
			delete(c.workers, w.number)
			return
		}
		if w.pid != uint32(w.process.Pid) {
			c.t.Errorf("worker %d is process %d, not %d", w.number, w.process.Pid, w.pid)
		}
		go c.reap(w)
	case typeClosed:
		c.closed[h.pool] = string(p.Bytes())
		c.log = append(c.log, fmt.Sprintf("closed %d", h.pool))
	case typeLeased:
		c.leases = append(c.leases, lent{h.worker, p.U64(), p.U64()})
	case typeRevoke:
		c.revoked = append(c.revoked, h.worker)
	case typeStatistics:
		c.stats = append(c.stats, string(p.Rest))
		p.Rest = nil
	case typeError:
		c.faults = append(c.faults, string(p.Bytes()))
	default:
		c.t.Errorf("unexpected frame: %v", h.typ)
	}
	if err := ended(&p, h.typ.String()); err != nil {
		c.t.Error(err)
	}
}

func (o *outcome) parse(p *parser) {
	o.runs = p.U32()
	o.message, o.stack = string(p.Bytes()), string(p.Bytes())
	for range p.U32() {
		o.deaths = append(o.deaths, p.U32())
	}
}

func (c *client) put(job uint64, index uint32, o outcome) {
	if c.outcomes[job] == nil {
		c.outcomes[job] = make(map[uint32]outcome)
	}
	if _, twice := c.outcomes[job][index]; twice {
		c.t.Errorf("task %d of job %d ended twice", index, job)
	}
	c.outcomes[job][index] = o
}

func (c *client) takeResults(h header, p *parser) {
	const placed = 1 << 55
	words := make([]uint64, h.count)
	for i := range words {
		words[i] = p.U64()
	}
	for i, word := range words {
		o := outcome{worker: h.worker, status: link.Status(word >> 56), placed: word&placed != 0}
		n := int(word & (placed - 1))
		if o.placed {
			off, slot, lease := int(p.U64()), p.U32(), p.U32()
			w := c.workers[h.worker]
			o.body = slices.Clone(w.shared(c.t)[off : off+n])
			binary.LittleEndian.PutUint32(w.leasesWords[4*slot:], lease)
		} else {
			o.body = p.Take(n)
		}
		c.put(h.job, h.first+uint32(i), o)
	}
}

// shared returns the worker's shared memory, mapped once.
func (w *child) shared(t testing.TB) []byte {
	if w.arena == nil {
		size, err := shm.Size(w.journal)
		if err == nil {
			w.arena, err = shm.Map(w.journal, size, false)
		}
		if err == nil {
			w.leasesWords, err = shm.Map(w.leases, 16384, true)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return w.arena
}

// start starts a worker.
func (c *client) start(h header, fds []int) {
	w := &child{
		number: h.worker, pool: h.pool, task: fds[7], result: fds[8], journal: fds[4], leases: fds[5], reaped: make(chan struct{}),
	}
	c.mu.Lock()
	refuse := c.refuse
	c.workers[w.number] = w
	c.mu.Unlock()
	if refuse != "" {
		link.CloseAll(fds)
		c.send(header{typ: typeStarted, worker: w.number}, appendString(u32s(0), refuse))
		return
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		c.t.Error(err)
		return
	}
	files := []*os.File{null, null, os.NewFile(uintptr(fds[6]), "stderr")}
	for i, fd := range fds[:6] {
		if i >= 4 { // both keep these
			if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
				c.t.Error(err)
			}
		}
		files = append(files, os.NewFile(uintptr(fd), "worker's"))
	}
	w.process, err = os.StartProcess("/proc/self/exe", []string{"worker of a test"}, &os.ProcAttr{
		Files: files, Env: append(os.Environ(), childMode+"=1", "GORACE=atexit_sleep_ms=0"), Sys: &unix.SysProcAttr{Setpgid: true},
	})
	for _, f := range files {
		if f != null {
			f.Close()
		}
	}
	null.Close()
	if err != nil {
		c.t.Errorf("starting a worker: %v", err)
		return
	}
	c.send(header{typ: typeStarted, worker: w.number}, u32s(uint32(w.process.Pid)))
}
