//go:build linux

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/shm"
)

// numbered makes memory that holds a number.
func numbered(t testing.TB, n uint64) int {
	t.Helper()
	fd, err := shm.Create("brine journal of "+t.Name(), 8)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Pwrite(fd, binary.LittleEndian.AppendUint64(nil, n), 0); err != nil {
		t.Fatal(err)
	}
	return fd
}

// takeNumber reads what numbered wrote, and closes the descriptor.
func takeNumber(fd int) (uint64, error) {
	defer unix.Close(fd)
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil {
		return 0, err
	}
	if flags&unix.FD_CLOEXEC == 0 {
		return 0, errors.New("the worker's children would have it")
	}
	var b [8]byte
	_, err = unix.Pread(fd, b[:], 0)
	return binary.LittleEndian.Uint64(b[:]), err
}

// TestControlMix sends frames with and without a descriptor in any order, before the first is read and while they are,
// to readers that get them in pieces of any size: each comes once, in order, with its own descriptor.
func TestControlMix(t *testing.T) {
	t.Parallel()
	for _, buffer := range []int{HeaderSize + shareSize, 41, 47, 64, 72, 79, 100, 4096} {
		t.Run(strconv.Itoa(buffer), func(t *testing.T) {
			t.Parallel()
			l := setup(t)
			in := NewControlReader(l.ctl)
			in.buf = make([]byte, buffer)
			random := rand.New(rand.NewPCG(uint64(buffer), 6))
			var sent []Message
			next := 0
			receive := func() {
				t.Helper()
				want := sent[next]
				next++
				m, err := in.Next()
				if err != nil || m.Type != want.Type || m.ID != want.ID || m.Size != want.Size || (m.FD >= 0) != (want.Type == Share) {
					t.Fatalf("message %d is %+v (%v), want %+v", next, m, err, want)
				}
				if m.FD >= 0 {
					if n, err := takeNumber(m.FD); n != m.ID || err != nil {
						t.Fatalf("segment %d came with the memory of %d (%v)", m.ID, n, err)
					}
				}
			}
			for range 400 {
				switch id := random.Uint64(); random.IntN(6) {
				case 0, 1:
					fd := numbered(t, id)
					size := random.Int64()
					if err := l.p.Share(id, size, fd); err != nil {
						t.Fatal(err)
					}
					CloseAll([]int{fd})
					sent = append(sent, Message{Type: Share, ID: id, Size: size})
				case 2, 3:
					typ := []Type{Cancel, Recall, Forget}[random.IntN(3)]
					l.p.Control(typ, id)
					sent = append(sent, Message{Type: typ, ID: id})
				default:
					for range random.IntN(5) {
						if next < len(sent) {
							receive()
						}
					}
				}
				for len(sent)-next > 60 {
					receive()
				}
			}
			CloseAll([]int{l.p.ctlFD})
			l.p.ctlFD = -1
			for next < len(sent) {
				receive()
			}
			for range 2 {
				if m, err := in.Next(); !errors.Is(err, io.EOF) {
					t.Errorf("at the end: %+v, %v", m, err)
				}
			}
		})
	}
}

// shareFrame is a Share frame as it is sent.
func shareFrame(id uint64, size int64) []byte {
	b := make([]byte, HeaderSize, HeaderSize+shareSize)
	h := Header{Type: Share, Chunk: id, Length: shareSize}
	h.Put(b)
	return binary.LittleEndian.AppendUint64(b, uint64(size))
}

// TestControlCut has a frame come in two pieces, cut at every byte, the descriptor with the first or with the second, and
// the next frame behind it.
func TestControlCut(t *testing.T) {
	t.Parallel()
	var after [HeaderSize]byte
	(&Header{Type: Cancel, Chunk: 9}).Put(after[:])
	frame := shareFrame(7, 8)
	for cut := 1; cut < len(frame); cut++ {
		for first := range 2 {
			ctl, err := openSocket()
			if err != nil {
				t.Fatal(err)
			}
			in := NewControlReader(ctl[0])
			fd := numbered(t, 7)
			for i, part := range [][]byte{frame[:cut], frame[cut:]} {
				var rights []byte
				if i == first {
					rights = unix.UnixRights(fd)
				}
				if err := unix.Sendmsg(ctl[1], part, rights, nil, 0); err != nil {
					t.Fatal(err)
				}
				if err := in.fill(); err != nil {
					t.Fatal(err)
				}
				if m, ok, err := in.parse(); i == 0 && (ok || err != nil) {
					t.Fatalf("%d of %d bytes are %+v, %v", cut, len(frame), m, err)
				} else if i == 1 {
					if n, bad := takeNumber(m.FD); !ok || err != nil || bad != nil || n != 7 || m.ID != 7 || m.Size != 8 {
						t.Fatalf("cut at %d: %+v of %d, %v, %v", cut, m, n, err, bad)
					}
				}
			}
			if _, err := unix.Write(ctl[1], after[:]); err != nil {
				t.Fatal(err)
			}
			if m, err := in.Next(); err != nil || m.Type != Cancel || m.ID != 9 || m.FD != -1 {
				t.Fatalf("cut at %d: behind it is %+v, %v", cut, m, err)
			}
			if _, err := unix.Write(ctl[1], frame[:cut]); err != nil {
				t.Fatal(err)
			}
			CloseAll([]int{ctl[1], fd})
			if m, err := in.Next(); !errors.Is(err, io.EOF) {
				t.Fatalf("the end after %d bytes of a frame: %+v, %v", cut, m, err)
			}
			CloseAll(ctl[:1])
		}
	}
}

