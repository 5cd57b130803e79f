package codec

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// moody is a type whose methods panic or err when it says so.
type moody struct{ Mood string }

func (m moody) act() error {
	switch m.Mood {
	case "panic":
		panic("in a mood")
	case "err":
		return errMood
	}
	return nil
}

var errMood = errors.New("in a mood")

func (m moody) MarshalBinary() ([]byte, error)  { return []byte(m.Mood), m.act() }
func (m *moody) UnmarshalBinary(b []byte) error { m.Mood = strings.ToLower(string(b)); return m.act() }
func (m moody) MarshalJSON() ([]byte, error)    { return []byte(`"` + m.Mood + `"`), m.act() }
func (m *moody) UnmarshalJSON(b []byte) error {
	m.Mood = strings.ToLower(strings.Trim(string(b), `"`))
	return m.act()
}

// planCodec is the compiled codec in the form of the others.
type planCodec struct{}

func (planCodec) Name() string { return "plan" }

func (planCodec) Append(dst []byte, v any) ([]byte, error) {
	p, err := For(reflect.TypeOf(v).Elem())
	if err != nil {
		return dst, err
	}
	return p.Append(dst, reflect.ValueOf(v).UnsafePointer())
}

func (planCodec) Decode(src []byte, v any) error {
	p, err := For(reflect.TypeOf(v).Elem())
	if err != nil {
		return err
	}
	return p.Decode(src, reflect.ValueOf(v).UnsafePointer())
}

func TestCodecs(t *testing.T) {
	t.Parallel()
	for _, c := range []Codec{Gob, JSON, planCodec{}} {
		t.Run(c.Name(), func(t *testing.T) {
			t.Parallel()
			in := record{ID: 1, Name: "n", Seen: time.Unix(5, 6).UTC()}
			b, err := c.Append([]byte("head"), &in)
			if err != nil || string(b[:4]) != "head" {
				t.Fatalf("got %q, %v", b, err)
			}
			src := bytes.Clone(b[4:])
			out := record{ID: 9, Score: 9, City: "overwritten", Live: true}
			if err := c.Decode(src, &out); err != nil {
				t.Fatal(err)
			}
			clear(src)
			if !reflect.DeepEqual(out, in) {
				t.Errorf("got %+v, want %+v", out, in)
			}
			if err := c.Decode(append(bytes.Clone(b[4:]), 'x'), &out); err == nil {
				t.Error("no error for a byte too many")
			}
			if err := c.Decode(b[4:len(b)-1], &out); err == nil {
				t.Error("no error for a byte too few")
			}
			for _, mood := range []string{"panic", "err"} {
				b, err := c.Append([]byte("dst"), &moody{mood})
				if err == nil || string(b) != "dst" || !strings.Contains(err.Error(), "in a mood") || !strings.HasPrefix(err.Error(), "brine: encode ") {
					t.Errorf("%s: got %q, %v", mood, b, err)
				}
				if mood == "err" && !errors.Is(err, errMood) {
					t.Errorf("%v does not wrap the method's error", err)
				}
				b, err = c.Append(nil, &moody{strings.ToUpper(mood)})
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Decode(b, new(moody)); err == nil || !strings.Contains(err.Error(), "in a mood") || !strings.HasPrefix(err.Error(), "brine: decode ") {
					t.Errorf("%s: got %v", mood, err)
				}
			}
			fn := func() {}
			if b, err := c.Append([]byte("dst"), &fn); err == nil || string(b) != "dst" {
				t.Errorf("a func: got %q, %v", b, err)
			}
		})
	}
}
