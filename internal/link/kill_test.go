//go:build linux

package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/shm"
)

// childMode is the environment variable that makes this program the child of a test.
const childMode = "BRINE_LINK_TEST"

const counterFD = LeasesFD + 1

// child publishes numbered results as fast as it can, and says in a mapping of its own how many it has published.
func child(mode string) {
	switch mode {
	case noDescriptors:
		childWithoutDescriptors()
	case arenaMode:
		childWithArena()
	}
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, mode, err)
		os.Exit(96)
	}
	s, err := OpenShared(JournalFD, LeasesFD)
	if err != nil {
		fail(err)
	}
	o := NewOutbox(ResultFD, s)
	counter, err := unix.Mmap(counterFD, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		fail(err)
	}
	for n := uint64(0); ; n++ {
		chunk, index := position(n)
		if index == 0 {
			o.Begin(chunk)
		}
		if err := o.Result(chunk, index, OK, body(mode, n), Spent{}, index < 99); err != nil {
			os.Exit(0) // the parent is gone
		}
		word(counter, 0).Store(n + 1)
		if index == 99 {
			o.End()
			if err := o.Flush(); err != nil {
				os.Exit(0)
			}
		}
	}
}

func position(n uint64) (chunk uint64, index uint32) { return n/100 + 1, uint32(n % 100) }

func body(mode string, n uint64) []byte {
	size := 8 + n%9
	switch {
	case mode == "words":
		size = 8
	case mode == "mixed" && n%331 == 330:
		size = journalSize + n%1001
	case n%7 == 6:
		size = 10_000 + n%11
	}
	b := bytes.Repeat([]byte{byte(n)}, int(size))
	binary.LittleEndian.PutUint64(b, n)
	return b
}

// TestKill kills a worker at random instants. What was received and what the journal still holds together are all
// results that it had published, each whole and once.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := 100
	if testing.Short() || raceDetector {
		kills = 20
	}
	for _, mode := range []string{"words", "odd", "mixed"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
			tails, total := 0, uint64(0)
			for i := range kills {
				n, tail := killOne(t, mode, time.Duration(random.Int64N(int64(2*time.Millisecond))))
				if t.Failed() {
					t.Fatalf("kill %d of %d", i, kills)
				}
				total += n
				if tail > 0 {
					tails++
				}
			}
			t.Logf("%d results, %d of %d journals held some", total, tails, kills)
			if tails == 0 {
				t.Error("no journal was ever needed: the test shows nothing")
			}
		})
	}
}

func killOne(t *testing.T, mode string, after time.Duration) (n uint64, tailed int) {
	t.Helper()
	p, files, err := New(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { CloseAll([]int{p.CrashFD()}); p.Close() }()
	fd, err := shm.Create("counter", 4096)
	if err != nil {
		t.Fatal(err)
	}
	counter, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(counter) }()
	inherited := []uintptr{0, 1, 2}
	for _, f := range append(files, fd) {
		inherited = append(inherited, uintptr(f))
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"publisher"}, &syscall.ProcAttr{
		Env: append(os.Environ(), childMode+"="+mode), Files: inherited,
	})
	CloseAll(append(files, fd))
	if err != nil {
		t.Fatal(err)
	}
	// The instant is counted from the first result.
	var kill *time.Timer
	var status syscall.WaitStatus
	defer func() {
		if kill != nil {
			kill.Stop()
		}
	}()
	take := func() {
		for {
			h, payload, ok := p.Next()
			if !ok {
				return
			}
			got, _, err := parse([]frame{{h, payload}})
			if err != nil {
				t.Errorf("after %d results: %v", n, err)
				return
			}
			for _, r := range got {
				chunk, index := position(n)
				if want := (result{chunk, index, OK, string(body(mode, n))}); r != want {
					t.Errorf("result %d is %v, want %v", n, r, want)
					return
				}
				n++
			}
		}
	}
	for {
		err := p.Exchange()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Error(err)
			break
		}
		if kill == nil {
			kill = time.AfterFunc(after, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		}
		take()
		if t.Failed() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			break
		}
	}
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || status.Signal() != syscall.SIGKILL {
		t.Errorf("the child ended with %v (%v)", status, err)
	}
	if t.Failed() {
		return n, 0
	}
	received := n
	tail := p.Journal.Tail(p.Received())
	p.Feed(tail)
	take()
	if t.Failed() {
		return n, 0
	}
	published := word(counter, 0).Load()
	if n != published && n != published+1 { // one may have been published and not yet counted
		t.Errorf("%d results were published, but %d arrived by the pipe and %d in the journal", published, received, n-received)
	}
	if left := p.w - p.r; left > 0 {
		// Only a result that doesn't fit in the journal may be torn: then it was the next one, and not yet published.
		var h Header
		if left >= HeaderSize {
			h.Get(p.buf[p.r:])
		}
		if chunk, index := position(n); len(tail) > 0 || (left >= HeaderSize && (h.Chunk != chunk || h.First != index || h.Length < journalSize-journalHead)) {
			t.Errorf("%d bytes are left over, %d of them from the journal: %+v", left, len(tail), h)
		}
	}
	return n, len(tail)
}
