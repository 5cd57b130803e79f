// Package worker is the other side of a pool: the process that opens a state, takes chunks of tasks, runs them one
// after the other and answers. It doesn't know who decides what it is sent, nor the types of arguments and results,
// which its Registry's functions do. It never outlives the process that started it.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// ExitFault is the exit status of a worker that ends by its own or the protocol's fault, not by a task's.
const ExitFault = 70

// Kind opens states.
type Kind struct {
	Name string
	// Open decodes the configuration with the named codec and opens a state. It returns how long decoding took.
	Open func(ctx context.Context, codec string, config []byte, shared shm.Source) (state any, decode time.Duration, err error)
	// Close closes a state, nil for nothing to close.
	Close func(state any) error
}

// Function runs tasks.
type Function struct {
	Name string
	// Run runs the tasks of a chunk until its Next returns false.
	Run func(state any, c *Chunk)
	// Bind decodes arguments that are sent once; nil for a function without.
	Bind func(codec string, b []byte, shared shm.Source) (any, error)
}

// Registry finds what a program has registered.
type Registry interface {
	Kind(name string) *Kind
	Function(name string) *Function
}

// process is the state of this worker.
type process struct {
	reg     Registry
	in      *link.Reader
	out     *link.Outbox
	mem     *link.Shared
	shared  *shm.Table // what the parent has passed
	gc      collector
	codec   string
	kind    *Kind
	state   any
	funcs   map[uint32]*Function
	bound   map[uint64]binding // guarded by mu
	chunk   *Chunk             // that is running; kept so that the loop can go on after a task ended its goroutine
	limit   limit
	scratch []byte        // to encode results into; kept between chunks
	sealed  chan struct{} // closed when the loop is over

	mu        sync.Mutex
	running   *Chunk
	begun     uint64          // id of the last chunk that was
	returned  map[uint64]bool // chunks that will not be run when they come
	forgotten int             // segments since the last sweep began
	sweepable time.Time       // when another may begin
}

type binding struct {
	args   any
	err    error
	decode time.Duration // not yet accounted for
	shared []uint64      // segments that args refers to
}

// Main serves a pool until it ends. It does not return.
func Main(reg Registry, build string) {
	if err := inherited(); err != nil {
		fmt.Fprintln(os.Stderr, "brine: this program was told to be a worker, but not by a pool:", err)
		fmt.Fprintln(os.Stderr, "brine: unset BRINE_WORKER to run it by hand")
		os.Exit(ExitFault)
	}
	crash := os.NewFile(link.CrashFD, "crash")
	if err := debug.SetCrashOutput(crash, debug.CrashOptions{}); err != nil {
		fault(err)
	}
	crash.Close()
	mem, err := link.OpenShared(link.JournalFD, link.LeasesFD)
	if err != nil {
		fault(err)
	}
	out := link.NewOutbox(link.ResultFD, mem)
	p := &process{
		reg: reg, in: link.NewReader(link.TaskFD), out: out, mem: mem, shared: shm.NewTable(), funcs: make(map[uint32]*Function),
		bound: make(map[uint64]binding), returned: make(map[uint64]bool), sealed: make(chan struct{}),
	}
	p.limit.init(p)
	go p.control()
	hello := link.HelloMessage{Version: link.Version, PID: uint32(os.Getpid()), Build: build}
	if err := out.Frame(link.Header{Type: link.Hello}, hello.Append(nil)); err != nil {
		fault(err)
	}
	ready := p.open(build)
	if err := out.Frame(link.Header{Type: link.Ready}, ready.Append(nil)); err != nil {
		fault(err)
	}
	if ready.Status != link.OK {
		os.Exit(ExitFault)
	}
	go p.loop()
	<-p.sealed
	p.close()
	os.Exit(0)
}

// inherited checks that the descriptors of a worker are there, and keeps them from the worker's own children.
func inherited() error {
	for fd, kind := range map[int]uint32{
		link.TaskFD: unix.S_IFIFO, link.ResultFD: unix.S_IFIFO, link.ControlFD: unix.S_IFSOCK, link.CrashFD: unix.S_IFIFO,
		link.JournalFD: unix.S_IFREG, link.LeasesFD: unix.S_IFREG,
	} {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
		if uint32(st.Mode)&unix.S_IFMT != kind { //nolint:unconvert // not the same type everywhere
			return fmt.Errorf("descriptor %d is not what it should be", fd)
		}
		syscall.CloseOnExec(fd)
	}
	return nil
}

// fault ends the worker for a reason that is no task's.
func fault(err error) {
	fmt.Fprintln(os.Stderr, "brine: worker:", err)
	os.Exit(ExitFault)
}

