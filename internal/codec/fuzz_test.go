package codec

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"os"
	"reflect"
	"testing"
	"time"
)

// fuzzed is one type of which FuzzDecode decodes values, with one of them.
type fuzzed struct {
	name  string
	value any // a pointer
}

func fuzzedTypes() []fuzzed {
	x := 5
	self := &ring{Name: "self", Any: []any{1, "x"}}
	self.Next = self
	link, _ := url.Parse("https://example.com/a?b=c")
	return []fuzzed{
		{"record", &records(1)[0]},
		{"records", new(records(3))},
		{"mixed", &mixed{A: 1, B: true, Name: "n", E: []flat{{A: 1}}, M: map[string][]int{"a": {1}, "b": nil}}},
		{"tree", &tree{Left: &tree{}, Right: &tree{Left: &tree{}}}},
		{"ring", self},
		{"forest", &forst{{}, nil, {{}}}},
		{"nest", &nest{"a": {"b": nil}}},
		{"any", new(any(map[string]any{"a": []any{1, 2.5, "x", nil, true, time.Unix(1, 2).UTC()}, "b": map[any]any{1: "x"}}))},
		{"anys", &[]any{1, 1, "a", []byte{1}, &x, struct{}{}, []map[string]any{{"k": 1}}}},
		{"result", &result{Err: fmt.Errorf("w: %w", io.EOF), Value: &os.PathError{Op: "open", Path: "p", Err: io.EOF}}},
		{"maps", &[]map[string]string{{"a": "b"}, nil, {}}},
		{"keys", &map[any][]*int{1: {&x, &x, nil}, "a": {}}},
		{"times", &[]time.Time{time.Unix(5, 6).UTC(), time.Unix(7, 8).In(time.FixedZone("", 123))}},
		{"methods", &struct {
			N *big.Int
			U *url.URL
			M moody
		}{big.NewInt(1 << 40), link, moody{"good"}}},
		{"bulky", &[]bulky{{A: 1}}},
		{"nothing", &[]struct{}{{}, {}}},
		{"bools", &[]lots{{S: [2]string{"a", "b"}}}},
	}
}

// FuzzDecode decodes any bytes as any of the types. Whatever they are, there is
// no panic and little memory is asked for; a value that comes of it can be
// encoded, and is the same after that.
func FuzzDecode(f *testing.F) {
	Register((*ring)(nil))
	Register((*int)(nil))
	types := fuzzedTypes()
	plans := make([]*Plan, len(types))
	for i, typ := range types {
		v := reflect.ValueOf(typ.value)
		p, err := For(v.Type().Elem())
		if err != nil {
			f.Fatal(err)
		}
		b, err := p.Append(nil, v.UnsafePointer())
		if err != nil {
			f.Fatal(err)
		}
		plans[i] = p
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, which uint8, src []byte) {
		p := plans[int(which)%len(plans)]
		out := reflect.New(p.node.typ)
		var err error
		got := allocated(func() { err = p.Decode(src, out.UnsafePointer()) })
		if limit := mostMemory(len(src)); got > limit {
			t.Errorf("%s: %d bytes of memory for %d of input, at most %d are allowed", p.node.typ, got, len(src), limit)
		}
		if err != nil {
			return
		}
		b, err := p.Append(nil, out.UnsafePointer())
		if err != nil {
			if errors.Is(err, errMood) {
				return
			}
			t.Fatalf("%s: decoded, but %v", p.node.typ, err)
		}
		again := reflect.New(p.node.typ)
		if err := p.Decode(b, again.UnsafePointer()); err != nil {
			t.Fatalf("%s: encoded again, but %v", p.node.typ, err)
		}
		same := reflect.New(p.node.typ)
		if err := p.Decode(src, same.UnsafePointer()); err != nil {
			t.Fatalf("%s: decoded once, then %v", p.node.typ, err)
		}
		// What differs from itself holds a NaN. url.URL makes of a few strange
		// addresses a text that it reads as another.
		if types[int(which)%len(types)].name == "methods" {
			return
		}
		if reflect.DeepEqual(out.Interface(), same.Interface()) && !reflect.DeepEqual(out.Interface(), again.Interface()) {
			t.Fatalf("%s: %#v became %#v", p.node.typ, out.Elem(), again.Elem())
		}
	})
}

// FuzzDecodeError decodes any bytes as an error, which can then be passed on.
func FuzzDecodeError(f *testing.F) {
	Register(&codeError{})
	Register(&fieldsError{})
	for _, err := range []error{
		io.EOF, &codeError{7}, fmt.Errorf("a: %w", errors.Join(io.EOF, &fieldsError{"f", io.ErrClosedPipe})),
		&os.PathError{Op: "open", Path: "p", Err: os.ErrNotExist}, fmt.Errorf("b: %w", &RemoteError{Type: "t", Message: "m"}),
	} {
		f.Add(AppendError(nil, err))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var r *RemoteError
		var err error
		got := allocated(func() { r, err = DecodeError(src) })
		if limit := mostMemory(len(src)); got > limit {
			t.Errorf("%d bytes of memory for %d of input, at most %d are allowed", got, len(src), limit)
		}
		if err != nil {
			return
		}
		_ = r.Error()
		again, err := DecodeError(AppendError(nil, r))
		if err != nil {
			t.Fatal(err)
		}
		if again.Type != r.Type || len(again.matched) != len(r.matched) || (again.concrete == nil) != (r.concrete == nil) {
			t.Errorf("%#v became %#v", r, again)
		}
	})
}
