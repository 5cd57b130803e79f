package brine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/shm"
)

// Pool is a set of worker processes of one kind, each with a state S of its own. Open makes one; its methods, and the
// functions that take it, are safe for concurrent use.
type Pool[S any] struct {
	*pool
}

// pool is the part of a Pool that doesn't depend on its type.
type pool struct {
	e         *engine.Engine
	kind      string
	codec     Codec
	opts      Options
	callbacks sync.WaitGroup // that Close waits for
	plans     sync.Map       // of signature to plan

	mu       sync.Mutex
	finished bool // Close no longer waits for callbacks
}

// Open starts a pool of workers of a kind, gives each the configuration and waits until their states are open. The
// first initializer that returns an error or panics, and the first worker that dies before it is ready, is Open's
// error; then nothing is left running. ctx bounds the start alone, and without a deadline Open waits for an
// initializer as long as it takes. A nil opts means the defaults.
//
// Open fails when Main has not been called, when a type that the kind's functions need cannot be sent (the error names
// the path to the field), and when pools are nested more than three deep.
func Open[C, S any](ctx context.Context, kind *Kind[C, S], config C, opts *Options) (*Pool[S], error) {
	if kind == nil {
		return nil, errors.New("brine: Open of a nil Kind: make one with Define in a package variable")
	}
	if !begun.Load() {
		if os.Getenv(engine.Marker) != "" {
			return nil, fmt.Errorf("brine: Open of %s in the start-up of a worker: a pool may be opened after brine.Main, which never returns in a worker, or inside a task", kind.name)
		}
		return nil, fmt.Errorf("brine: Open of %s before Main: call brine.Main() first thing in main, and in TestMain", kind.name)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("brine: Open of %s: %w", kind.name, err)
	}
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	if d := depth(); d >= maxDepth {
		return nil, fmt.Errorf("brine: Open of %s inside a task of a pool inside a task, %d deep: does a task open a pool for itself?", kind.name, d)
	}
	codecName := ""
	if o.Codec != nil {
		codecName = o.Codec.Name()
		if _, err := codecNamed(codecName); err != nil {
			return nil, err
		}
	} else if err := checkFunctions(kind.name, reflect.TypeFor[S]()); err != nil {
		return nil, err
	}
	coding, err := kind.config.with(o.Codec)
	if err != nil {
		return nil, fmt.Errorf("brine: config of %s: %w", kind.name, err)
	}
	start := time.Now()
	var refs shm.Refs
	b, err := coding.append(nil, &config, &refs)
	if err != nil {
		refs.Cut(0)
		return nil, fmt.Errorf("brine: config of %s can't be encoded: %w", kind.name, err)
	}
	encode := time.Since(start)
	path, err := executable()
	if err != nil {
		refs.Cut(0)
		return nil, fmt.Errorf("brine: finding the program to start: %w", err)
	}
	e, err := engine.Open(ctx, engine.Config{
		Workers: o.Workers, MaxTasks: o.MaxTasks, MaxMemory: o.MaxMemory, Grace: o.Grace,
		Stdout: o.Stdout, Stderr: o.Stderr, Logger: o.Logger,
		Path: path, Args: []string{"brine: worker of " + kind.name}, Env: o.Env, Build: build(),
		Kind: kind.name, Codec: codecName, Depth: depth(), Config: b, Encode: encode, Shared: refs.Take(),
		Arena: o.ArenaMemory / int64(2*o.Workers),
	})
	if err != nil {
		return nil, openError(err)
	}
	weigh(e, kind.name, bill.Initializer, coding, &config, len(b), new(atomic.Int64))
	return &Pool[S]{&pool{e: e, kind: kind.name, codec: o.Codec, opts: o}}, nil
}

