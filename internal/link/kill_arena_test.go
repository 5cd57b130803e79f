//go:build linux

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/shm"
)

// arenaMode is the mode of a child that publishes large results.
const arenaMode = "arena"

// largeArena is little enough for results to be written where others were, and to be refused now and then.
const largeArena = 6 << 20

// largeSize is the size of the n-th large result, from 1 KB to 1 MB.
func largeSize(n uint64) int {
	random := rand.New(rand.NewPCG(n, 7))
	return 1<<10 + random.IntN(1<<(10+random.IntN(11)))
}

// appendLarge appends the n-th large result: its number, words that belong to it, and a sum.
func appendLarge(b []byte, n uint64) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint64(b, n)
	for i := uint64(largeSize(n)); i >= 20; i -= 8 {
		b = binary.LittleEndian.AppendUint64(b, n*0x9e3779b97f4a7c15+i)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[at:]))
}

// isLarge says why b is not the n-th large result.
func isLarge(b []byte, n uint64) error {
	size := 8 + (largeSize(n)-12)/8*8 + 4
	if len(b) != size {
		return fmt.Errorf("result %d has %d bytes, want %d", n, len(b), size)
	}
	if got := binary.LittleEndian.Uint64(b); got != n {
		return fmt.Errorf("result %d is number %d", n, got)
	}
	if crc32.ChecksumIEEE(b[:size-4]) != binary.LittleEndian.Uint32(b[size-4:]) {
		return fmt.Errorf("result %d is torn", n)
	}
	return nil
}

// childWithArena publishes large results as fast as it can, as a worker does.
func childWithArena() {
	s, err := OpenShared(JournalFD, LeasesFD)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(96)
	}
	o := NewOutbox(ResultFD, s)
	counter, err := shm.Map(counterFD, 4096, true)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(96)
	}
	var scratch []byte
	for n := uint64(0); ; n++ {
		chunk, index := position(n)
		if index == 0 {
			o.Begin(chunk)
		}
		if err := publishLarge(s, o, n, &scratch); err != nil {
			os.Exit(0) // the parent is gone
		}
		word(counter, 0).Store(n + 1)
		if index == 99 {
			o.End()
			if o.Flush() != nil {
				os.Exit(0)
			}
		}
	}
}

func publishLarge(s *Shared, o *Outbox, n uint64, scratch *[]byte) error {
	chunk, index := position(n)
	if size := largeSize(n); size >= ArenaFrom {
		if room := s.Arena.Alloc(size); room != nil {
			if b := appendLarge(room, n); s.Arena.Holds(b) {
				if at, ok := s.Arena.Keep(b); ok {
					return o.Placed(chunk, index, OK, at, Spent{}, index < 99)
				}
			}
		}
	}
	*scratch = appendLarge((*scratch)[:0], n)
	return o.Result(chunk, index, OK, *scratch, Spent{}, index < 99)
}

// TestKillArena kills workers at random instants while they write results into their arenas, and while the parent reads
// those and gives their places back, some at once and some late. No value is ever torn, nor written over before its
// place was given back; what was published is there after the death, and nothing else; and a result that is held
// outlives the link.
func TestKillArena(t *testing.T) {
	t.Parallel()
	kills := 150
	if testing.Short() || raceDetector {
		kills = 20
	}
	for _, late := range []int{0, 12} {
		t.Run(fmt.Sprintf("%d places kept", late), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(late)))
			var sum killed
			for i := range kills {
				k := killArena(t, late, time.Duration(random.Int64N(int64(4*time.Millisecond))))
				if t.Failed() {
					t.Fatalf("kill %d of %d", i, kills)
				}
				sum.results += k.results
				sum.placed += k.placed
				sum.tailed += k.tailed
				sum.torn += k.torn
			}
			t.Logf("%d results, %d of them in arenas; %d came by the journal; %d kills were in the middle of a large frame", sum.results, sum.placed, sum.tailed, sum.torn)
			if sum.placed == 0 || sum.tailed == 0 {
				t.Error("the test shows nothing")
			}
		})
	}
}

// killed tells of one child: how many results it had published, and in which ways they came.
type killed struct{ results, placed, tailed, torn uint64 }

// largeReader takes large results off a link, and gives their places back after so many others.
type largeReader struct {
	t    *testing.T
	p    *Parent
	late int
	kept []kept
	killed
}

