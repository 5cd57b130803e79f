package codec

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"unicode/utf8"
	"unsafe"
)

const (
	// maxMessage bounds the text of an error that crosses.
	maxMessage = 1 << 20
	// maxChain bounds how many errors of a chain are looked at; a chain may
	// well lead back to itself.
	maxChain = 256
	// maxRemote bounds how deep errors carry errors in their fields; further in
	// they keep their text only.
	maxRemote = 16
	// remoteMin is four lengths.
	remoteMin = 16

	truncated = " … (shortened)"
)

var (
	errorType  = reflect.TypeFor[error]()
	remoteType = reflect.TypeFor[RemoteError]()
)

// A RemoteError is an error that came from another process. errors.Is finds the
// sentinels in it that it was when it was sent, as far as [Sentinels] knows
// them, and errors.As the first error in its chain whose type was registered
// with [Register].
type RemoteError struct {
	Type    string // of the error in the sender, as %T prints it
	Message string // its text, of which at most 1 MB is sent

	matched  []error
	concrete error
}

// Error returns the message.
func (r *RemoteError) Error() string { return r.Message }

// Is reports whether errors.Is found the sentinel target in the sender.
func (r *RemoteError) Is(target error) bool {
	return slices.Contains(r.matched, target) // all of comparable types, see Sentinels
}

// Unwrap returns the concrete error, with its own type, if that was registered,
// and nil otherwise.
func (r *RemoteError) Unwrap() error { return r.concrete }

// AppendError appends err in the form that [DecodeError] reads. It never fails:
// methods of err that panic are described in place of what they should have
// returned, and what cannot be sent of a registered type is left out.
func AppendError(dst []byte, err error) []byte {
	e := encoder{buf: dst}
	e.remoteError(remoteOf(err))
	return e.buf
}

// DecodeError reads what [AppendError] wrote, all of src and nothing more. A
// concrete error that cannot be decoded here is left out.
func DecodeError(src []byte) (*RemoteError, error) {
	d := newDecoder(src)
	r := new(RemoteError)
	err := d.remoteError(r)
	if err == nil && len(d.src) > 0 {
		err = errLeftOver
	}
	if err != nil {
		return nil, fmt.Errorf("brine: decode an error: %w", err)
	}
	return r, nil
}

// remoteOf describes err. An error that has crossed before is passed on as it
// is.
func remoteOf(err error) *RemoteError {
	if r, ok := err.(*RemoteError); ok && r != nil { //nolint:errorlint // only if it is the whole of err
		return r
	}
	if err == nil {
		return &RemoteError{Message: "<nil>"}
	}
	r := &RemoteError{Type: reflect.TypeOf(err).String(), Message: message(err)}
	all := chain(err)
	for _, s := range sentinels().all() {
		if slices.ContainsFunc(all, func(link error) bool { return is(link, s.err) }) {
			r.matched = append(r.matched, s.err)
		}
	}
	for _, link := range all {
		if registry().ofType(reflect.TypeOf(link)) != nil && !nilPointer(link) {
			r.concrete = link
			break
		}
	}
	return r
}

// message is the text of err, cut to size.
func message(err error) string {
	var s string
	if perr := guarded("Error", err, func() { s = err.Error() }); perr != nil {
		return "brine: " + perr.Error()
	}
	return shortened(s)
}

func shortened(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	cut := maxMessage - len(truncated)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + truncated
}

// guarded calls f, which calls a method of v, and returns its panic as an error.
func guarded(method string, v any, f func()) (err error) {
	defer recovered(&err, method, v)
	f()
	return nil
}

// chain lists err and what it wraps in the order of errors.Is and errors.As.
func chain(err error) []error {
	var all []error
	var walk func(err error)
	walk = func(err error) {
		if err == nil || len(all) == maxChain {
			return
		}
		all = append(all, err)
		var inner []error
		_ = guarded("Unwrap", err, func() { // who panics has nothing inside
			switch x := err.(type) { //nolint:errorlint // one link at a time
			case interface{ Unwrap() error }:
				inner = []error{x.Unwrap()}
			case interface{ Unwrap() []error }:
				inner = x.Unwrap()
			}
		})
		for _, err := range inner {
			walk(err)
		}
	}
	walk(err)
	return all
}

// is is errors.Is for a single link of a chain; target is comparable.
func is(link, target error) (same bool) {
	_ = guarded("Is", link, func() { // a struct in link may hold what == can't compare
		if reflect.TypeOf(link) == reflect.TypeOf(target) && link == target { //nolint:errorlint // as errors.Is does
			same = true
		} else if x, ok := link.(interface{ Is(error) bool }); ok {
			same = x.Is(target)
		}
	})
	return same
}

// nilPointer reports whether err is a typed nil, whose methods had better not
// be called.
func nilPointer(err error) bool {
	v := reflect.ValueOf(err)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// errorNode is the node of the type error.
var errorNode = sync.OnceValue(func() *node {
	p, err := For(errorType)
	if err != nil {
		panic(err) // an interface can always cross
	}
	return p.node
})

func (e *encoder) remoteError(r *RemoteError) {
	e.text(r.Type)
	e.text(shortened(r.Message))
	keys := sentinels().keys(r.matched)
	e.u32(uint32(len(keys)))
	for _, key := range keys {
		e.text(key)
	}
	e.concrete(r.concrete)
}

// text is string for what is known not to be too long.
func (e *encoder) text(s string) { _ = e.string(s) }

// concrete appends an error of a registered type as a value of its own, which
// the receiver can skip.
func (e *encoder) concrete(err error) {
	start := len(e.buf)
	e.u32(null)
	if err == nil || e.remote == maxRemote {
		return
	}
	inner := encoder{buf: e.buf, depth: e.depth, remote: e.remote + 1, refs: e.refs}
	failed := inner.value(errorNode(), unsafe.Pointer(&err))
	size := uint64(len(inner.buf) - start - 4)
	if failed != nil || size >= null {
		return
	}
	e.buf = inner.buf
	binary.LittleEndian.PutUint32(e.buf[start:], uint32(size))
}

func (d *decoder) remoteError(r *RemoteError) error {
	*r = RemoteError{}
	if err := d.string(&r.Type); err != nil {
		return err
	}
	if err := d.string(&r.Message); err != nil {
		return err
	}
	count, err := d.u32()
	if err != nil {
		return err
	}
	for range count {
		key, err := d.bytes()
		if err != nil {
			return err
		}
		s := sentinels().ofKey(key)
		if s == nil || r.Is(s) {
			continue // unknown here, or there already
		}
		if err := d.spend(4 * int(unsafe.Sizeof(s))); err != nil {
			return err
		}
		r.matched = append(r.matched, s)
	}
	return d.concrete(r)
}

func (d *decoder) concrete(r *RemoteError) error {
	if len(d.src) >= 4 && binary.LittleEndian.Uint32(d.src) == null {
		return d.pad(4)
	}
	b, err := d.bytes()
	if err != nil || d.remote == maxRemote {
		return err
	}
	inner := decoder{src: b, depth: d.depth, budget: d.budget, remote: d.remote + 1, table: d.table}
	var concrete error
	err = inner.value(errorNode(), unsafe.Pointer(&concrete))
	d.budget = inner.budget
	if err == nil && len(inner.src) == 0 && concrete != nil && !nilPointer(concrete) {
		r.concrete = concrete
	}
	return nil
}
