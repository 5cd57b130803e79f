//go:build linux

package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func TestItemsRoundTrip(t *testing.T) {
	t.Parallel()
	var b []byte
	for s := OK; s <= lastStat; s++ {
		for _, n := range []int{0, 1, 7, 8, 9, 1000} {
			var at int
			b, at = AppendItem(b)
			b = append(b, bytes.Repeat([]byte{byte(n)}, n)...)
			EndItem(b, at, s)
		}
	}
	for s := OK; s <= lastStat; s++ {
		for _, n := range []int{0, 1, 7, 8, 9, 1000} {
			var it Item
			rest, err := it.Next(b, nil)
			got, body := it.Status, it.Body
			if err != nil || got != s || it.Place != (Place{}) || !bytes.Equal(body, bytes.Repeat([]byte{byte(n)}, n)) {
				t.Fatalf("item of status %d with %d bytes: status %d, %d bytes, %v", s, n, got, len(body), err)
			}
			if cap(body) != len(body) {
				t.Fatal("appending to a body would write into the next item")
			}
			b = rest
		}
	}
	if len(b) > 0 {
		t.Errorf("%d bytes left over", len(b))
	}
}

func TestBadItems(t *testing.T) {
	t.Parallel()
	head := func(w uint64, body int) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, w), make([]byte, body)...)
	}
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"half a head", make([]byte, ItemSize-1)},
		{"one byte short", head(9, 8)},
		{"longer than memory", head(maxItem, 100)},
		{"longer than 32 bits", head(1<<32, 100)},
		{"status", head(uint64(lastStat+1)<<56, 0)},
		{"all ones", head(1<<64-1, 100)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var it Item
			if rest, err := it.Next(c.b, nil); !errors.Is(err, ErrBadItem) || it.Body != nil || rest != nil {
				t.Errorf("got %v, %v, %v", it.Body, rest, err)
			}
		})
	}
}

// FuzzItems takes items off any bytes: none is longer than what is there, and they get fewer each time.
func FuzzItems(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0, 0, 0, 0, 0, 0, 7})
	f.Add(bytes.Repeat([]byte{0xff}, 20))
	f.Add([]byte{5, 0, 0, 0, 0, 0, 0, 1, 'a', 'b'})
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			var it Item
			rest, err := it.Next(b, nil)
			if err != nil {
				return
			}
			s, body := it.Status, it.Body
			if s > lastStat || len(b) < ItemSize+len(body)+len(rest) {
				t.Fatalf("%d bytes gave status %d, a body of %d and a rest of %d", len(b), s, len(body), len(rest))
			}
			if len(body) > 0 && &body[0] != &b[ItemSize] {
				t.Fatal("the body is not where it was")
			}
			b = rest
		}
	})
}
