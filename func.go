package brine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
	"github.com/brinepool/brine/internal/worker"
)

// Func is a function that a pool can run: from In to Out, in a worker whose state is an S. Make it with Method, Plain
// or Bind. It is a small value, to be copied freely; the zero value can't be run.
type Func[S, In, Out any] struct {
	sig    *signature[In, Out]
	bound  *binding
	limits Limits
	lent   bool
}

// Limits bound the tasks of a function. They are part of the Func, see Func.With.
type Limits struct {
	// Timeout is the most time that one task may take, 0 for any. A task over its time finds its context done; when it
	// has not returned within Options.Grace, its worker is ended. Either way it ends with an error that errors.Is finds
	// to be ErrTimeout and that tells where the task was stuck.
	Timeout time.Duration
	// Retries is how often a task is run again after it was over its time or its worker died with it: n allows n+1
	// runs. An error that the function returns is an answer, and is not retried.
	Retries int
	// Chunk is how many tasks are sent together, 0 for as many as take about 5 ms.
	Chunk int
}

func (l Limits) check() error {
	switch {
	case l.Timeout < 0:
		return fmt.Errorf("brine: Limits.Timeout is %v: it can't be negative, 0 means no limit", l.Timeout)
	case l.Retries < 0:
		return fmt.Errorf("brine: Limits.Retries is %d: it can't be negative, 0 means that a task is run once", l.Retries)
	case l.Chunk < 0:
		return fmt.Errorf("brine: Limits.Chunk is %d: it can't be negative, 0 means as many as take about 5 ms", l.Chunk)
	}
	return nil
}

// signature is what all Funcs of one registration share.
type signature[In, Out any] struct {
	name string
	in   codings[In]
	out  codings[Out]
}

// check compiles the types and tells which can't be sent.
func (s *signature[In, Out]) check() error {
	if _, err := s.in.compiled(); err != nil {
		return fmt.Errorf("brine: argument of %s: %w", s.name, err)
	}
	if _, err := s.out.compiled(); err != nil {
		return fmt.Errorf("brine: result of %s: %w", s.name, err)
	}
	if err := refuseShared[Out]("which a worker can't pass back: return what it holds"); err != nil {
		return fmt.Errorf("brine: result of %s: %w", s.name, err)
	}
	if err := checkShared[In](); err != nil {
		return fmt.Errorf("brine: argument of %s: %w", s.name, err)
	}
	return nil
}

// With returns the function with other limits.
func (f Func[S, In, Out]) With(l Limits) Func[S, In, Out] {
	f.limits = l
	return f
}

// InPlace returns the function with large arguments used in place: the strings, byte slices and slices of numbers of an
// argument of 4 KB or more are read in the shared memory in which they came, without a copy. (Slices whose elements are
// not aligned there, and those that hold bools, are copies.) Such an argument is valid until its task returns, and
// read-only: a write to it is a panic of the task. What the task keeps, it is to copy. Without InPlace, an argument is the
// task's own. Each does the same for results.
func (f Func[S, In, Out]) InPlace() Func[S, In, Out] {
	f.lent = true
	return f
}

// Name returns the name under which the function is registered.
func (f Func[S, In, Out]) Name() string {
	if f.sig == nil {
		return "the zero Func"
	}
	return f.sig.name
}

var errZeroFunc = errors.New("brine: the zero Func can't be run: make one with Method, Plain or Bind")

func (f Func[S, In, Out]) check() error {
	if f.sig == nil {
		return errZeroFunc
	}
	return f.limits.check()
}

// Method registers a function as a task of workers of a kind: usually a method expression, whose receiver is the
// worker's state. Tasks of one worker run one at a time, so the state needs no lock.
//
// Method panics when kind or f is nil, when f is an instance of a generic function (use MethodNamed) or registered
// already, and after Main.
func Method[C, S, In, Out any](kind *Kind[C, S], f func(S, context.Context, In) (Out, error)) Func[S, In, Out] {
	return MethodNamed(functionName("Method", f), kind, f)
}

// MethodNamed is Method with a name of the caller's choice, which must be unique in the program.
func MethodNamed[C, S, In, Out any](name string, kind *Kind[C, S], f func(S, context.Context, In) (Out, error)) Func[S, In, Out] {
	if kind == nil {
		panic(fmt.Sprintf("brine: Method of %s on a nil Kind", name))
	}
	return register(name, kind.name, f != nil, func(s S, ctx context.Context, _ any, in In) (Out, error) { return f(s, ctx, in) }, nil)
}

// Plain registers a function without state as a task of every kind of worker whose state is a struct{}, such as
// Stateless. It panics as Method does.
func Plain[In, Out any](f func(context.Context, In) (Out, error)) Func[struct{}, In, Out] {
	return PlainNamed(functionName("Plain", f), f)
}

// PlainNamed is Plain with a name of the caller's choice, which must be unique in the program.
func PlainNamed[In, Out any](name string, f func(context.Context, In) (Out, error)) Func[struct{}, In, Out] {
	return register(name, "", f != nil, func(_ struct{}, ctx context.Context, _ any, in In) (Out, error) { return f(ctx, in) }, nil)
}

// BoundFunc is a function that takes, beside each task's argument, an A that is sent to each worker once. Make it with
// MethodBound, and give it its A with Bind.
type BoundFunc[S, A, In, Out any] struct {
	sig  *signature[In, Out]
	args *codings[A]
}

// MethodBound registers a function with arguments that are bound before it is run. It panics as Method does.
func MethodBound[C, S, A, In, Out any](kind *Kind[C, S], f func(S, context.Context, A, In) (Out, error)) BoundFunc[S, A, In, Out] {
	return MethodBoundNamed(functionName("MethodBound", f), kind, f)
}

