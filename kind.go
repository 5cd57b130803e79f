package brine

import (
	"context"
	"io"
	"time"

	"github.com/brinepool/brine/internal/shm"
	"github.com/brinepool/brine/internal/worker"
)

// Kind is a kind of worker: how its state, an S, is opened from a configuration, a C. Make it with Define in a
// package variable.
type Kind[C, S any] struct {
	name   string
	config codings[C]
}

// Stateless is a kind of worker without state, for plain functions.
var Stateless = DefineNamed("brine.Stateless", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })

// Define registers a kind of worker. open, the initializer, is called once in each worker, with the configuration
// that Open was given; what it returns is the worker's state, which is handed to every task and never crosses. If the
// state has a method Close() error, that is called at an orderly end of the worker.
//
// Define panics when open is nil, when it is an instance of a generic function (use DefineNamed) or registered already,
// and after Main.
func Define[C, S any](open func(context.Context, C) (S, error)) *Kind[C, S] {
	return DefineNamed(functionName("Define", open), open)
}

// DefineNamed is Define with a name of the caller's choice, which must be unique in the program.
func DefineNamed[C, S any](name string, open func(context.Context, C) (S, error)) *Kind[C, S] {
	if open == nil {
		panic("brine: DefineNamed of a nil function")
	}
	if name == "" {
		panic("brine: DefineNamed with an empty name")
	}
	k := &Kind[C, S]{name: name}
	registerKind(&worker.Kind{
		Name: name,
		Open: func(ctx context.Context, codec string, config []byte, shared shm.Source) (any, time.Duration, error) {
			coding, err := k.config.named(codec)
			if err != nil {
				return nil, 0, err
			}
			var c C
			start := time.Now()
			if err := coding.decode(config, &c, shared); err != nil {
				return nil, 0, err
			}
			decode := time.Since(start)
			s, err := open(ctx, c)
			return state[S]{s}, decode, err
		},
		Close: func(v any) error {
			if c, ok := any(v.(state[S]).v).(io.Closer); ok {
				return c.Close()
			}
			return nil
		},
	})
	return k
}

// Name returns the name under which the kind is registered.
func (k *Kind[C, S]) Name() string { return k.name }

// state wraps a worker's state, which may be of an interface type and nil.
type state[S any] struct{ v S }