// take checks all results that have come.
func (r *largeReader) take() {
	for {
		h, payload, ok := r.p.Next()
		if !ok {
			return
		}
		_, items, err := ParseSpent(payload)
		for range h.Count {
			var it Item
			if err == nil {
				items, err = it.Next(items, r.p.Results())
			}
			if err == nil {
				err = isLarge(it.Body, r.results)
			}
			if chunk, index := position(r.results); err == nil && (h.Chunk != chunk || it.Status != OK) {
				err = fmt.Errorf("result %d of chunk %d is of chunk %d from %d on", index, chunk, h.Chunk, h.First)
			}
			if err != nil {
				r.t.Error(err)
				return
			}
			if it.Place.Len > 0 {
				r.placed++
				r.kept = append(r.kept, kept{it.Place, uint32(r.results)})
			}
			r.results++
			r.giveBack(r.late)
		}
	}
}

// giveBack looks at places again that were read before, until only so many are left, and gives them back.
func (r *largeReader) giveBack(most int) {
	for len(r.kept) > most {
		k := r.kept[0]
		r.kept = r.kept[1:]
		if err := isLarge(r.p.Results()[k.at.Off:k.at.Off+k.at.Len], uint64(k.number)); err != nil {
			r.t.Errorf("written over too early: %v", err)
		}
		r.p.Release(k.at)
	}
}

func killArena(t *testing.T, late int, after time.Duration) killed {
	t.Helper()
	p, files, err := New(largeArena)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := shm.Create("counter", 4096)
	if err != nil {
		t.Fatal(err)
	}
	counter, err := shm.Map(fd, 4096, false)
	if err != nil {
		t.Fatal(err)
	}
	defer shm.Unmap(counter)
	inherited := []uintptr{0, 1, 2}
	for _, f := range append(files, fd) {
		inherited = append(inherited, uintptr(f))
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"publisher"}, &syscall.ProcAttr{
		Env: append(os.Environ(), childMode+"="+arenaMode), Files: inherited,
	})
	CloseAll(append(files, fd))
	if err != nil {
		t.Fatal(err)
	}
	r := &largeReader{t: t, p: p, late: late}
	var kill *time.Timer // the instant is counted from the first result
	for err == nil && !t.Failed() {
		if err = p.Exchange(); err == nil {
			if kill == nil {
				kill = time.AfterFunc(after, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
			}
			r.take()
		}
	}
	if kill != nil {
		kill.Stop()
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	var status syscall.WaitStatus
	if _, bad := syscall.Wait4(pid, &status, 0, nil); bad != nil || status.Signal() != syscall.SIGKILL || !errors.Is(err, io.EOF) {
		t.Errorf("the child ended with %v (%v), the stream with %v", status, bad, err)
	}
	if t.Failed() {
		p.Close()
		CloseAll([]int{p.CrashFD()})
		return r.killed
	}
	received := r.results
	p.Feed(p.Journal.Tail(p.Received()))
	r.take()
	r.tailed = r.results - received
	if published := word(counter, 0).Load(); r.results != published && r.results != published+1 { // one may not be counted yet
		t.Errorf("%d results were published, but %d arrived by the pipe and %d in the journal", published, received, r.tailed)
	}
	if p.w > p.r {
		r.torn = 1 // see TestKill
	}
	r.bury()
	return r.killed
}

// bury closes the link, with one place held, and checks that the memory goes when that is let go of.
func (r *largeReader) bury() {
	m := r.p.shared
	var release func()
	if n := len(r.kept); n > 0 {
		k := r.kept[n-1]
		r.kept = r.kept[:n-1]
		release = r.p.Hold(k.at)
		view := r.p.Results()[k.at.Off : k.at.Off+k.at.Len]
		defer func() {
			if m.mine == nil || m.theirs == nil {
				r.t.Fatal("unmapped, with a result held")
			}
			if err := isLarge(view, uint64(k.number)); err != nil {
				r.t.Errorf("after the end of the link: %v", err)
			}
			release()
			r.unmapped(m)
		}()
	}
	r.giveBack(0)
	r.p.Close()
	CloseAll([]int{r.p.CrashFD()})
	if release == nil {
		r.unmapped(m)
	}
}

func (r *largeReader) unmapped(m *memory) {
	if m.mine != nil || m.theirs != nil || m.fd != -1 || m.users.Load() != 0 {
		r.t.Errorf("mapped still: %d and %d bytes, descriptor %d, %d users", len(m.mine), len(m.theirs), m.fd, m.users.Load())
	}
}
