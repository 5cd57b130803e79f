package main

import (
	"context"
	"slices"

	"github.com/brinepool/brine"
)

// way is one in which the workers come by the table.
type way struct {
	name string
	run  func(ctx context.Context, table map[int]string, ns []int, opts *brine.Options) ([][]byte, brine.Stats, error)
}

var ways = []way{
	{"in every chunk", inEveryChunk},
	{"bound", bound},
	{"sent as config", sentAsConfig},
	{"built by workers", builtByWorkers},
}

// chunk is a task with everything that it needs: what a bound method is to Python's pool.
type chunk struct {
	Converter *converter
	Ns        []int
}

var convertChunk = brine.Plain(func(_ context.Context, c chunk) ([][]byte, error) {
	out := make([][]byte, len(c.Ns))
	for i, n := range c.Ns {
		out[i] = c.Converter.convert(n)
	}
	return out, nil
})

// inEveryChunk makes the table a part of the argument. There are four chunks to a worker, as in Python.
func inEveryChunk(ctx context.Context, table map[int]string, ns []int, opts *brine.Options) ([][]byte, brine.Stats, error) {
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, opts)
	if err != nil {
		return nil, brine.Stats{}, err
	}
	defer pool.Close()
	var chunks []chunk
	for part := range slices.Chunk(ns, (len(ns)-1)/(4*opts.Workers)+1) {
		chunks = append(chunks, chunk{&converter{table}, part})
	}
	parts, err := brine.Map(ctx, pool, convertChunk.With(brine.Limits{Chunk: 1}), chunks)
	if err != nil {
		return nil, brine.Stats{}, err
	}
	return finish(pool, slices.Concat(parts...))
}

var convertWith = brine.MethodBound(brine.Stateless, func(_ struct{}, ctx context.Context, c *converter, n int) ([]byte, error) {
	return c.Convert(ctx, n)
})

// bound binds the table to the function: it goes to each worker once, when the function first does.
func bound(ctx context.Context, table map[int]string, ns []int, opts *brine.Options) ([][]byte, brine.Stats, error) {
	return mapAll(ctx, brine.Stateless, struct{}{}, brine.Bind(convertWith, &converter{table}), ns, opts)
}

var (
	given       = brine.Define(func(_ context.Context, table map[int]string) (*converter, error) { return &converter{table}, nil })
	built       = brine.Define(func(_ context.Context, entries int) (*converter, error) { return newConverter(entries), nil })
	convert     = brine.Method(given, (*converter).Convert)
	convertHere = brine.MethodNamed("convertHere", built, (*converter).Convert)
)

// sentAsConfig gives the table to the initializer, which makes it the worker's state.
func sentAsConfig(ctx context.Context, table map[int]string, ns []int, opts *brine.Options) ([][]byte, brine.Stats, error) {
	return mapAll(ctx, given, table, convert, ns, opts)
}

// builtByWorkers gives the initializer the size alone.
func builtByWorkers(ctx context.Context, table map[int]string, ns []int, opts *brine.Options) ([][]byte, brine.Stats, error) {
	return mapAll(ctx, built, len(table), convertHere, ns, opts)
}

func mapAll[C, S any](ctx context.Context, kind *brine.Kind[C, S], config C, f brine.Func[S, int, []byte], ns []int, opts *brine.Options) ([][]byte, brine.Stats, error) {
	pool, err := brine.Open(ctx, kind, config, opts)
	if err != nil {
		return nil, brine.Stats{}, err
	}
	defer pool.Close()
	out, err := brine.Map(ctx, pool, f, ns)
	if err != nil {
		return nil, brine.Stats{}, err
	}
	return finish(pool, out)
}

// finish closes the pool, so that the account is whole.
func finish[S any](pool *brine.Pool[S], out [][]byte) ([][]byte, brine.Stats, error) {
	err := pool.Close()
	return out, pool.Stats(), err
}
