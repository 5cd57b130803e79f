//go:build linux

package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// guarded returns a view of n bytes behind which there is no memory: reading further is the end of the test.
func guarded(t testing.TB, n int) View {
	t.Helper()
	page := os.Getpagesize()
	whole := (n + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, whole+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	if err := unix.Mprotect(mem[whole:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return View(mem[whole-n : whole])
}

// placedItem is an item as a peer may write it.
func placedItem(status, n, off uint64, slot, lease uint32) []byte {
	b := binary.LittleEndian.AppendUint64(nil, status<<56|inArena|n)
	b = binary.LittleEndian.AppendUint64(b, off)
	b = binary.LittleEndian.AppendUint32(b, slot)
	return binary.LittleEndian.AppendUint32(b, lease)
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	const size = 10_000
	view := guarded(t, size)
	for i := range view {
		view[i] = byte(i % 251)
	}
	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"all", placedItem(0, size, 0, 0, 0), true},
		{"the last byte", placedItem(0, 1, size-1, 0, 1), true},
		{"some", placedItem(uint64(lastStat), 500, 77, math.MaxUint32, math.MaxUint32), true},
		{"one byte too far", placedItem(0, size, 1, 0, 0), false},
		{"from the end", placedItem(0, 1, size, 0, 0), false},
		{"beyond the end", placedItem(0, 1, size+1, 0, 0), false},
		{"nothing", placedItem(0, 0, 5, 0, 0), false},
		{"nothing at the end", placedItem(0, 0, size, 0, 0), false},
		{"far away", placedItem(0, 10, 1<<40, 0, 0), false},
		{"at the last address", placedItem(0, 1, math.MaxUint64, 0, 0), false},
		{"wraps round", placedItem(0, 11, math.MaxUint64-10, 0, 0), false},
		{"wraps round to the beginning", placedItem(0, 20, math.MaxUint64-9, 0, 0), false},
		{"negative", placedItem(0, 20, 1<<63, 0, 0), false},
		{"as long as can be", placedItem(0, maxItem, 0, 0, 0), false},
		{"as long as can be, far away", placedItem(0, maxItem, math.MaxUint64-maxItem+1, 0, 0), false},
		{"half a place", placedItem(0, 10, 0, 0, 0)[:ItemSize+placeSize-1], false},
		{"no place", placedItem(0, 10, 0, 0, 0)[:ItemSize], false},
		{"no status", placedItem(uint64(lastStat)+1, 10, 0, 0, 0), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var it Item
			rest, err := it.Next(append(bytes.Clone(c.b), 1, 2, 3)[:len(c.b)], view)
			if !c.ok {
				if !errors.Is(err, ErrBadItem) || it.Body != nil || rest != nil {
					t.Errorf("got %d bytes, %v", len(it.Body), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			off, n := it.Place.Off, it.Place.Len
			if n == 0 || len(it.Body) != n || cap(it.Body) != n || &it.Body[0] != &view[off] || it.Body[n-1] != view[off+n-1] || len(rest) != 0 {
				t.Errorf("%d bytes at %d, a body of %d, a rest of %d", n, off, len(it.Body), len(rest))
			}
			if again := AppendPlaced(nil, it.Status, it.Place); !bytes.Equal(again, c.b) {
				t.Errorf("encoded again it is %x, was %x", again, c.b)
			}
		})
	}
	for _, view := range []View{nil, {}} {
		var it Item
		if _, err := it.Next(placedItem(0, 1, 0, 0, 0), view); !errors.Is(err, ErrBadItem) {
			t.Errorf("a place in no memory: %v", err)
		}
	}
}

// TestReleaseAnything has a worker say that its result is to be given back by any word: none is written but the leases.
func TestReleaseAnything(t *testing.T) {
	t.Parallel()
	l := setup(t)
	for _, at := range []Place{
		{}, {Len: 0, slot: 3, lease: 9}, {Len: 1, slot: leaseSlots, lease: 9}, {Len: 1, slot: math.MaxUint32, lease: 9}, {Len: 1, slot: 1 << 30, lease: 9},
	} {
		l.p.Release(at)
		l.p.Hold(at)()
	}
	if !bytes.Equal(l.p.shared.mine[:leasesSize], make([]byte, leasesSize)) {
		t.Error("a word was written")
	}
	l.p.Release(Place{Len: 1, slot: leaseSlots - 1, lease: 9})
	if got := leaseWord(l.s.Arguments, leaseSlots-1).Load(); got != 9 {
		t.Errorf("the worker reads %d", got)
	}
	if !bytes.Equal(l.p.shared.mine[leasesSize:leasesSize+4096], make([]byte, 4096)) {
		t.Error("the arena was written")
	}
}

// FuzzPlaces takes items off any bytes, with a view of any size: all of a body is in the frame or in the view, and can be
// read.
func FuzzPlaces(f *testing.F) {
	f.Add(placedItem(0, 100, 50, 1, 2), uint16(4096))
	f.Add(placedItem(3, 100, 3997, 1, 2), uint16(4096))
	f.Add(placedItem(0, 1, math.MaxUint64, 1, 2), uint16(4096))
	f.Add(placedItem(0, maxItem, 2, 1, 2), uint16(4096))
	f.Add(append(placedItem(0, 5, 0, 1, 2), placedItem(7, 5, 5, 0, 0)...), uint16(10))
	f.Add(append([]byte{3, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c'}, placedItem(0, 1, 0, 0, 0)...), uint16(1))
	memory := guarded(f, math.MaxUint16)
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		view := memory[len(memory)-int(size):]
		sum := byte(0)
		for {
			var it Item
			rest, err := it.Next(b, view)
			if err != nil {
				if !errors.Is(err, ErrBadItem) || rest != nil {
					t.Fatalf("%v, and a rest of %d", err, len(rest))
				}
				return
			}
			for _, c := range it.Body {
				sum += c
			}
			n := len(it.Body)
			switch {
			case it.Status > lastStat || cap(it.Body) != n:
				t.Fatalf("status %d, a body of %d with room for %d", it.Status, n, cap(it.Body))
			case it.Place.Len > 0:
				if it.Place.Len != n || it.Place.Off+n > len(view) || &it.Body[0] != &view[it.Place.Off] || len(rest) != len(b)-ItemSize-placeSize {
					t.Fatalf("%d bytes at %d of %d, a body of %d and a rest of %d of %d", it.Place.Len, it.Place.Off, len(view), n, len(rest), len(b))
				}
				if again := AppendPlaced(nil, it.Status, it.Place); !bytes.Equal(again, b[:len(again)]) {
					t.Fatalf("encoded again it is %x, was %x", again, b)
				}
			case len(rest) != len(b)-ItemSize-n || (n > 0 && &it.Body[0] != &b[ItemSize]):
				t.Fatalf("a body of %d and a rest of %d of %d", n, len(rest), len(b))
			}
			b = rest
		}
	})
}
