// Package engine is a pool of workers in the parent, for any front end: it puts the scheduler, links, processes and
// the ledger together. It knows when workers live and die and which bytes go where; it doesn't know the types of
// arguments and results, which its Work does, nor what a worker makes of the bytes.
//
// Each worker has exactly one owner at a time: nobody while it is idle, a calling goroutine that leased it for one
// call, or its slot's goroutine. The owner alone reads and writes its pipes, so they need no lock. Everything that
// owners share is guarded by Engine.mu.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/sched"
	"github.com/brinepool/brine/internal/shm"
)

// ErrClosed says that the pool takes no more work.
var ErrClosed = errors.New("brine: pool is closed")

// crowdMemory is how many calls queue after one has found no idle worker.
const crowdMemory = 64

// Config says what to run. The caller has checked it and filled in the defaults.
type Config struct {
	Workers   int
	MaxTasks  int // a worker is replaced after so many, 0 for never
	MaxMemory int64
	Grace     time.Duration
	Stdout    io.Writer // nil: the parent's
	Stderr    io.Writer // nil: the parent's
	Logger    *slog.Logger

	Path  string   // of the worker's program
	Args  []string // with its name first
	Env   []string
	Build string // identity of the program, which the worker's must equal

	Kind   string
	Codec  string
	Depth  int    // how many pools this one is nested in
	Config []byte // encoded, for the initializer
	Encode time.Duration
	Shared []*shm.Segment // that the configuration refers to, used by the engine from here on
	Beside int64          // bytes of the configuration that lie elsewhere

	Arena int64 // bytes of shared memory in each direction of each worker

	// Launch starts a worker, nil for a child of this program. Farewell is how long a worker may take to close its state
	// and exit, 0 for Grace.
	Launch   Launch
	Farewell time.Duration
	// Revoke asks whoever borrowed a worker to give it back. It must not call the engine, nor wait.
	Revoke func(worker uint32)
}

// Engine is a running pool of workers. Its methods are safe for concurrent use.
type Engine struct {
	cfg    Config
	began  time.Time // from when the ledger counts
	ledger *ledger.Ledger
	parent *ledger.Process
	counts counts

	mu      sync.Mutex
	queue   sched.Queue
	slots   []*slot
	shared  map[uint64]*shm.Segment // that are counted as published
	idle    []*slot                 // nobody's; the last one was used last
	jobs    map[*Job]struct{}
	drained *sync.Cond
	closing bool
	killed  bool
	down    error // why there are no workers, when all slots have given up
	lost    int   // slots that have given up
	crowd   int   // calls that are still to queue since one found no idle worker
	recall  *time.Timer
	lent    int // workers

	dismissals atomic.Uint64 // of bound arguments

	weights sync.Mutex
	weighed map[weighedKey]weighed // guarded by weights
	looked  atomic.Int64           // nanoseconds
	over    atomic.Int64           // when all workers had ended

	functions sync.Map // name to *Function
	numbers   atomic.Uint32
	running   sync.WaitGroup // slot goroutines
	quitErrs  []error
	stopping  chan struct{} // closed when no worker is to be started any more
	first     chan error    // how the first start of each slot went
}