// MethodBoundNamed is MethodBound with a name of the caller's choice, which must be unique in the program.
func MethodBoundNamed[C, S, A, In, Out any](name string, kind *Kind[C, S], f func(S, context.Context, A, In) (Out, error)) BoundFunc[S, A, In, Out] {
	if kind == nil {
		panic(fmt.Sprintf("brine: MethodBound of %s on a nil Kind", name))
	}
	args := new(codings[A])
	bind := func(codec string, b []byte, shared shm.Source) (any, error) {
		c, err := args.named(codec)
		if err != nil {
			return nil, err
		}
		a := new(A)
		return a, c.decode(b, a, shared)
	}
	r := register(name, kind.name, f != nil, func(s S, ctx context.Context, a any, in In) (Out, error) { return f(s, ctx, *a.(*A), in) }, &boundEntry{reflect.TypeFor[A](), bind, func() error {
		if _, err := args.compiled(); err != nil {
			return fmt.Errorf("brine: bound argument of %s: %w", name, err)
		}
		if err := checkShared[A](); err != nil {
			return fmt.Errorf("brine: bound argument of %s: %w", name, err)
		}
		return nil
	}})
	return BoundFunc[S, A, In, Out]{r.sig, args}
}

type boundEntry struct {
	typ   reflect.Type
	bind  func(codec string, b []byte, shared shm.Source) (any, error)
	check func() error
}

// binding is what Bind made: arguments that go to each worker once, under a number of their own.
type binding struct {
	id        uint64
	encode    func(Codec, *shm.Refs) ([]byte, error)
	explain   func() bill.Part
	unordered bool // see coding

	mu      sync.Mutex
	encoded map[string]*engine.Bound // by name of codec
}

var bindings atomic.Uint64

// Bind gives a function its bound arguments. They are encoded once, when the function is first used, and go to each
// worker at most once, as long as no more than 64 bindings are in use; the worker keeps them. The caller must not change
// what args refers to afterwards. A function that changes its A changes it for its worker alone.
func Bind[S, A, In, Out any](f BoundFunc[S, A, In, Out], args A) Func[S, In, Out] {
	if f.sig == nil {
		return Func[S, In, Out]{}
	}
	return Func[S, In, Out]{sig: f.sig, bound: &binding{
		id: bindings.Add(1),
		encode: func(c Codec, refs *shm.Refs) ([]byte, error) {
			coding, err := f.args.with(c)
			if err != nil {
				return nil, err
			}
			return coding.append(nil, &args, refs)
		},
		explain:   func() bill.Part { return explainBound(&args) },
		unordered: mayHoldMap(reflect.TypeFor[A](), nil),
	}}
}

func register[S, In, Out any](name, kind string, ok bool, f func(S, context.Context, any, In) (Out, error), b *boundEntry) Func[S, In, Out] {
	if !ok {
		panic(fmt.Sprintf("brine: %s is a nil function", name))
	}
	if name == "" {
		panic("brine: a function needs a name")
	}
	sig := &signature[In, Out]{name: name}
	e := &entry{kind: kind, state: reflect.TypeFor[S](), check: sig.check, in: reflect.TypeFor[In]()}
	e.Function = worker.Function{Name: name, Run: func(v any, c *worker.Chunk) { run(sig, f, v, c) }}
	if b != nil {
		e.Bind, e.bound = b.bind, b.typ
		e.check = func() error { return errors.Join(sig.check(), b.check()) }
	}
	registerFunction(e)
	return Func[S, In, Out]{sig: sig}
}

// run runs the tasks of a chunk, in the worker.
func run[S, In, Out any](sig *signature[In, Out], f func(S, context.Context, any, In) (Out, error), v any, c *worker.Chunk) {
	st, ok := v.(state[S])
	in, err := sig.in.named(c.Codec())
	out, err2 := sig.out.named(c.Codec())
	if !ok {
		err = fmt.Errorf("the worker's state is a %T, the function wants a %v", v, reflect.TypeFor[S]())
	}
	if err := errors.Join(err, err2); err != nil {
		for c.Next() {
			c.Fail(link.BadArg, err)
		}
		return
	}
	t := task[S, In, Out]{f: f, state: st.v, c: c}
	shared, lent := c.Shared(), in.lend != nil && c.Lends()
	for c.Next() {
		decode := in.decode
		if lent && c.Placed() {
			decode = in.lend
		}
		if err := decode(c.Arg(), &t.in, shared); err != nil {
			if c.Ran(err) {
				c.Fail(link.BadArg, err)
			}
			continue
		}
		c.Decoded()
		if !t.call() || !c.Ran(t.err) {
			continue
		}
		if t.err != nil {
			c.Fail(link.Failed, t.err)
			continue
		}
		n := 0
		if out.estimate != nil {
			n = out.estimate(&t.out)
		}
		b, err := out.append(c.Room(n), &t.out, nil)
		if err != nil {
			c.Fail(link.BadResult, err)
			continue
		}
		c.Done(b)
	}
}

// task is one call at a time; kept for a chunk, so that a call costs no allocation.
type task[S, In, Out any] struct {
	f     func(S, context.Context, any, In) (Out, error)
	state S
	c     *worker.Chunk
	in    In
	out   Out
	err   error
}

// call calls the function and returns false when it did not return; then the task is answered.
func (t *task[S, In, Out]) call() (returned bool) {
	defer func() {
		if !returned {
			t.c.Unwound(recover())
		}
	}()
	t.out, t.err = t.f(t.state, t.c.Context(), t.c.Bound(), t.in)
	return true
}
