package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

var (
	errDepth     = fmt.Errorf("nested more than %d deep: does a map or a slice hold itself, or is it a long list?", maxDepth)
	errShort     = errors.New("the bytes end too early")
	errLeftOver  = errors.New("bytes are left over")
	errBool      = errors.New("a bool that is neither 0 nor 1")
	errBudget    = errors.New("the bytes claim more memory than any value of their length needs")
	errLength    = errors.New("more than 4294967294 elements cannot be sent")
	errReference = errors.New("a pointer to an object that is not there")
)

// refuseKind is the error for a kind that has no meaning in another process.
func refuseKind(path string, t reflect.Type) error {
	return fmt.Errorf("brine: %s: %s cannot be sent: leave the field out with the tag %s:%q, or keep it in the worker's state, which does not cross",
		path, t.Kind(), tagKey, "-")
}

func refuseTag(path string, f reflect.StructField, tag string) error {
	return fmt.Errorf("brine: %s.%s: unknown tag %s:%q: %q sends a field, %q leaves it out", path, f.Name, tagKey, tag, "send", "-")
}

// refuseUnexported asks for a decision about f, a field of owner.
func (c *compiler) refuseUnexported(path string, owner reflect.Type, f reflect.StructField) error {
	advice := fmt.Sprintf("export it, tag it %s:%q to send it or %s:%q to leave it out", tagKey, "send", tagKey, "-")
	if owner.PkgPath() != c.pkg {
		advice = fmt.Sprintf("tag the field that holds the %s %s:%q to leave it out, or change %[1]s: %s", owner, tagKey, "-", advice)
	}
	return fmt.Errorf("brine: %s.%s: an unexported field is not sent unasked: %s", path, f.Name, advice)
}

// maxPath bounds the paths in errors about values; the inner end is kept.
const maxPath = 200

// A located error knows where inside a value it arose. The path grows from the
// inside out, as the calls return.
type located struct {
	path string
	err  error
}

func (e *located) Error() string { return e.path + ": " + e.err.Error() }
func (e *located) Unwrap() error { return e.err }

// within says that err arose in the part of a value that is called mark.
func within(err error, mark string) error {
	l, ok := err.(*located) //nolint:errorlint // only ever ours, and never wrapped on its way
	switch {
	case !ok:
		return &located{path: mark, err: err}
	case len(l.path) < maxPath:
		l.path = mark + l.path
	case !strings.HasPrefix(l.path, "…"):
		l.path = "…" + l.path
	}
	return l
}

// failed is the error that leaves the package.
func failed(doing string, n *node, err error) error {
	if l, ok := err.(*located); ok { //nolint:errorlint // as in within
		return fmt.Errorf("brine: %s %s%s: %w", doing, n.typ, l.path, l.err)
	}
	return fmt.Errorf("brine: %s %s: %w", doing, n.typ, err)
}