// checkFunctions finds out whether the types of all functions that could run on a kind can be sent.
func checkFunctions(kind string, state reflect.Type) error {
	registered.mu.RLock()
	var entries []*entry
	for _, e := range registered.functions {
		if e.kind == kind || (e.kind == "" && e.state == state) {
			entries = append(entries, e)
		}
	}
	registered.mu.RUnlock()
	slices.SortFunc(entries, func(a, b *entry) int { return compare(a.Name, b.Name) })
	for _, e := range entries {
		if err := e.check(); err != nil {
			return err
		}
	}
	return nil
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Close takes no more work, waits for what was submitted and for the callbacks of its futures, lets every worker
// close its state and waits for the end of the processes. It returns what closing the states returned. Calling it
// again, or after Kill, does no harm. A callback must not call Close, which waits for it.
func (p *pool) Close() error {
	err := p.e.Close()
	p.mu.Lock()
	p.finished = true // of futures that are asked from now on
	p.mu.Unlock()
	p.callbacks.Wait()
	return err
}

// Kill ends all workers at once and waits for their end. Tasks that have not ended fail with ErrClosed, states are
// not closed.
func (p *pool) Kill() { p.e.Kill() }

// plan is what a pool needs to run one function.
type plan[In, Out any] struct {
	f     *engine.Function
	in    *coding[In]
	out   *coding[Out]
	parts *parts

	e                     *engine.Engine
	heaviest, heaviestOut atomic.Int64 // bytes of the largest argument and result that were looked into
}

// estimate returns about how many bytes encode will append.
func (pl *plan[In, Out]) estimate(in *In) int { return pl.in.estimate(in) }

// encode appends the encoding of an argument that is about to be sent.
func (pl *plan[In, Out]) encode(dst []byte, in *In, refs *shm.Refs) ([]byte, error) {
	b, err := pl.in.append(dst, in, refs)
	if err != nil {
		return b, err
	}
	n := len(b) - len(dst)
	weigh(pl.e, pl.f.Name, bill.Argument, pl.in, in, n, &pl.heaviest)
	if n > ledger.RepeatSize {
		if !pl.parts.ledger.Watch(pl.f.Name, ledger.Argument, b[len(dst):], pl.in.unordered) {
			pl.parts.watch(reflect.ValueOf(in).Elem())
		}
	}
	return b, nil
}

// decode decodes a result.
func (pl *plan[In, Out]) decode(b []byte, out *Out) error {
	if err := pl.out.decode(b, out, nil); err != nil {
		return err
	}
	if pl.out.quiet {
		weigh(pl.e, pl.f.Name, bill.Result, pl.out, out, len(b), &pl.heaviestOut)
	}
	return nil
}

// weigh looks into a value of n bytes for the bill, if it is much larger than those of its kind before.
func weigh[T any](e *engine.Engine, function, class string, c *coding[T], v *T, n int, heaviest *atomic.Int64) {
	if int64(n) < 2*heaviest.Load() || n == 0 || c.explain == nil {
		return
	}
	heaviest.Store(int64(n))
	if e.Weigh(function, class, int64(n)) {
		start := time.Now()
		part := c.explain(v)
		e.Weighed(function, class, part, time.Since(start))
	}
}

func planOf[In, Out any](p *pool, sig *signature[In, Out]) (*plan[In, Out], error) {
	if v, ok := p.plans.Load(sig); ok {
		return v.(*plan[In, Out]), nil
	}
	in, err := sig.in.with(p.codec)
	if err != nil {
		return nil, fmt.Errorf("brine: argument of %s: %w", sig.name, err)
	}
	out, err := sig.out.with(p.codec)
	if err != nil {
		return nil, fmt.Errorf("brine: result of %s: %w", sig.name, err)
	}
	v, _ := p.plans.LoadOrStore(sig, &plan[In, Out]{f: p.e.Function(sig.name), in: in, out: out, parts: newParts(p.e.Ledger(), sig.name), e: p.e})
	return v.(*plan[In, Out]), nil
}

// encodeBound returns the encoded arguments of a binding.
func (p *pool) encodeBound(f *engine.Function, b *binding) (*engine.Bound, error) {
	if b == nil {
		return nil, nil
	}
	name := ""
	if p.codec != nil {
		name = p.codec.Name()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.encoded[name]; e != nil {
		return e, nil
	}
	start := time.Now()
	var refs shm.Refs
	defer func() { refs.Cut(0) }() // the workers use what is shared from when it is sent
	bytes, err := b.encode(p.codec, &refs)
	if err != nil {
		return nil, fmt.Errorf("brine: bound arguments of %s can't be encoded: %w", f.Name, err)
	}
	p.e.AddBound(f, bytes, 0, b.unordered, time.Since(start))
	if p.codec == nil && p.e.Weigh(f.Name, bill.Function, int64(len(bytes))) {
		p.e.Weighed(f.Name, bill.Function, b.explain(), 0)
	}
	if b.encoded == nil {
		b.encoded = make(map[string]*engine.Bound)
	}
	b.encoded[name] = &engine.Bound{ID: b.id, Bytes: bytes, Shared: slices.Clone(refs.List())}
	return b.encoded[name], nil
}

// job makes the engine's job for a function.
func job[S, In, Out any](ctx context.Context, p *Pool[S], f Func[S, In, Out], w engine.Work) (*engine.Job, *plan[In, Out], error) {
	if p == nil || p.pool == nil {
		return nil, nil, errors.New("brine: nil Pool: make one with Open")
	}
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	pl, err := planOf(p.pool, f.sig)
	if err != nil {
		return nil, nil, err
	}
	b, err := p.encodeBound(pl.f, f.bound)
	if err != nil {
		return nil, nil, err
	}
	j := engine.NewJob(ctx, pl.f, w, f.limits.Chunk)
	j.Bound, j.Timeout, j.Retries = b, f.limits.Timeout, f.limits.Retries
	j.Sized, j.Lent = pl.in.estimate != nil, f.lent
	return j, pl, nil
}