// Open starts the workers and waits until all are ready. The first that can't be is the error.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	e := Start(cfg)
	if err := e.Ready(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Start begins to start the workers. The engine takes work at once; Ready must be called.
func Start(cfg Config) *Engine {
	e := &Engine{cfg: cfg, began: time.Now(), weighed: make(map[weighedKey]weighed), jobs: make(map[*Job]struct{}), shared: make(map[uint64]*shm.Segment), stopping: make(chan struct{})}
	e.drained = sync.NewCond(&e.mu)
	e.ledger, e.parent = ledger.New(os.Getpid())
	e.cfg.Stdout, e.cfg.Stderr = shared(cfg.Stdout, cfg.Stderr)
	n := int64(len(cfg.Config)) + cfg.Beside
	if n > 0 {
		e.parent.Lines(cfg.Kind)[ledger.Config][ledger.Encode].Add(1, n, n, cfg.Encode)
	}

	if cfg.Launch == nil {
		e.cfg.Launch = e.startOwn
	}
	if cfg.Farewell == 0 {
		e.cfg.Farewell = cfg.Grace
	}
	e.first = make(chan error, cfg.Workers)
	for i := range cfg.Workers {
		s := &slot{e: e, id: i, wake: make(chan struct{}, 1)}
		e.slots = append(e.slots, s)
	}
	e.running.Add(len(e.slots))
	for _, s := range e.slots {
		go s.run(e.first)
	}
	return e
}

// Ready waits until all workers are. The first that can't be is the error; then all have ended.
func (e *Engine) Ready(ctx context.Context) error {
	stop := context.AfterFunc(ctx, e.Kill)
	var first error
	for range e.cfg.Workers {
		if err := <-e.first; err != nil && first == nil {
			first = err
			e.kill(fmt.Errorf("brine: the pool could not be opened: %w", err))
		}
	}
	if !stop() && ctx.Err() != nil {
		first = ctx.Err()
	}
	if first != nil {
		e.Kill()
	}
	return first
}

// ended waits for the slots to end, and releases what the engine used.
func (e *Engine) ended() {
	e.running.Wait()
	e.over.CompareAndSwap(0, int64(e.now()))
	e.mu.Lock()
	used, noted := e.cfg.Shared, e.shared
	e.cfg.Shared, e.shared = nil, make(map[uint64]*shm.Segment)
	e.mu.Unlock()
	for _, s := range noted {
		s.Drop(e)
	}
	shm.ReleaseAll(used)
}

// Function returns the pool's entry of a function, for its caller to keep.
func (e *Engine) Function(name string) *Function {
	if f, ok := e.functions.Load(name); ok {
		return f.(*Function)
	}
	f := &Function{Name: name, number: e.numbers.Add(1) - 1, sent: e.parent.Lines(name)}
	if old, loaded := e.functions.LoadOrStore(name, f); loaded {
		return old.(*Function)
	}
	return f
}

// AddBound counts the encoding of bound arguments, of which some bytes lie elsewhere. That many bindings have equal content is as bad as many arguments.
func (e *Engine) AddBound(f *Function, b []byte, beside int64, unordered bool, d time.Duration) {
	n := int64(len(b)) + beside
	f.sent[ledger.Bound][ledger.Encode].Add(1, n, n, d)
	e.ledger.Watch(f.Name, ledger.Bound, b, unordered)
}

// Workers returns how many workers the pool keeps.
func (e *Engine) Workers() int { return e.cfg.Workers }

// Grace returns how long a task that was told to stop may take.
func (e *Engine) Grace() time.Duration { return e.cfg.Grace }

// Submit queues a job of n tasks. With more, the job is open for Extend until Finish.
func (e *Engine) Submit(j *Job, n int, more bool) error {
	j.done = make(chan struct{})
	e.mu.Lock()
	if err := e.admit(j, n, more); err != nil {
		e.mu.Unlock()
		return err
	}
	e.enqueue(j, n)
	e.mu.Unlock()
	return nil
}

// Deal is Submit for a caller that must not wait, but has the time to send: where a worker is idle, it is sent the first
// chunk at once, which is one hand-over between threads less. Its goroutine, which is woken meanwhile, takes the results.
func (e *Engine) Deal(j *Job, n int, more bool) error {
	j.done = make(chan struct{})
	e.mu.Lock()
	if err := e.admit(j, n, more); err != nil {
		e.mu.Unlock()
		return err
	}
	if n == 0 || len(e.idle) == 0 || e.queue.Len() > 0 {
		e.enqueue(j, n)
		e.mu.Unlock()
		return nil
	}
	s := e.takeIdle()
	w := s.w
	e.queue.Extend(&j.queue, n)
	w.take(w.allowance())
	e.rouse(e.queue.Len())
	e.mu.Unlock()
	w.post()
	s.awake()
	return nil
}

// Call runs a job of one task and returns when it has ended. Where a worker is idle the calling goroutine drives it
// itself: then a call takes two hand-overs between threads, the fewest there can be. Where callers crowd, they all
// queue, so that their calls travel together; a goroutine that drives a worker holds its processor meanwhile, and the
// other callers could not even get as far as the queue.
func (e *Engine) Call(j *Job) error {
	e.mu.Lock()
	if err := e.admit(j, 1, false); err != nil {
		e.mu.Unlock()
		return err
	}
	if len(e.idle) == 0 || e.queue.Len() > 0 {
		e.crowd = crowdMemory
	}
	if e.crowd > 0 {
		e.crowd--
		j.done = make(chan struct{})
		e.enqueue(j, 1)
		e.mu.Unlock()
		<-j.done
		return nil
	}
	s := e.takeIdle()
	w := s.w
	e.queue.Extend(&j.queue, 1)
	w.take(1)
	e.mu.Unlock()
	if !s.lease(w, j) {
		<-j.done
	}
	return nil
}

// Err returns why the engine takes no work, nil when it does.
func (e *Engine) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open()
}

// open is Err for those who hold mu.
func (e *Engine) open() error {
	if e.closing || e.killed {
		return ErrClosed
	}
	return e.down
}

// admit takes up a job, or says why not. Its caller holds mu.
func (e *Engine) admit(j *Job, n int, more bool) error {
	if err := e.open(); err != nil {
		return err
	}
	open := int64(n)
	if more {
		open++
	}
	j.left.Store(open)
	e.jobs[j] = struct{}{}
	// Under mu, so that a cancellation comes after the job's tasks are in the queue.
	if j.ctx.Done() != nil {
		j.stop = context.AfterFunc(j.ctx, func() { e.Cancel(j, j.ctx.Err()) })
	}
	return nil
}

