package brine

import (
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// Codec is the way in which configurations, arguments and results become bytes and come back. The compiled one, which
// is used where Options.Codec is nil, is the fastest; a program may choose Gob, JSON or its own, after RegisterCodec.
// Its methods are called from several goroutines.
type Codec = codec.Codec

// Gob and JSON are the codecs of encoding/gob and encoding/json.
var (
	Gob  Codec = codec.Gob
	JSON Codec = codec.JSON
)

// coding turns values of one type into bytes and back.
type coding[T any] struct {
	append    func(dst []byte, v *T, refs *shm.Refs) ([]byte, error)
	decode    func(src []byte, v *T, shared *shm.Table) error
	lend      func(src []byte, v *T, shared *shm.Table) error // decodes in place; nil where the codec can't
	estimate  func(v *T) int                                  // about how many bytes append will take; nil when they are few
	unordered bool                                            // values may hold maps, whose encoding differs from time to time
}

// codings holds the compiled coding of a type once it is needed.
type codings[T any] struct {
	once sync.Once
	c    coding[T]
	err  error
}

func (cs *codings[T]) compiled() (*coding[T], error) {
	cs.once.Do(func() {
		var c codec.Coder[T]
		if c, cs.err = codec.Of[T](); cs.err == nil {
			cs.c = coding[T]{append: c.AppendShared, decode: c.DecodeShared, lend: c.Lend, unordered: mayHoldMap(reflect.TypeFor[T](), nil)}
			if n, fixed := c.FixedSize(); !fixed || n >= link.ArenaFrom {
				cs.c.estimate = c.Estimate
			}
		}
	})
	return &cs.c, cs.err
}

// with returns the coding of a codec, nil for the compiled one.
func (cs *codings[T]) with(c Codec) (*coding[T], error) {
	if c == nil {
		return cs.compiled()
	}
	if t := reflect.TypeFor[T](); codec.HoldsShared(t) {
		return nil, fmt.Errorf("brine: %v holds shared data, which codec %s can't carry: leave Options.Codec nil", t, c.Name())
	}
	return &coding[T]{
		append: func(dst []byte, v *T, _ *shm.Refs) ([]byte, error) { return c.Append(dst, v) },
		decode: func(src []byte, v *T, _ *shm.Table) error {
			var zero T
			*v = zero // a codec may leave fields alone that the bytes don't mention
			return c.Decode(src, v)
		},
		unordered: mayHoldMap(reflect.TypeFor[T](), nil),
	}, nil
}

func mayHoldMap(t reflect.Type, above []reflect.Type) bool {
	if slices.Contains(above, t) {
		return false
	}
	above = append(above, t)
	switch t.Kind() {
	case reflect.Map, reflect.Interface:
		return true
	case reflect.Array, reflect.Pointer, reflect.Slice:
		return mayHoldMap(t.Elem(), above)
	case reflect.Struct:
		for f := range t.Fields() {
			if mayHoldMap(f.Type, above) {
				return true
			}
		}
	}
	return false
}

func (cs *codings[T]) named(name string) (*coding[T], error) {
	c, err := codecNamed(name)
	if err != nil {
		return nil, err
	}
	return cs.with(c)
}
