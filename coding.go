package brine

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"unsafe"

	"github.com/brinepool/brine/internal/bill"
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
	decode    func(src []byte, v *T, shared shm.Source) error
	lend      func(src []byte, v *T, shared shm.Source) error // decodes in place; nil where the codec can't
	estimate  func(v *T) int                                  // about how many bytes append will take; nil when they are few
	explain   func(v *T) bill.Part                            // what a value is made of; nil where the codec can't tell
	quiet     bool                                            // to explain a value calls no method of it
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
			cs.c = coding[T]{quiet: codec.Quiet(reflect.TypeFor[T]()), append: c.AppendShared, decode: c.DecodeShared, lend: c.Lend, explain: explain[T], unordered: mayHoldMap(reflect.TypeFor[T](), nil)}
			if n, fixed := c.FixedSize(); !fixed || n >= link.ArenaFrom {
				cs.c.estimate = c.Estimate
			}
		}
	})
	return &cs.c, cs.err
}

func explain[T any](v *T) bill.Part {
	return codec.Explain(reflect.TypeFor[T](), unsafe.Pointer(v)) //nolint:gosec // of the value's own type
}

// with returns the coding of a codec, nil for the compiled one.
func (cs *codings[T]) with(c Codec) (*coding[T], error) {
	if c == nil {
		return cs.compiled()
	}
	if err := refuseShared[T]("which codec " + c.Name() + " can't carry: leave Options.Codec nil"); err != nil {
		return nil, err
	}
	return &coding[T]{
		append:   func(dst []byte, v *T, _ *shm.Refs) ([]byte, error) { return c.Append(dst, v) },
		estimate: func(*T) int { return 0 }, // it could be anything
		decode: func(src []byte, v *T, _ shm.Source) error {
			var zero T
			*v = zero // a codec may leave fields alone that the bytes don't mention
			return c.Decode(src, v)
		},
		unordered: mayHoldMap(reflect.TypeFor[T](), nil),
	}, nil
}

// refuseShared returns an error if a T holds shared data, which can't cross there for some reason.
func refuseShared[T any](why string) error {
	path, err := codec.SharedIn(reflect.TypeFor[T](), func(reflect.Type) error { return errShared })
	if err != nil {
		return fmt.Errorf("brine: %s is shared data, %s", path, why)
	}
	return nil
}

var errShared = errors.New("shared data")

// checkShared returns an error if a T holds shared data of a type that there can't be.
func checkShared[T any]() error {
	path, err := codec.SharedIn(reflect.TypeFor[T](), func(t reflect.Type) error {
		if s, ok := reflect.TypeAssert[interface{ possible() error }](reflect.New(t)); ok {
			return s.possible()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("brine: %s: %w", path, err)
	}
	return nil
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