// enqueue queues the next n tasks of j and wakes as many idle workers as can be of use. Its caller holds mu.
func (e *Engine) enqueue(j *Job, n int) {
	e.queue.Extend(&j.queue, n)
	e.rouse(n)
}

func (e *Engine) rouse(n int) {
	for ; n > 0 && len(e.idle) > 0; n-- {
		e.takeIdle().awake()
	}
	if n > 0 && e.lent > 0 {
		e.revoke(n)
	}
}

func (e *Engine) takeIdle() *slot {
	last := len(e.idle) - 1
	s := e.idle[last]
	e.idle = e.idle[:last]
	s.idle = false
	return s
}

// Extend adds the next n tasks to a job that was submitted with more to come.
func (e *Engine) Extend(j *Job, n int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.open(); err != nil && (!j.Late || e.killed || e.down != nil) {
		return err
	}
	if j.cancelled != nil {
		return j.cancelled // its tasks would be in no queue
	}
	j.left.Add(int64(n))
	e.enqueue(j, n)
	return nil
}

// Finish says that a job submitted with more to come has all its tasks.
func (e *Engine) Finish(j *Job) { e.settle(j, 1) }

// settle counts tasks of j that have ended, and returns true when they were the last and somebody waits for them.
func (e *Engine) settle(j *Job, n int) (awaited bool) {
	if j.left.Add(-int64(n)) != 0 {
		return false
	}
	if j.stop != nil {
		j.stop()
	}
	e.mu.Lock()
	delete(e.jobs, j)
	if len(e.jobs) == 0 {
		e.drained.Broadcast()
	}
	if j.force != nil {
		j.force.Stop()
	}
	done, kept := j.done, j.kept
	j.kept = nil
	if j.Bound != nil && j.Bound.Passing {
		e.dismiss(j.Bound)
	}
	e.mu.Unlock()
	shm.ReleaseAll(kept)
	if done == nil {
		return false
	}
	close(done)
	return true
}

// Close takes no more work, waits for what was submitted, lets the workers close their states and waits for their
// end. It returns what their states' Close returned.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closing = true
	for j := range e.jobs {
		j.work.Closing()
	}
	for len(e.jobs) > 0 && !e.killed {
		e.drained.Wait()
	}
	e.stop()
	e.mu.Unlock()
	e.ended()
	e.mu.Lock()
	defer e.mu.Unlock()
	return errors.Join(e.quitErrs...)
}

// Kill ends all workers at once. Tasks that have not ended fail.
func (e *Engine) Kill() { e.kill(ErrClosed) }

// kill is Kill, for a reason that tasks which wait are told.
func (e *Engine) kill(why error) {
	e.mu.Lock()
	e.killed, e.closing = true, true
	e.drained.Broadcast()
	e.failQueued(Refused, why)
	for _, s := range e.slots {
		if s.w != nil {
			s.w.notePeak()
			s.w.proc.Kill(why)
		}
	}
	e.seize()
	e.stop()
	e.mu.Unlock()
	e.ended()
}

// stop has the idle slots end, and those that wait to start a worker. Its caller holds mu.
func (e *Engine) stop() {
	select {
	case <-e.stopping:
	default:
		close(e.stopping)
	}
	if e.recall != nil {
		e.recall.Stop()
	}
	for len(e.idle) > 0 {
		e.takeIdle().awake()
	}
	e.revoke(e.lent)
}

// failQueued fails every task that waits in the queue. Its caller holds mu, and gets it back.
func (e *Engine) failQueued(cause Cause, err error) {
	type lot struct {
		j     *Job
		spans []sched.Span
	}
	var lots []lot
	for j := range e.jobs {
		lots = append(lots, lot{j, e.queue.Drop(&j.queue)})
	}
	e.mu.Unlock()
	for _, l := range lots {
		for _, s := range l.spans {
			e.failSpan(l.j, s, cause, err)
		}
		l.j.work.Flushed()
	}
	e.mu.Lock()
}

func (e *Engine) failSpan(j *Job, s sched.Span, cause Cause, err error) {
	if s.Len() == 0 {
		return
	}
	j.failSpan(s, cause, err)
	e.counts.failed.Add(int64(s.Len()))
	e.settle(j, s.Len())
}

// shared makes the writers of all workers safe to write to from several goroutines.
func shared(stdout, stderr io.Writer) (io.Writer, io.Writer) {
	wrap := func(w io.Writer) io.Writer {
		if w == nil {
			return nil
		}
		if f, ok := w.(*os.File); ok {
			return f
		}
		return &lockedWriter{w: w}
	}
	out := wrap(stdout)
	if stdout != nil && equal(stdout, stderr) {
		return out, out
	}
	return out, wrap(stderr)
}

// equal compares writers, which may be of a type that can't be compared.
func equal(a, b io.Writer) (same bool) {
	defer func() { _ = recover() }()
	return a == b
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, fmt.Errorf("writer panicked: %v", v)
		}
	}()
	return l.w.Write(b)
}
