//go:build linux

package engine

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/shm"
)

// blobs is tasks with large arguments, of different sizes, which are to be answered with their arguments.
type blobs struct {
	*work
	seed        uint64
	least, most int // bytes of an argument
	shared      []*shm.Segment
}

// size returns the size of an argument, of which there are as many from 64 to 128 KB as from 512 to 1024.
func (w *blobs) size(i int) int {
	random := rand.New(rand.NewPCG(w.seed, uint64(i)))
	most := w.most
	for most/2 > w.least && random.IntN(4) > 0 {
		most /= 2
	}
	return (w.least + random.IntN(max(1, most-w.least))) &^ 7
}

func (w *blobs) Estimate(i int) int { return w.size(i) }

func (w *blobs) Encode(dst []byte, i int, refs *shm.Refs) ([]byte, error) {
	if len(w.shared) > 0 {
		if err := refs.Add(w.shared[i%len(w.shared)]); err != nil {
			return nil, err
		}
	}
	if _, err := w.work.Encode(nil, i, refs); err != nil {
		return nil, err
	}
	for n := w.size(i); n > 0; n -= 8 {
		dst = binary.LittleEndian.AppendUint64(dst, w.seed<<48^uint64(i)<<24^uint64(n))
	}
	return dst, nil
}

// check says why b is not the answer to a task.
func (w *blobs) check(i int, b []byte) error {
	if len(b) != w.size(i) {
		return fmt.Errorf("%d bytes, want %d", len(b), w.size(i))
	}
	for n := len(b); n > 0; n -= 8 {
		if got, want := binary.LittleEndian.Uint64(b[len(b)-n:]), w.seed<<48^uint64(i)<<24^uint64(n); got != want {
			return fmt.Errorf("word %x, %d before the end, want %x", got, n, want)
		}
	}
	return nil
}

func (w *blobs) Decode(i int, b []byte) error {
	w.end(i, w.check(i, b))
	return nil
}

// keepers is blobs whose results are used in place, some for a while.
type keepers struct {
	*blobs
	held chan func() // by which they are let go of
}

func (w *keepers) Keep(i int, b []byte, release func()) error {
	w.end(i, w.check(i, b))
	w.held <- func() {
		if err := w.check(i, b); err != nil {
			w.mu.Lock()
			w.ended[i] = fmt.Errorf("while it was held: %w", err)
			w.mu.Unlock()
		}
		release()
	}
	return nil
}

// letGo lets go of results as they come, the last so many when stop is closed.
func (w *keepers) letGo(last int, stop <-chan struct{}) {
	var list []func()
	for {
		select {
		case f := <-w.held:
			if list = append(list, f); len(list) > last {
				list[0]()
				list = list[1:]
			}
		case <-stop:
			for {
				select {
				case f := <-w.held:
					list = append(list, f)
					continue
				default:
				}
				for _, f := range list {
					f()
				}
				return
			}
		}
	}
}

// idle waits until the only worker has nothing to do, and looks at it.
func idle(t testing.TB, e *Engine, look func(w *conn)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		e.mu.Lock()
		if s := e.slots[0]; s.w != nil && s.idle {
			look(s.w)
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatal("it is never idle")
		}
	}
}

// empty checks that nothing is left in the arena of arguments, and no flight uses anything.
func empty(t testing.TB, w *conn) {
	t.Helper()
	const all = (testArena-256)*16/17 - 64
	if room := w.link.Arena.Alloc(all); cap(room) < all {
		t.Errorf("there is room for %d of %d bytes: arguments are left in the arena", cap(room), all)
	}
	if len(w.flights) > 0 || len(w.refs.List()) > 0 {
		t.Errorf("%d flights, %d segments of the next", len(w.flights), len(w.refs.List()))
	}
}
