//go:build linux

package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/shm"
)

// rawPlace is where a worker says that a result lies.
type rawPlace struct {
	status      link.Status
	n, off      uint64
	slot, lease uint32
	cut         int // bytes that are missing
}

func (p rawPlace) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(p.status)<<56|1<<55|p.n)
	b = binary.LittleEndian.AppendUint64(b, p.off)
	b = binary.LittleEndian.AppendUint32(b, p.slot)
	b = binary.LittleEndian.AppendUint32(b, p.lease)
	return b[:len(b)-p.cut]
}

// badPlaces are where no result can lie. An offset is counted from the end of the memory where it is below a gigabyte.
var badPlaces = map[string]rawPlace{
	"place one byte too far":      {n: 20_000, off: 19_999},
	"place at the end":            {n: 1, off: 0},
	"place beyond the end":        {n: 20_000, off: math.MaxUint64 - 1<<20},
	"place far away":              {n: 20_000, off: 1 << 40},
	"place that wraps round":      {n: 20_000, off: math.MaxUint64 - 9_999},
	"negative place":              {n: 20_000, off: 1 << 63},
	"place of 2^55 bytes":         {n: 1<<55 - 1, off: 1 << 20},
	"place of 2^55 bytes, far":    {n: 1<<55 - 1, off: math.MaxUint64 - 1<<55 + 2},
	"place of more than there is": {n: 1 << 32, off: 1 << 20},
	"place of no bytes":           {n: 0, off: 1 << 20},
	"half a place":                {n: 20_000, off: 1 << 20, cut: 9},
	"no place":                    {n: 20_000, off: 1 << 20, cut: 16},
	"place of no status":          {n: 20_000, off: 1 << 20, status: 99},
}

// oddPlaces are in the memory, but not where a worker that keeps to the rules would put a result, or to be given back in
// an odd way. The parent reads what lies there; nothing else comes of it.
var oddPlaces = map[string]rawPlace{
	"place in the journal":            {n: 20_000, off: 512 << 10},
	"place of all":                    {n: 512<<10 + testArena, off: 512<<10 + testArena},
	"place with the last slot":        {n: 20_000, off: 1 << 20, slot: 4095, lease: 77},
	"place with a slot too many":      {n: 20_000, off: 1 << 20, slot: 4096, lease: 77},
	"place with a slot out of memory": {n: 20_000, off: 1 << 20, slot: math.MaxUint32, lease: 77},
	"place of an error":               {n: 20_000, off: 1 << 20, status: link.Failed},
	"place of a panic":                {n: 20_000, off: 1 << 20, status: link.Panicked},
	"place of an exit":                {n: 20_000, off: 1 << 20, status: link.Exited, slot: math.MaxUint32},
	"place of a late error":           {n: 20_000, off: 1 << 20, status: link.Expired},
	"place of a cancelled task":       {n: 20_000, off: 1 << 20, status: link.Cancelled},
}

// place answers a chunk with a place that can't be, if that is the mode.
func (r *rogue) place(h link.Header) {
	p, bad := badPlaces[r.mode]
	if !bad {
		var odd bool
		if p, odd = oddPlaces[r.mode]; !odd {
			return
		}
	}
	if p.off < 1<<30 {
		size, err := shm.Size(link.JournalFD)
		if err != nil {
			r.fail(err)
		}
		p.off = uint64(size) - p.off
		if strings.HasSuffix(r.mode, "in the journal") {
			p.off = 0
		}
	}
	r.out.Begin(h.Chunk)
	b := make([]byte, link.StatsSize)
	for range h.Count {
		b = p.append(b) // the same for all
	}
	r.send(link.Header{Type: link.Results, Chunk: h.Chunk, Count: h.Count}, b)
	if bad {
		park()
	}
	r.out.End()
	for { // the mode is for ever
		h, _ := r.next()
		switch h.Type {
		case link.Chunk:
			r.place(h)
		case link.Quit:
			r.send(link.Header{Type: link.Bye}, new(link.ReadyMessage).Append(nil))
			os.Exit(0)
		}
	}
}

// TestRoguePlaces has workers say that their results lie where they can't.
func TestRoguePlaces(t *testing.T) {
	t.Parallel()
	for mode := range badPlaces {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			rogueOnce(t, rogueMode{mode, true, true})
			rogueForEver(t, rogueMode{mode, true, true})
		})
	}
}

// TestOddPlaces has workers say that all their results lie in one place, which nobody gave them. The tasks end with what
// lies there, and the worker lives.
func TestOddPlaces(t *testing.T) {
	t.Parallel()
	for mode, p := range oddPlaces {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			e := open(t, config(filepath.Join(t.TempDir(), "once")+":"+mode, 1))
			const n = 20
			w := &lengths{work: new(work)}
			j := NewJob(t.Context(), e.Function("f"), w, 5)
			j.Sized = true
			if err := e.Submit(j, n, false); err != nil {
				t.Fatal(err)
			}
			w.await(t, j, n)
			for i, err := range w.errs(n) {
				want := fmt.Sprintf("%d bytes", p.n)
				if f := w.failures[i]; p.status != link.OK && (f == nil || f.Cause == Crashed) || p.status == link.OK && (err == nil || err.Error() != want) {
					t.Errorf("task %d ended with %v (%v)", i, err, f)
				}
			}
			if err := closed(t, e); err != nil {
				t.Error(err)
			}
			if c := e.Counts(); c.Deaths != 0 || c.Started != 1 {
				t.Errorf("counts %+v", c)
			}
		})
	}
}

// lengths is work whose results are the lengths of what came, each byte of which is read.
type lengths struct{ *work }

func (w *lengths) Decode(i int, b []byte) error {
	sum := byte(0)
	for _, c := range b {
		sum |= c
	}
	if sum == 1 {
		return errors.New("it can't be")
	}
	w.end(i, fmt.Errorf("%d bytes", len(b)))
	return nil
}