// control listens for cancellations and takes in shared data. When the socket ends, the parent is gone, and so is this
// process with all that it has started, whatever its tasks are doing.
func (p *process) control() {
	in := link.NewControlReader(link.ControlFD)
	for {
		m, err := in.Next()
		if errors.Is(err, link.ErrBadMessage) {
			fault(fmt.Errorf("control socket: %w", err))
		}
		if err != nil {
			if syscall.Getpgrp() == os.Getpid() {
				_ = syscall.Kill(-os.Getpid(), syscall.SIGKILL)
			}
			os.Exit(ExitFault)
		}
		switch m.Type {
		case link.Cancel:
			p.cancel(m.ID, true)
		case link.Recall:
			p.cancel(m.ID, false)
		case link.Share:
			p.adopt(m)
		case link.Forget:
			p.forget(m.ID)
		default:
			fault(fmt.Errorf("unexpected frame on the control socket: %v", m.Type))
		}
	}
}

// adopt maps what the parent has shared. If that fails, it is the fault of the tasks that need it.
func (p *process) adopt(m link.Message) {
	if m.FD < 0 {
		p.shared.Put(m.ID, nil, errors.New("shared data did not arrive: the worker has too many open files"))
		return
	}
	s, err := shm.Adopt(m.FD, m.Size)
	p.shared.Put(m.ID, s, err)
}

// cancel returns a chunk that has not begun. One that has is stopped, or left alone.
func (p *process) cancel(id uint64, stop bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.running != nil && p.running.id == id:
		if stop {
			p.running.cancel()
		}
	case id > p.begun && !p.returned[id]:
		p.returned[id] = true
		// Under the lock, so that it comes before the results of any chunk behind it.
		if err := p.out.Frame(link.Header{Type: link.Returned, Chunk: id}, nil); err != nil {
			fault(err)
		}
	}
}

// open reads the first frame and opens the state.
func (p *process) open(build string) (ready link.ReadyMessage) {
	failed := func(err error) link.ReadyMessage {
		return link.ReadyMessage{Status: link.Failed, Body: codec.AppendError(nil, err)}
	}
	h, payload, err := p.next()
	if err != nil {
		fault(err)
	}
	var m link.InitMessage
	if h.Type != link.Init {
		return failed(fmt.Errorf("first frame is %v, not init", h.Type))
	}
	if err := m.Parse(payload); err != nil {
		return failed(err)
	}
	var config link.Item
	if rest, err := config.NextArgument(m.Config, p.mem.Arguments); err != nil || len(rest) > 0 {
		return failed(cmp.Or(err, link.ErrBadItem))
	}
	if m.Version != link.Version || m.Build != build {
		return failed(fmt.Errorf("the worker is another build (protocol %d, %s) than its parent (protocol %d, %s)", link.Version, build, m.Version, m.Build))
	}
	if m.MaxMemory > 0 {
		if err := capMemory(m.MaxMemory); err != nil {
			return failed(err)
		}
	}
	p.gc.init(m.MaxMemory > 0)
	p.codec = m.Codec
	if p.kind = p.reg.Kind(m.Kind); p.kind == nil {
		return failed(fmt.Errorf("kind %s is not registered in the worker: define it in a package variable, before brine.Main", m.Kind))
	}
	done := make(chan struct{})
	go func() { // of its own, for an initializer may end its goroutine
		defer close(done)
		finished := false
		defer func() {
			if finished {
				return
			}
			if v := recover(); v != nil {
				pm := link.PanicMessage{Value: describe(v), Stack: stack()}
				ready = link.ReadyMessage{Status: link.Panicked, Body: pm.Append(nil)}
				return
			}
			ready = failed(errors.New("the initializer called runtime.Goexit"))
		}()
		state, decode, err := p.kind.Open(context.Background(), m.Codec, config.Body, p.shared)
		finished = true
		if err != nil {
			ready = failed(err)
			return
		}
		p.state = state
		ready = link.ReadyMessage{Status: link.OK, Decode: int64(decode)}
	}()
	<-done
	return ready
}

// capMemory limits the memory that this process can have, for good. The collector is told to work harder before that.
func capMemory(n int64) error {
	limit := rlimit(n)
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &limit); err != nil {
		return fmt.Errorf("limiting memory to %d bytes: %w", n, err)
	}
	debug.SetMemoryLimit(n / 4 * 3)
	return nil
}

// next returns the next frame. Before it waits for one, everything that was published is written.
func (p *process) next() (link.Header, []byte, error) {
	for {
		if h, payload, ok := p.in.Next(); ok {
			return h, payload, nil
		}
		if err := p.out.Flush(); err != nil {
			return link.Header{}, nil, err
		}
		if err := p.in.Fill(); err != nil {
			return link.Header{}, nil, err
		}
	}
}

