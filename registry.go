package brine

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"

	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/worker"
)

// registered holds what the program has registered; the only mutable state of the package. It grows while packages
// are initialized and stands still after Main.
var registered struct {
	mu        sync.RWMutex
	kinds     map[string]*worker.Kind
	functions map[string]*entry
	codecs    map[string]Codec
}

// entry is a registered function.
type entry struct {
	worker.Function
	kind  string       // empty for a plain function, which runs on every kind without state
	state reflect.Type // of the worker
	check func() error // finds out whether its types can be sent
	in    reflect.Type // of the argument
	bound reflect.Type // of the bound arguments, nil for none
}

// sent returns the type of what a function is sent in a class, nil when it is not known.
func sent(function, class string) reflect.Type {
	registered.mu.RLock()
	defer registered.mu.RUnlock()
	e := registered.functions[function]
	switch {
	case e == nil:
		return nil
	case class == "bound":
		return e.bound
	default:
		return e.in
	}
}

// registry shows the registered kinds and functions to a worker.
type registry struct{}

func (registry) Kind(name string) *worker.Kind {
	registered.mu.RLock()
	defer registered.mu.RUnlock()
	return registered.kinds[name]
}

func (registry) Function(name string) *worker.Function {
	registered.mu.RLock()
	defer registered.mu.RUnlock()
	if e := registered.functions[name]; e != nil {
		return &e.Function
	}
	return nil
}

func registerKind(k *worker.Kind) {
	mustRegister("Define", k.Name)
	registered.mu.Lock()
	defer registered.mu.Unlock()
	if registered.kinds == nil {
		registered.kinds = make(map[string]*worker.Kind)
	}
	if registered.kinds[k.Name] != nil {
		panic(fmt.Sprintf("brine: kind %s is defined twice: give one of them a name of its own with DefineNamed", k.Name))
	}
	registered.kinds[k.Name] = k
}

func registerFunction(e *entry) {
	mustRegister("Method", e.Name)
	registered.mu.Lock()
	defer registered.mu.Unlock()
	if registered.functions == nil {
		registered.functions = make(map[string]*entry)
	}
	if registered.functions[e.Name] != nil {
		panic(fmt.Sprintf("brine: function %s is registered twice: give one of them a name of its own with MethodNamed or PlainNamed", e.Name))
	}
	registered.functions[e.Name] = e
}

func mustRegister(what, name string) {
	if begun.Load() {
		panic(fmt.Sprintf("brine: %s of %s after Main: a worker would never get to see it; register it in a package variable", what, name))
	}
}

// functionName returns the name of a function in this program.
func functionName(what string, f any) string {
	v := reflect.ValueOf(f)
	if !v.IsValid() || v.IsNil() {
		panic(fmt.Sprintf("brine: %s of a nil function", what))
	}
	name := runtime.FuncForPC(v.Pointer()).Name()
	if strings.Contains(name, "[...]") {
		panic(fmt.Sprintf("brine: %s of %s: all instances of a generic function share one name: give this one its own with %sNamed", what, name, what))
	}
	return strings.TrimSuffix(name, "-fm")
}

// RegisterType lets values of v's type cross inside values of interface types, such as any and error, as
// encoding/gob's Register does. An error of a registered type that a task returns is found by errors.As in the parent.
// Call it while packages are initialized. It panics on a type that cannot cross.
func RegisterType(v any) { codec.Register(v) }

// RegisterCodec makes a codec of the program's own available to workers, under its name. Call it while packages are
// initialized. It panics on a name that is taken.
func RegisterCodec(c Codec) {
	if c == nil {
		panic("brine: RegisterCodec of a nil codec")
	}
	mustRegister("RegisterCodec", c.Name())
	registered.mu.Lock()
	defer registered.mu.Unlock()
	if registered.codecs == nil {
		registered.codecs = make(map[string]Codec)
	}
	name := c.Name()
	if registered.codecs[name] != nil || name == "" || name == Gob.Name() || name == JSON.Name() {
		panic(fmt.Sprintf("brine: codec name %q is taken", name))
	}
	registered.codecs[name] = c
}

func codecNamed(name string) (Codec, error) {
	switch name {
	case "":
		return nil, nil
	case Gob.Name():
		return Gob, nil
	case JSON.Name():
		return JSON, nil
	}
	registered.mu.RLock()
	defer registered.mu.RUnlock()
	if c := registered.codecs[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("brine: codec %q is not registered: pass it to RegisterCodec in an init function, so that the workers have it too", name)
}

// Sentinels names errors that errors.Is is to find in the error of a task, although it crossed a process boundary:
// package variables that functions return or wrap. io.EOF and its like, the errors of package fs, those of context and
// some more of the standard library are known already. Call it while packages are initialized.
func Sentinels(errs ...error) { codec.Sentinels(errs...) }
