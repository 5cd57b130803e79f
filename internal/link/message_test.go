//go:build linux

package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"
)

// message is what all of them have in common.
type message interface {
	Append(b []byte) []byte
	Parse(b []byte) error
}

// chunkHead makes a ChunkMessage like the others; its items are left out.
type chunkHead struct{ ChunkMessage }

func (c *chunkHead) Parse(b []byte) error {
	_, err := c.ChunkMessage.Parse(b)
	return err
}

func messages() map[string][]message {
	return map[string][]message{
		"init": {
			&InitMessage{Config: []byte{}},
			&InitMessage{Version: 1, Build: "build", MaxMemory: math.MaxInt64, Kind: "kind", Codec: "gob", Config: []byte("config")},
		},
		"hello": {&HelloMessage{}, &HelloMessage{Version: math.MaxUint32, PID: 7, Build: "b"}},
		"ready": {
			&ReadyMessage{Body: []byte{}},
			&ReadyMessage{Status: Panicked, Decode: -1, Body: []byte("body")},
		},
		"panic": {&PanicMessage{}, &PanicMessage{Value: "v", Stack: "s\ns"}},
		"chunk": {&chunkHead{}, &chunkHead{ChunkMessage{Timeout: math.MaxInt64, Bound: math.MaxUint64}}},
	}
}

func fresh(m message) message { return reflect.New(reflect.TypeOf(m).Elem()).Interface().(message) }

func TestMessagesRoundTrip(t *testing.T) {
	t.Parallel()
	for name, list := range messages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, m := range list {
				b := m.Append([]byte("before"))
				got := fresh(m)
				if err := got.Parse(b[len("before"):]); err != nil {
					t.Errorf("%+v: %v", m, err)
				} else if !reflect.DeepEqual(got, m) {
					t.Errorf("sent %+v, got %+v", m, got)
				}
			}
		})
	}
}

// TestMessagesCut cuts each message at every byte: up to its open-ended last field, it says so.
func TestMessagesCut(t *testing.T) {
	t.Parallel()
	for name, list := range messages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := list[1]
			whole := m.Append(nil)
			least := len(whole)
			switch m := m.(type) {
			case *InitMessage:
				least -= len(m.Config)
			case *ReadyMessage:
				least -= len(m.Body)
			case *PanicMessage:
				least -= len(m.Stack)
			}
			for n := range len(whole) {
				err := fresh(m).Parse(whole[:n])
				if n < least && !errors.Is(err, ErrBadMessage) {
					t.Errorf("cut to %d of %d bytes: %v", n, len(whole), err)
				}
				if n >= least && err != nil {
					t.Errorf("with %d of %d bytes, all fields are there: %v", n, len(whole), err)
				}
			}
		})
	}
}

func TestParseSpent(t *testing.T) {
	t.Parallel()
	var b []byte
	for _, n := range []uint64{1, 2, math.MaxUint64, 4} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	s, items, err := ParseSpent(append(b, "items"...))
	if want := (Spent{Run: 1, Decode: 2, Encode: -1, Bound: 4}); s != want || string(items) != "items" || err != nil {
		t.Errorf("got %+v, %q, %v", s, items, err)
	}
	for n := range StatsSize {
		if _, _, err := ParseSpent(b[:n]); !errors.Is(err, ErrBadMessage) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

// FuzzMessages parses any bytes as each message. What parses is no larger than the bytes and comes out again as them.
func FuzzMessages(f *testing.F) {
	kinds := []string{"init", "hello", "ready", "panic", "chunk"}
	for i, name := range kinds {
		for _, m := range messages()[name] {
			f.Add(byte(i), m.Append(nil))
		}
		f.Add(byte(i), []byte{})
		f.Add(byte(i), bytes.Repeat([]byte{0xff}, 40))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		m := fresh(messages()[kinds[int(kind)%len(kinds)]][0])
		if err := m.Parse(b); err != nil {
			if !errors.Is(err, ErrBadMessage) {
				t.Errorf("unexpected error: %v", err)
			}
			return
		}
		again := m.Append(nil)
		if len(again) > len(b) || !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("%T: %x parses, but encodes as %x", m, b, again)
		}
	})
}