// TestControlBad sends what no parent may send.
func TestControlBad(t *testing.T) {
	t.Parallel()
	head := func(h Header, payload ...byte) []byte {
		b := make([]byte, HeaderSize)
		h.Put(b)
		return append(b, payload...)
	}
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"a cancellation with a payload", head(Header{Type: Cancel, Length: 1}, 1)},
		{"a cancellation with more than there is", head(Header{Type: Cancel, Length: 1<<32 - 1})},
		{"a segment without its size", head(Header{Type: Share})},
		{"a segment with half a size", head(Header{Type: Share, Length: 4}, 1, 2, 3, 4)},
		{"a segment with too much", head(Header{Type: Share, Length: 9}, 1, 2, 3, 4, 5, 6, 7, 8, 9)},
		{"a segment without a descriptor", shareFrame(1, 8)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := setup(t)
			if _, err := unix.Write(l.p.ctlFD, c.b); err != nil {
				t.Fatal(err)
			}
			in := NewControlReader(l.ctl)
			if m, err := in.Next(); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
	l := setup(t)
	fd := numbered(t, 1)
	t.Cleanup(func() { CloseAll([]int{fd}) })
	if err := l.p.Share(1, -1, fd); err != nil {
		t.Fatal(err)
	}
	in := NewControlReader(l.ctl)
	if m, err := in.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a segment of less than nothing: %+v, %v", m, err)
	}
	CloseAll(in.fds)
	in = NewControlReader(-1)
	if m, err := in.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("of nothing: %+v, %v", m, err)
	}
}

// TestShareToTheDead has the worker be gone.
func TestShareToTheDead(t *testing.T) {
	t.Parallel()
	l := setup(t)
	CloseAll([]int{l.ctl})
	l.ctl = -1
	fd := numbered(t, 1)
	defer CloseAll([]int{fd})
	if err := l.p.Share(1, 8, fd); !errors.Is(err, unix.EPIPE) {
		t.Errorf("share: %v", err)
	}
	l.p.Control(Cancel, 1) // which waits for nobody
}

// TestShareWaits has segments be passed while the socket is full: that waits for room, and nothing is lost.
func TestShareWaits(t *testing.T) {
	t.Parallel()
	l := setup(t)
	const n = 300
	for range 10_000 {
		l.p.Control(Cancel, 1)
	}
	done := make(chan error, 1)
	go func() {
		fd := numbered(t, 1)
		defer CloseAll([]int{fd})
		for i := range uint64(n) {
			if err := l.p.Share(i, 8, fd); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	in := NewControlReader(l.ctl)
	for i := uint64(0); i < n; {
		m, err := in.Next()
		if err == nil && m.Type == Cancel {
			continue
		}
		if err != nil || m.Type != Share || m.ID != i || m.FD < 0 {
			t.Fatalf("segment %d: %+v, %v", i, m, err)
		}
		CloseAll([]int{m.FD})
		i++
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

const noDescriptors = "no descriptors"

// childWithoutDescriptors reads the control socket at descriptor 3, with room for so many descriptors more, and says what
// came.
func childWithoutDescriptors() {
	in := NewControlReader(3)
	limit := func(n uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: 1000}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	spare, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0) // the lowest that is free, and all that there will be
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	limit(uint64(spare))
	for {
		m, err := in.Next()
		if errors.Is(err, io.EOF) {
			os.Exit(0)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		got := "no descriptor"
		if m.FD >= 0 {
			n, err := takeNumber(m.FD)
			if got = fmt.Sprintf("descriptor of %d", n); err != nil {
				got = err.Error()
			}
		}
		fmt.Println(m.Type, m.ID, got)
		switch m.ID { // of a message
		case 3:
			CloseAll([]int{spare})
			limit(uint64(spare + 1))
		case 6:
			limit(uint64(spare))
		}
	}
}

// TestControlWithoutDescriptors has a worker be out of descriptors for some segments: it is told of them all the same,
// each of the others has its own, and the order stays.
func TestControlWithoutDescriptors(t *testing.T) {
	t.Parallel()
	l := setup(t)
	dup, err := unix.FcntlInt(uintptr(l.ctl), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(dup), "control")
	defer f.Close()
	for id := range uint64(10) {
		if id == 2 || id == 6 || id == 3 {
			l.p.Control(Recall, id)
			continue
		}
		fd := numbered(t, id)
		if err := l.p.Share(id, 8, fd); err != nil {
			t.Fatal(err)
		}
		CloseAll([]int{fd})
	}
	CloseAll([]int{l.p.ctlFD})
	l.p.ctlFD = -1
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childMode+"="+noDescriptors, "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.CombinedOutput()
	// A read returns all up to the first segment, so what a message changes counts from the next segment but one on.
	want := `share 0 no descriptor
share 1 no descriptor
recall 2 no descriptor
recall 3 no descriptor
share 4 no descriptor
share 5 descriptor of 5
recall 6 no descriptor
share 7 descriptor of 7
share 8 no descriptor
share 9 no descriptor
`
	if err != nil || string(out) != want {
		t.Errorf("%v, it got\n%s\nwant\n%s", err, out, want)
	}
}
