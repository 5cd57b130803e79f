package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

const (
	// maxWorkers bounds the workers of a pool.
	maxWorkers = 1 << 14
	// maxDepth is how many pools may be nested, as in Go.
	maxDepth = 3
	// maxArena bounds the arenas of a pool, which take that much of the address space.
	maxArena = 1 << 44
	// arenaShare is the part of the memory there is that arenas may take where the client doesn't say: one in so many.
	arenaShare = 8
	// farewell is how long a worker may take to exit, at least: a program's exit handlers run meanwhile.
	farewell = 5 * time.Second
)

// pool is one of the client's.
type pool struct {
	c      *connection
	number uint32
	name   string
	e      *engine.Engine
	last   *engine.Function // that was submitted
	opened chan struct{}    // closed when the client was told that it is, or why not
	ending sync.Once        // the first of close and kill has closed told
	stderr *os.File
	arena  arena

	looking looking
	whole   atomic.Bool // the last account is to have all chunks that are known
}

// open begins to open a pool.
func (c *connection) open(h header, payload []byte) error {
	fd := c.in.takeFD()
	if fd < 0 {
		return wrong("open: no descriptor came with it")
	}
	stderr := os.NewFile(uintptr(fd), "stderr of workers")
	if h.flags&hasArena == 0 && c.in.stray() {
		_ = stderr.Close()
		return wrong("open: a descriptor came that its flags don't speak of")
	}
	var memory arena
	arenaFD := -1
	if h.flags&hasArena != 0 {
		if arenaFD = c.in.takeFD(); arenaFD >= 0 {
			memory = c.arenas.open(arenaFD)
		}
	}
	p := parser{Rest: payload}
	workers, maxTasks := p.U32(), p.U32()
	most, grace, size := int64(p.U64()), int64(p.U64()), int64(p.U64())
	depth := p.U32()
	name := string(p.Bytes())
	config := append([]byte(nil), p.Rest...)
	err := p.Err("open")
	switch {
	case err != nil:
		err = &fault{err}
	case h.flags&^hasArena != 0 || (h.flags != 0 && arenaFD < 0):
		err = wrong("open: flags %d without the descriptors that they speak of", h.flags)
	case workers == 0 || workers > maxWorkers:
		err = wrong("open: %d workers", workers)
	case maxTasks > math.MaxInt32:
		err = wrong("open: a worker of %d tasks", maxTasks)
	case most < 0 || grace < 0 || size < 0 || size > maxArena/int64(2*workers):
		err = wrong("open: memory cap %d, grace %d, arena %d", most, grace, size)
	case c.pools[h.pool] != nil:
		err = wrong("open: pool %d is there already", h.pool)
	}
	if err != nil {
		_ = stderr.Close()
		return err
	}
	if size == 0 {
		size = shm.Total() / arenaShare / int64(2*workers)
	}
	pl := &pool{c: c, number: h.pool, name: name, opened: make(chan struct{}), stderr: stderr, arena: memory}
	launch := pl.launch
	if depth >= maxDepth {
		launch = refuse(fmt.Errorf("a pool inside a task of a pool inside a task, %d deep: does a task open a pool for itself?", depth))
	}
	pl.e = engine.Start(engine.Config{
		Workers: int(workers), MaxTasks: int(maxTasks), MaxMemory: most, Grace: time.Duration(grace),
		Stderr: stderr, Logger: slog.Default(), Build: "brine engine " + c.version, Kind: name, Depth: int(depth), Config: config, Arena: size,
		Beside: memory.beside(config), Launch: launch, Farewell: max(time.Duration(grace), farewell), Revoke: pl.revoke,
	})
	c.mu.Lock()
	c.pools[h.pool] = pl
	c.mu.Unlock()
	pl.weigh(name, bill.Initializer, int64(len(config))+memory.beside(config), func() ([]byte, []int64, bool) { return memory.look(config) })
	c.running.Go(pl.await)
	return nil
}

// refuse is the launch of workers that are not to be.
func refuse(why error) engine.Launch {
	return func(l *link.Parent, _ []int) (engine.Process, error) {
		_ = syscall.Close(l.CrashFD())
		return nil, why
	}
}

// await tells the client when all workers are ready, or why not.
func (p *pool) await() {
	defer close(p.opened)
	err := p.e.Ready(context.Background())
	if err == nil {
		p.c.out.frame(header{typ: typeOpened, pool: p.number}, func(b []byte) []byte { return append(b, causeNone) })
		return
	}
	f, worker := openFailure(err)
	p.c.out.frame(header{typ: typeOpened, pool: p.number, worker: worker}, func(b []byte) []byte { return appendFailure(b, f) })
	_ = p.stderr.Close()
}

// causeNone is the cause of a pool that was opened.
const causeNone = 255

