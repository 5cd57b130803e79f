//go:build linux

package shm

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// holder counts what it is told.
type holder struct {
	sends   atomic.Int32
	forgets atomic.Int32
	id      atomic.Uint64
}

func (h *holder) Forget(id uint64) {
	h.id.Store(id)
	h.forgets.Add(1)
}

func (h *holder) send(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	h.sends.Add(1)
	return nil
}

// TestPass passes a segment to holders: to each once, and those that still have it in the end are told so.
func TestPass(t *testing.T) {
	t.Parallel()
	s := publish(t, pattern(1, 100))
	var keeps, leaves, fails holder
	for range 3 {
		for _, h := range []*holder{&keeps, &leaves} {
			if err := s.Pass(h, h.send); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 { // each time anew
		if err := s.Pass(&fails, func(int) error { fails.sends.Add(1); return unix.EPIPE }); !errors.Is(err, unix.EPIPE) {
			t.Errorf("pass: %v", err)
		}
	}
	s.Drop(&leaves)
	s.Drop(&leaves)
	if keeps.forgets.Load() != 0 {
		t.Error("it is to be forgotten, with a user")
	}
	s.Release()
	for _, c := range []struct {
		name           string
		h              *holder
		sends, forgets int32
	}{{"keeps it", &keeps, 1, 1}, {"leaves", &leaves, 1, 0}, {"was never reached", &fails, 2, 0}} {
		if c.h.sends.Load() != c.sends || c.h.forgets.Load() != c.forgets || (c.forgets > 0 && c.h.id.Load() != s.ID()) {
			t.Errorf("one that %s: passed %d times, told %d times, of %d", c.name, c.h.sends.Load(), c.h.forgets.Load(), c.h.id.Load())
		}
	}
	s.Drop(&keeps) // which may come late
	holds(t, 0, 0)
}

// TestPassAgain has a holder leave and come back.
func TestPassAgain(t *testing.T) {
	t.Parallel()
	s := publish(t, pattern(1, 100))
	var h holder
	for range 3 {
		if err := s.Pass(&h, h.send); err != nil {
			t.Fatal(err)
		}
		s.Drop(&h)
	}
	s.Release()
	if h.sends.Load() != 3 || h.forgets.Load() != 0 {
		t.Errorf("passed %d times, told %d times", h.sends.Load(), h.forgets.Load())
	}
}

// TestHammer has many users come and go, pass the segment on and read it. Whoever has it when the last one goes is told
// once, and nothing is left.
func TestHammer(t *testing.T) {
	t.Parallel()
	for round := range 20 {
		want := pattern(byte(round), 9000)
		s, err := Make(name(t), int64(len(want)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		copy(b, want)
		var holders [4]holder
		var wg sync.WaitGroup
		for g := range 8 {
			random := rand.New(rand.NewPCG(uint64(round), uint64(g)))
			wg.Go(func() {
				for range 100 {
					if s.Retain() != nil {
						if !s.Closed() {
							t.Error("it can't be retained, but is not gone")
						}
						return
					}
					h := &holders[random.IntN(len(holders))]
					if err := s.Pass(h, h.send); err != nil {
						t.Errorf("pass: %v", err)
					}
					at := random.IntN(len(want))
					if b, err := s.Bytes(); err != nil || b[at] != want[at] {
						t.Errorf("a user reads something else: %v", err)
					}
					if random.IntN(4) == 0 {
						s.Drop(&holders[0])
					}
					s.Release()
				}
			})
		}
		if round%2 == 0 {
			s.Release() // the maker's: the last of the others frees it, at some moment
			wg.Wait()
		} else {
			wg.Wait()
			s.Release()
		}
		gone(t, s)
		for i := range holders {
			h := &holders[i]
			sends, forgets := h.sends.Load(), h.forgets.Load()
			if forgets > 1 || (i > 0 && (sends > 1 || forgets != sends)) {
				t.Errorf("holder %d was passed it %d times, and told %d times", i, sends, forgets)
			}
		}
	}
	holds(t, 0, 0)
}

func TestRefs(t *testing.T) {
	t.Parallel()
	a, b, c := publish(t, pattern(1, 10)), publish(t, pattern(2, 10)), publish(t, pattern(3, 10))
	c.Release()
	var refs Refs
	for _, s := range []*Segment{a, b, a, b, b} {
		if err := refs.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := refs.Add(c); !errors.Is(err, ErrClosed) {
		t.Errorf("adding what is gone: %v", err)
	}
	if l := refs.List(); len(l) != 2 || l[0] != a || l[1] != b {
		t.Fatalf("the list is %v", l)
	}
	a.Release()
	b.Release()
	if a.Closed() || b.Closed() {
		t.Error("closed, with a user")
	}
	refs.Cut(1)
	if a.Closed() || !b.Closed() {
		t.Errorf("after a cut: closed %v and %v", a.Closed(), b.Closed())
	}
	list := refs.Take()
	if len(list) != 1 || len(refs.List()) != 0 {
		t.Errorf("%d are taken, and %d left", len(list), len(refs.List()))
	}
	ReleaseAll(list)
	if !a.Closed() {
		t.Error("not closed")
	}
	if r := NewRef(a); r.Segment() != a || new(Ref).Segment() != nil {
		t.Error("references of other segments")
	}
	holds(t, 0, 0)
}

// TestTable has segments be asked for before they come, after it, and never come.
func TestTable(t *testing.T) {
	t.Parallel()
	s := publish(t, pattern(1, 10))
	bad := errors.New("bad luck")
	synctest.Test(t, func(t *testing.T) {
		table := NewTable()
		got := make([]*Segment, 6)
		errs := make([]error, len(got))
		took := make([]time.Duration, len(got))
		start := time.Now()
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				got[i], errs[i] = table.Get(uint64(i % 3))
				took[i] = time.Since(start)
			})
		}
		time.Sleep(time.Second)
		table.Put(0, s, nil)
		time.Sleep(time.Second)
		table.Put(1, nil, bad)
		wg.Wait()
		for i := range got {
			switch i % 3 {
			case 0:
				if got[i] != s || errs[i] != nil || took[i] != time.Second {
					t.Errorf("one on its way: %v, %v after %v", got[i], errs[i], took[i])
				}
			case 1:
				if got[i] != nil || !errors.Is(errs[i], bad) || took[i] != 2*time.Second {
					t.Errorf("one that could not be: %v, %v after %v", got[i], errs[i], took[i])
				}
			case 2:
				if got[i] != nil || !errors.Is(errs[i], errUnknown) || took[i] != arrival {
					t.Errorf("one that never comes: %v, %v after %v", got[i], errs[i], took[i])
				}
			}
		}
		if again, err := table.Get(0); again != s || err != nil {
			t.Errorf("one that is there: %v, %v", again, err)
		}
		table.Remove(0)
		if !s.Closed() {
			t.Error("removed, but not released")
		}
		table.Remove(1)
		table.Remove(7) // which never came
		start = time.Now()
		for id := range uint64(2) {
			if s, err := table.Get(id); s != nil || !errors.Is(err, ErrClosed) {
				t.Errorf("one that was removed: %v, %v", s, err)
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("that took %v", d)
		}
	})
	holds(t, 0, 0)
}
