//go:build linux

package link

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func TestHeaderRoundTrip(t *testing.T) {
	t.Parallel()
	for _, h := range []Header{
		{},
		{Length: 1, Count: 2, Type: 3, Flags: 4, Epoch: 5, Chunk: 6, First: 7, Func: 8},
		{math.MaxUint32, math.MaxUint32, math.MaxUint8, math.MaxUint8, math.MaxUint32, math.MaxUint64, math.MaxUint32, math.MaxUint32},
		{Length: 0x01020304, Count: 0x05060708, Type: Results, Flags: 0x80, Epoch: 0x090a0b0c, Chunk: 0x0d0e0f1011121314, First: 0x15161718, Func: 0x191a1b1c},
	} {
		b := bytes.Repeat([]byte{0xee}, HeaderSize+1)
		h.Put(b)
		var got Header
		got.Get(b)
		if got != h {
			t.Errorf("put %+v, got %+v", h, got)
		}
		if b[HeaderSize] != 0xee {
			t.Errorf("%+v: more than a header was written", h)
		}
	}
}

// TestHeaderLayout holds the bytes as docs/PROTOCOL.md has them: they may not change without Version.
func TestHeaderLayout(t *testing.T) {
	t.Parallel()
	h := Header{Length: 0x01020304, Count: 0x05060708, Type: Results, Flags: 0x80, Epoch: 0x090a0b0c, Chunk: 0x0d0e0f1011121314, First: 0x15161718, Func: 0x191a1b1c}
	want := []byte{4, 3, 2, 1, 8, 7, 6, 5, 19, 0x80, 0, 0, 0xc, 0xb, 0xa, 9, 0x14, 0x13, 0x12, 0x11, 0x10, 0xf, 0xe, 0xd, 0x18, 0x17, 0x16, 0x15, 0x1c, 0x1b, 0x1a, 0x19}
	got := make([]byte, HeaderSize)
	h.Put(got)
	if !bytes.Equal(got, want) {
		t.Errorf("a header is\n%v, want\n%v", got, want)
	}
}

func TestAppendFrame(t *testing.T) {
	t.Parallel()
	dst := []byte("before")
	for _, payload := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("long"), 10_000)} {
		at := len(dst)
		var err error
		if dst, err = AppendFrame(dst, Header{Type: Chunk, Count: 3}, payload); err != nil {
			t.Fatal(err)
		}
		var h Header
		h.Get(dst[at:])
		if want := (Header{Type: Chunk, Count: 3, Length: uint32(len(payload))}); h != want || !bytes.Equal(dst[at+HeaderSize:], payload) {
			t.Errorf("payload of %d bytes: header %+v, want %+v", len(payload), h, want)
		}
	}
	if !bytes.HasPrefix(dst, []byte("before")) {
		t.Error("what was there before is gone")
	}
}

func TestEndFrameRefusesTooMuch(t *testing.T) {
	t.Parallel()
	b := addresses(t, HeaderSize+MaxPayload+1)
	if err := EndFrame(b, 0, Header{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a payload of MaxPayload+1: %v", err)
	}
	if err := EndFrame(b[:len(b)-1], 0, Header{}); err != nil {
		t.Errorf("a payload of MaxPayload: %v", err)
	}
}

func TestTypeNames(t *testing.T) {
	t.Parallel()
	names := make(map[string]Type)
	for _, typ := range []Type{Init, Func, Bind, Chunk, Quit, Free, Cancel, Hello, Ready, Results, Stuck, Bye, Recall, Returned, 0, 8, 100, 255} {
		if other, ok := names[typ.String()]; ok || typ.String() == "" {
			t.Errorf("types %d and %d are both %q", typ, other, typ)
		}
		names[typ.String()] = typ
	}
}
