package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/proc"
	"github.com/brinepool/brine/internal/sched"
	"github.com/brinepool/brine/internal/shm"
)

// Work is the typed side of a job: its arguments and what becomes of its results. Tasks are numbered from 0. For each
// task, exactly one of Decode (without an error) and Fail is called, once, from any goroutine; calls for different
// tasks may be concurrent.
type Work interface {
	// Estimate returns about how many bytes Encode will append, as far as that is cheap to know; 0 is always right. It is
	// called for a Sized job only.
	Estimate(i int) int
	// Encode appends the encoded argument of a task, and adds the shared data that it refers to; refs is nil unless the
	// job is Sized. It may be called again for a retry.
	Encode(dst []byte, i int, refs *shm.Refs) ([]byte, error)
	// Decode takes the encoded result of a task, which is valid during the call only.
	Decode(i int, b []byte) error
	// Fail says that a task ended without a result.
	Fail(i int, f *Failure)
	// Flushed is called after a batch of Decode and Fail calls.
	Flushed()
	// Closing says that the engine takes no more tasks: Extend will fail. It must not call the engine.
	Closing()
}

// Keeper is a Work that takes results to where they are used, instead of Decode: b is valid until release is called, which
// must be done once, from any goroutine, unless Keep returns an error.
type Keeper interface {
	Keep(i int, b []byte, release func()) error
}

// Forwarder is a Work that passes results on as they are. It is asked for results and encoded errors, which are that of
// consecutive tasks from first on, in place of Decode, and of Fail for the errors. Bodies are valid during the call
// only; what has a Place is in the worker's arena until its lease is given back, which is for whom it is passed on to.
type Forwarder interface {
	Forward(first int, items []link.Item, worker uint32)
}

// Relay is a Work whose arguments somebody else has encoded, who may have put some of their bytes elsewhere, where the
// workers get at them by themselves. The account is to have what he did.
type Relay interface {
	Origin(lo, hi int) Origin
}

// Origin tells of the arguments of some tasks.
type Origin struct {
	Beside int64 // bytes that lie elsewhere
	Most   int64 // bytes of the largest argument that has some, with them
	Begun  time.Time
	Encode time.Duration
}

// Cause says how a task failed.
type Cause int

// The causes.
const (
	Erred     Cause = iota // the function returned an error: Failure.Err, a *codec.RemoteError
	Panicked               // it panicked: Value and Stack
	Exited                 // it called runtime.Goexit
	Crashed                // its worker died with it: Deaths
	TimedOut               // it was over its time: Stack, Deaths if it had to be killed, Err if it returned one
	Cancelled              // its context ended: Err
	Unsent                 // its argument could not be encoded, or decoded by the worker: Err
	Unread                 // its result could not be encoded, or decoded here: Err
	Refused                // the pool was closed or has no workers left: Err
)

// Failure tells how a task ended without a result.
type Failure struct {
	Cause        Cause
	Attempt      int // runs so far, this one included; 0 when it never ran
	Err          error
	Raw          []byte // Err as it came, where an initializer returned it
	Value, Stack string
	Deaths       []Death // of the workers that this task ended, in order
	Timeout      time.Duration
}

// Death is the end of one worker.
type Death struct {
	proc.Autopsy
	PID       int
	Worker    uint32 // as the front end knows it
	Err       error  // why the worker was ended, if it was
	MaxMemory int64  // its cap, 0 for none
}

// byOthers says that somebody sent the process a signal that ended it.
func (d *Death) byOthers() bool {
	var ws syscall.WaitStatus
	if d.Status != nil {
		ws = *d.Status
	} else if d.State != nil {
		ws, _ = d.State.Sys().(syscall.WaitStatus)
	}
	if !ws.Signaled() {
		return false
	}
	sig := ws.Signal()
	return sig == syscall.SIGKILL || sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGHUP
}

// Function is a function as one pool knows it.
type Function struct {
	Name   string
	number uint32
	cost   sched.Cost
	sent   *ledger.Lines // of the parent
}

// AddEncode counts time that somebody else spent encoding arguments.
func (f *Function) AddEncode(d time.Duration) { f.sent[ledger.Argument][ledger.Encode].Add(0, 0, 0, d) }

// Job is work that was submitted to an engine.
type Job struct {
	Func    *Function
	Bound   *Bound
	Timeout time.Duration
	Retries int
	Sized   bool // arguments may be large, or refer to shared data; others are known to be small
	Lent    bool // the worker reads large arguments in place
	Late    bool // it may also be extended when the pool is being closed

	work    Work
	keep    Keeper    // work, if it is one
	forward Forwarder // work, if it is one
	relay   Relay     // work, if it is one
	ctx     context.Context
	queue   sched.Job
	left    atomic.Int64 // tasks not ended, and one more while the job may be extended
	done    chan struct{}
	stop    func() bool

	// Guarded by Engine.mu.
	cancelled error          // why, once it is
	force     *time.Timer    // ends its workers, once it is
	kept      []*shm.Segment // that tasks use which were sent and came back

	mu     sync.Mutex
	deaths map[int][]Death
}

// NewJob returns a job of no tasks yet. chunk is the number of tasks sent together, 0 for as many as seem right.
func NewJob(ctx context.Context, f *Function, work Work, chunk int) *Job {
	j := &Job{Func: f, work: work, ctx: ctx}
	j.keep, _ = work.(Keeper)
	j.forward, _ = work.(Forwarder)
	j.relay, _ = work.(Relay)
	j.queue = sched.Job{Owner: j, Cost: &f.cost, Chunk: chunk}
	return j
}

// Done is closed when all tasks of a submitted job have ended.
func (j *Job) Done() <-chan struct{} { return j.done }

func (j *Job) fail(i int, f *Failure) { j.work.Fail(i, f) }

// failSpan fails tasks that were not run.
func (j *Job) failSpan(s sched.Span, cause Cause, err error) {
	for i := s.Lo; i < s.Hi; i++ {
		j.fail(i, &Failure{Cause: cause, Attempt: s.Attempt, Err: err, Deaths: j.reports(i)})
	}
}

func (j *Job) reports(i int) []Death {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.deaths[i]
}

func (j *Job) addDeath(i int, d Death) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.deaths == nil {
		j.deaths = make(map[int][]Death)
	}
	j.deaths[i] = append(j.deaths[i], d)
}

func remoteError(b []byte) error {
	e, err := codec.DecodeError(b)
	if err != nil {
		return err
	}
	return e
}
