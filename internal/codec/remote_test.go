package codec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

type (
	codeError   struct{ Code int }
	plainError  struct{ text string }
	panicError  struct{}
	loopError   struct{}
	isError     struct{}
	noCompare   struct{ s []int }
	fieldsError struct {
		Name string
		Err  error
	}
	badError struct{ V any }
)

func (e *codeError) Error() string     { return "code " + strconv.Itoa(e.Code) }
func (e plainError) Error() string     { return e.text }
func (panicError) Error() string       { panic("no text") }
func (panicError) Unwrap() error       { panic("nothing inside") }
func (panicError) Is(error) bool       { panic("is nothing") }
func (loopError) Error() string        { return "loop" }
func (e loopError) Unwrap() error      { return e }
func (isError) Error() string          { return "is" }
func (isError) Is(target error) bool   { return target == fs.ErrExist }
func (noCompare) Error() string        { return "slices" }
func (e *fieldsError) Error() string   { return e.Name }
func (e *fieldsError) Unwrap() error   { return e.Err }
func (e *badError) Error() string      { return "bad" }
func (e *badError) MarshalText() error { return nil }

// overThere sends err and gives what arrives.
func overThere(t testing.TB, err error) *RemoteError {
	t.Helper()
	b := AppendError([]byte("head"), err)
	if string(b[:4]) != "head" {
		t.Fatalf("dst begins with %q", b[:4])
	}
	b = b[4:]
	r, derr := DecodeError(b)
	if derr != nil {
		t.Fatal(derr)
	}
	for n := 0; n < len(b); n += 1 + len(b)/500 {
		if _, err := DecodeError(b[:n]); err == nil {
			t.Fatalf("no error for %d bytes of %d", n, len(b))
		}
	}
	return r
}

func TestRemoteError(t *testing.T) {
	t.Parallel()
	Register(&codeError{})
	Register(&fieldsError{})
	Register(&badError{})
	mine := errors.New("mine")
	Sentinels(mine, mine)
	_, numErr := strconv.Atoi("x")
	_, openErr := os.Open("/does/not/exist")
	tests := []struct {
		name    string
		err     error
		typ     string
		message string
		is      []error
		isNot   []error
	}{
		{"plain", plainError{"text"}, "codec.plainError", "text", nil, []error{io.EOF}},
		{"sentinel", io.EOF, "*errors.errorString", "EOF", []error{io.EOF}, []error{io.ErrUnexpectedEOF}},
		{"wrapped", fmt.Errorf("a: %w", context.DeadlineExceeded), "*fmt.wrapError", "a: context deadline exceeded", []error{context.DeadlineExceeded}, nil},
		{"joined", errors.Join(io.EOF, mine), "*errors.joinError", "EOF\nmine", []error{io.EOF, mine}, []error{fs.ErrExist}},
		{"file", openErr, "*fs.PathError", openErr.Error(), []error{fs.ErrNotExist}, []error{fs.ErrExist}},
		{"number", numErr, "*strconv.NumError", numErr.Error(), []error{strconv.ErrSyntax}, []error{strconv.ErrRange}},
		{"is method", isError{}, "codec.isError", "is", []error{fs.ErrExist}, []error{fs.ErrNotExist}},
		{"panics", panicError{}, "codec.panicError", "brine: Error of codec.panicError panicked: no text", nil, []error{io.EOF}},
		{"nil pointer", (*codeError)(nil), "*codec.codeError", "brine: Error of *codec.codeError panicked: runtime error: invalid memory address or nil pointer dereference", nil, nil},
		{"nil remote", (*RemoteError)(nil), "*codec.RemoteError", "brine: Error of *codec.RemoteError panicked: runtime error: invalid memory address or nil pointer dereference", nil, nil},
		{"loop", loopError{}, "codec.loopError", "loop", nil, []error{io.EOF}},
		{"uncomparable", noCompare{[]int{1}}, "codec.noCompare", "slices", nil, []error{io.EOF}},
		{"nil", nil, "", "<nil>", nil, nil},
		{"fields that cannot cross", fmt.Errorf("%w: %w", &badError{func() {}}, mine), "*fmt.wrapErrors", "bad: mine", []error{mine}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := overThere(t, test.err)
			for hop := range 2 { // passed on, it stays the same
				if r.Type != test.typ || r.Message != test.message || r.Error() != test.message {
					t.Errorf("hop %d: got %q, %q, want %q, %q", hop, r.Type, r.Message, test.typ, test.message)
				}
				for _, s := range test.is {
					if !errors.Is(r, s) {
						t.Errorf("hop %d: is not %v", hop, s)
					}
				}
				for _, s := range test.isNot {
					if errors.Is(r, s) {
						t.Errorf("hop %d: is %v", hop, s)
					}
				}
				r = overThere(t, r)
			}
		})
	}
}

func TestRemoteConcrete(t *testing.T) {
	t.Parallel()
	Register(&codeError{})
	Register(&fieldsError{})
	t.Run("in a chain", func(t *testing.T) {
		t.Parallel()
		r := overThere(t, fmt.Errorf("a: %w", errors.Join(io.EOF, &codeError{7})))
		var c *codeError
		if !errors.As(r, &c) || c.Code != 7 {
			t.Errorf("got %#v", r)
		}
	})
	t.Run("path error", func(t *testing.T) {
		t.Parallel()
		_, err := os.Open("/does/not/exist")
		var p *fs.PathError
		if r := overThere(t, err); !errors.As(r, &p) || !reflect.DeepEqual(p, err) {
			t.Errorf("got %#v, want %#v", p, err)
		}
	})
	t.Run("passed on in a wrapper", func(t *testing.T) {
		t.Parallel()
		r := overThere(t, fmt.Errorf("outer: %w", overThere(t, &codeError{7})))
		var c *codeError
		var inner *RemoteError
		if !errors.As(r, &c) || c.Code != 7 || r.Message != "outer: code 7" || !errors.As(r.Unwrap(), &inner) {
			t.Errorf("got %#v", r)
		}
	})
	t.Run("fields within fields", func(t *testing.T) {
		t.Parallel()
		err := io.EOF
		for range 3 * maxRemote { // the wrapper is not registered, what it wraps is
			err = fmt.Errorf("w: %w", &fieldsError{"f", err})
		}
		r := overThere(t, err)
		if !errors.Is(r, io.EOF) {
			t.Errorf("got %#v", r)
		}
	})
	t.Run("as a field", func(t *testing.T) {
		t.Parallel()
		in := struct{ R *RemoteError }{overThere(t, &codeError{7})}
		same(t, in)
		same(t, []any{in.R})
	})
}

func TestLongMessage(t *testing.T) {
	t.Parallel()
	r := overThere(t, plainError{strings.Repeat("ä", maxMessage)})
	if len(r.Message) > maxMessage || !strings.HasSuffix(r.Message, "ä"+truncated) {
		t.Errorf("got %d bytes that end in %q", len(r.Message), r.Message[len(r.Message)-30:])
	}
}

func TestSentinels(t *testing.T) {
	t.Parallel()
	panics(t, "brine: Sentinels(nil)", func() { Sentinels(nil) })
	panics(t, "cannot be compared", func() { Sentinels(noCompare{}) })
	a, b := errors.New("same text"), errors.New("same text")
	Sentinels(a, b)
	if r := overThere(t, b); errors.Is(r, a) || !errors.Is(r, b) {
		t.Errorf("got %#v", r)
	}
}