// loop takes frames until the parent ends the worker. A task that ends its goroutine ends this one: then another goes
// on where it stopped.
func (p *process) loop() {
	over := false
	debug.SetPanicOnFault(true) // so that writing to read-only memory is the task's panic and not the worker's end
	defer func() {
		if !over {
			go p.loop()
		}
	}()
	p.runChunk()
	for {
		h, payload, err := p.next()
		if errors.Is(err, io.EOF) {
			select {} // the parent is gone; control ends the process
		}
		if err != nil {
			fault(err)
		}
		switch h.Type {
		case link.Chunk:
			if err := p.takeChunk(h, payload); err != nil {
				fault(err)
			}
			p.runChunk()
		case link.Func:
			p.funcs[h.Func] = p.reg.Function(string(payload))
			if p.funcs[h.Func] == nil {
				p.funcs[h.Func] = &Function{Name: string(payload), Run: unknown}
			}
		case link.Bind:
			b, err := p.bind(h, payload)
			if err != nil {
				fault(err)
			}
			p.mu.Lock()
			p.bound[h.Chunk] = b
			p.mu.Unlock()
		case link.Free:
			if len(payload) > 0 {
				fault(fmt.Errorf("free: %w", link.ErrBadMessage))
			}
			p.mu.Lock()
			delete(p.bound, h.Chunk)
			p.mu.Unlock()
		case link.Quit:
			if len(payload) > 0 {
				fault(fmt.Errorf("quit: %w", link.ErrBadMessage))
			}
			over = true
			close(p.sealed)
			return
		default:
			fault(fmt.Errorf("unexpected frame: %v", h.Type))
		}
	}
}

// bind takes arguments in. An error is the parent's fault; that of a binding is its tasks'.
func (p *process) bind(h link.Header, payload []byte) (binding, error) {
	f := p.funcs[h.Func]
	if f == nil {
		return binding{}, fmt.Errorf("arguments %d are bound to function %d, which has no name", h.Chunk, h.Func)
	}
	var item link.Item
	rest, err := item.NextArgument(payload, p.mem.Arguments)
	if err == nil && len(rest) > 0 {
		err = link.ErrBadItem
	}
	if err != nil {
		return binding{}, fmt.Errorf("bound arguments %d: %w", h.Chunk, err)
	}
	if f.Bind == nil {
		return binding{err: errors.New("the function takes no bound arguments")}, nil
	}
	start := time.Now()
	shared := &shm.Recorder{Source: p.shared}
	args, err := f.Bind(p.codec, item.Body, shared)
	return binding{args, err, time.Since(start), shared.IDs}, nil
}

func unknown(_ any, c *Chunk) {
	for c.Next() {
		c.Fail(link.BadArg, errors.New("function is not registered in the worker: register it in a package variable, before brine.Main"))
	}
}

func (p *process) takeChunk(h link.Header, payload []byte) error {
	var m link.ChunkMessage
	items, err := m.Parse(payload)
	if err != nil {
		return err
	}
	f := p.funcs[h.Func]
	if f == nil {
		return fmt.Errorf("chunk %d is for function %d, which has no name", h.Chunk, h.Func)
	}
	if h.Chunk <= p.begun { // which only this goroutine writes
		return fmt.Errorf("chunk %d comes after chunk %d", h.Chunk, p.begun)
	}
	c := &Chunk{p: p, f: f, id: h.Chunk, count: h.Count, items: items, lent: h.Flags&link.Lent != 0, timeout: time.Duration(m.Timeout)}
	if m.Bound != 0 {
		p.mu.Lock()
		b, ok := p.bound[m.Bound]
		if ok {
			c.bound = b
			b.decode = 0
			p.bound[m.Bound] = b
		}
		p.mu.Unlock()
		if !ok {
			return fmt.Errorf("chunk %d needs bound arguments %d, which never came", h.Chunk, m.Bound)
		}
	}
	p.chunk = c
	return nil
}

// runChunk runs what is left of the current chunk.
func (p *process) runChunk() {
	c := p.chunk
	if c == nil {
		return
	}
	if c.begun || c.begin() {
		c.f.Run(p.state, c)
		c.end()
	}
	p.chunk = nil
}

// close closes the state and says goodbye.
func (p *process) close() {
	bye := link.ReadyMessage{Status: link.OK}
	if p.kind.Close != nil {
		func() {
			defer func() {
				if v := recover(); v != nil {
					pm := link.PanicMessage{Value: describe(v), Stack: stack()}
					bye = link.ReadyMessage{Status: link.Panicked, Body: pm.Append(nil)}
				}
			}()
			if err := p.kind.Close(p.state); err != nil {
				bye = link.ReadyMessage{Status: link.Failed, Body: codec.AppendError(nil, err)}
			}
		}()
	}
	if err := p.out.Frame(link.Header{Type: link.Bye}, bye.Append(nil)); err != nil {
		fault(err)
	}
}