// openFailure is the failure of a pool's start, and the worker that it was.
func openFailure(err error) (*engine.Failure, uint32) {
	if s, ok := errors.AsType[*engine.StartError](err); ok {
		f := *s.Failure
		switch f.Cause {
		case engine.Panicked:
			f = engine.Failure{Cause: engine.Erred, Raw: codec.AppendError(nil, s), Stack: f.Stack}
		case engine.Crashed:
			f.Err = err
		default:
		}
		return &f, s.Worker
	}
	return &engine.Failure{Cause: engine.Refused, Err: err}, 0
}

// pool returns the pool that a frame is about.
func (c *connection) pool(h header) (*pool, error) {
	if p := c.pools[h.pool]; p != nil {
		return p, nil
	}
	return nil, wrong("%v: there is no pool %d", h.typ, h.pool)
}

// close lets a pool end when its jobs have.
func (c *connection) close(h header) error {
	p, err := c.pool(h)
	if err != nil {
		return err
	}
	p.end(h)
	c.running.Go(func() {
		err := p.e.Close()
		p.looking.wait()
		p.tell(err)
	})
	return nil
}

// kill ends a pool at once.
func (c *connection) kill(h header) error {
	p, err := c.pool(h)
	if err != nil {
		return err
	}
	p.end(h)
	c.running.Go(p.kill)
	return nil
}

// end notes what the client wants of the account when the pool ends.
func (p *pool) end(h header) {
	if h.flags&allChunks != 0 {
		p.whole.Store(true)
	}
}

func (p *pool) kill() {
	p.e.Kill()
	p.tell(nil)
}

// tell tells the client, once, that a pool has ended.
func (p *pool) tell(err error) {
	<-p.opened
	p.ending.Do(func() {
		_ = p.stderr.Close()
		chunks := lastChunks
		if p.whole.Load() {
			chunks = math.MaxInt
		}
		p.sendAccount(chunks)
		p.c.out.frame(header{typ: typeClosed, pool: p.number}, func(b []byte) []byte {
			if err == nil {
				return appendString(b, "")
			}
			return appendString(b, err.Error())
		})
	})
}

// statistics answers with a pool's account.
func (c *connection) statistics(h header) error {
	p, err := c.pool(h)
	if err != nil {
		return err
	}
	c.running.Go(func() {
		p.looking.wait()
		p.sendAccount(math.MaxInt)
	})
	return nil
}

// lastChunks is how many chunks there are in the account of a pool that has ended, unless the client wants all: who closes a
// pool should not have to wait for thousands of them.
const lastChunks = 1024

// sendAccount sends the client the account of the pool, with so many of the last chunks.
func (p *pool) sendAccount(chunks int) {
	b, err := json.Marshal(p.account(chunks))
	if err != nil {
		b = []byte("{}") // of plain numbers and texts, which JSON can have
	}
	p.c.out.frame(header{typ: typeStatistics, pool: p.number}, func(to []byte) []byte { return append(to, b...) })
}

// lease lends the client an idle worker, if there is one.
func (c *connection) lease(h header) error {
	p, err := c.pool(h)
	if err != nil {
		return err
	}
	answer := header{typ: typeLeased, pool: h.pool}
	var id, received uint64
	if l := p.e.Lend(); l != nil {
		answer.worker = l.Worker()
		id, received = l.Position()
		c.mu.Lock()
		c.loans[answer.worker] = l
		w := c.workers[answer.worker]
		c.mu.Unlock()
		if w != nil {
			// If it has just ended, watch took it for one that isn't lent.
			select {
			case <-w.Ended():
				defer c.running.Go(w.tell)
			default:
			}
		}
	}
	c.out.frame(answer, func(b []byte) []byte { return appendU64(appendU64(b, id), received) })
	return nil
}

// revoke asks the client for a worker back. The engine's lock is held.
func (p *pool) revoke(worker uint32) {
	p.c.out.later(header{typ: typeRevoke, pool: p.number, worker: worker}, nil)
}

// unlease takes a worker back.
func (c *connection) unlease(h header, payload []byte) error {
	c.mu.Lock()
	l := c.loans[h.worker]
	delete(c.loans, h.worker)
	c.mu.Unlock()
	if l == nil {
		return wrong("unlease: worker %d is not leased", h.worker)
	}
	var r engine.Receipt
	p := parser{Rest: payload}
	r.NextID, r.Received = p.U64(), p.U64()
	r.Tasks, r.Failed = int(p.U32()), int(p.U32())
	r.Function, r.Bytes, r.Results = string(p.Bytes()), int64(p.U64()), int64(p.U64())
	r.Spent.Run, r.Spent.Decode, r.Spent.Encode, r.Spent.Bound = int64(p.U64()), int64(p.U64()), int64(p.U64()), int64(p.U64())
	broken := p.U8()
	if err := ended(&p, "unlease"); err != nil {
		return err
	}
	if broken > 1 {
		return wrong("unlease: broken is %d", broken)
	}
	r.Broken = broken == 1
	if err := l.Return(r); err != nil {
		return &fault{fmt.Errorf("unlease: %w", err)}
	}
	return nil
}
