//go:build linux

package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"syscall"
	"testing"
)

// rawPipe makes a pipe of blocking descriptors, as the link's are. The read end is closed with the test.
func rawPipe(t testing.TB) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := openPipe(&fds); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseAll(fds[:1]) })
	return fds[0], fds[1]
}

// write writes to a descriptor and closes it, from a goroutine of its own; the test waits for its end.
func write(t testing.TB, fd int, parts ...[]byte) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer CloseAll([]int{fd})
		for _, b := range parts {
			for len(b) > 0 {
				n, err := syscall.Write(fd, b)
				if err != nil {
					return // the reader has seen enough
				}
				b = b[n:]
			}
		}
	}()
	t.Cleanup(func() { <-done })
}

type frame struct {
	h       Header
	payload []byte
}

func (f frame) String() string { return fmt.Sprintf("%v of %d bytes", f.h.Type, len(f.payload)) }

func encode(t testing.TB, frames []frame) (b []byte) {
	t.Helper()
	for i, f := range frames {
		var err error
		if b, err = AppendFrame(b, f.h, f.payload); err != nil {
			t.Fatal(err)
		}
		frames[i].h.Length = uint32(len(f.payload))
	}
	return b
}

// readAll reads frames up to the end of the stream.
func readAll(t testing.TB, r *Reader) (frames []frame) {
	t.Helper()
	for {
		for {
			waiting := r.Buffered()
			h, payload, ok := r.Next()
			if ok != waiting {
				t.Fatalf("buffered: %v, next: %v", waiting, ok)
			}
			if !ok {
				break
			}
			frames = append(frames, frame{h, bytes.Clone(payload)})
		}
		if err := r.Fill(); errors.Is(err, io.EOF) {
			return frames
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func compare(t testing.TB, got, want []frame) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d frames, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].h != want[i].h || !bytes.Equal(got[i].payload, want[i].payload) {
			t.Fatalf("frame %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func someFrames() []frame {
	return []frame{
		{Header{Type: Hello, Chunk: 1}, []byte("hello")},
		{Header{Type: Ready, Chunk: 2}, nil},
		{Header{Type: Results, Chunk: 3, Count: 9}, bytes.Repeat([]byte("r"), 70)},
		{Header{Type: Bye, Chunk: 4}, []byte{0}},
	}
}

// TestReaderCut has the stream arrive in two pieces, cut at every byte, and end there or go on.
func TestReaderCut(t *testing.T) {
	t.Parallel()
	want := someFrames()
	stream := encode(t, want)
	for cut := range len(stream) + 1 {
		rfd, wfd := rawPipe(t)
		r := NewReader(rfd)
		var got []frame
		take := func() {
			for {
				h, payload, ok := r.Next()
				if !ok {
					return
				}
				got = append(got, frame{h, bytes.Clone(payload)})
			}
		}
		for _, part := range [][]byte{stream[:cut], stream[cut:]} {
			if len(part) == 0 {
				continue
			}
			if _, err := syscall.Write(wfd, part); err != nil {
				t.Fatal(err)
			}
			if err := r.Fill(); err != nil {
				t.Fatal(err)
			}
			take()
			whole, at := 0, 0
			for _, f := range want {
				if at += HeaderSize + len(f.payload); at <= int(r.Received()) {
					whole++
				}
			}
			if len(got) != whole {
				t.Fatalf("cut at %d: %d frames of %d bytes, want %d", cut, len(got), r.Received(), whole)
			}
		}
		CloseAll([]int{wfd})
		if err := r.Fill(); !errors.Is(err, io.EOF) {
			t.Fatalf("cut at %d: at the end: %v", cut, err)
		}
		compare(t, got, want)
	}
}

// TestReaderFed has the rest of a stream come by Feed, cut at every byte.
func TestReaderFed(t *testing.T) {
	t.Parallel()
	want := someFrames()
	stream := encode(t, want)
	for cut := range len(stream) + 1 {
		for taken := range 3 {
			rfd, wfd := rawPipe(t)
			write(t, wfd, stream[:cut])
			r := NewReader(rfd)
			var got []frame
			for r.Received() < uint64(cut) {
				if err := r.Fill(); err != nil {
					t.Fatal(err)
				}
			}
			for range taken { // some frames are taken before, the others after
				if h, payload, ok := r.Next(); ok {
					got = append(got, frame{h, bytes.Clone(payload)})
				}
			}
			r.Feed(stream[cut:])
			if r.Received() != uint64(len(stream)) {
				t.Fatalf("cut at %d: received %d of %d", cut, r.Received(), len(stream))
			}
			compare(t, append(got, readAll(t, r)...), want)
		}
	}
}

// TestReaderGrows mixes frames from nothing to many times the buffer.
func TestReaderGrows(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var want []frame
	for i, n := range []int{0, readBuffer - HeaderSize, 1, readBuffer, 5, 3*maxBatch + 1, 0, 17 * readBuffer, 100, 2 * maxBatch, 8} {
		payload := make([]byte, n)
		for k := range payload {
			payload[k] = byte(random.Uint32())
		}
		want = append(want, frame{Header{Type: Results, Chunk: uint64(i)}, payload})
	}
	rfd, wfd := rawPipe(t)
	write(t, wfd, encode(t, want))
	r := NewReader(rfd)
	compare(t, readAll(t, r), want)
}

// TestReaderForgets sends one large frame and many small ones: its memory is given back.
func TestReaderForgets(t *testing.T) {
	t.Parallel()
	rfd, wfd := rawPipe(t)
	want := []frame{{Header{Type: Results}, make([]byte, 3*maxBatch)}}
	write(t, wfd, encode(t, want))
	r := NewReader(rfd)
	compare(t, readAll(t, r), want)
	if len(r.buf) < 3*maxBatch {
		t.Fatalf("the reader has %d bytes for a frame of %d", len(r.buf), 3*maxBatch)
	}
	small := encode(t, []frame{{Header{Type: Results}, make([]byte, 10)}})
	var fds [2]int
	if err := openPipe(&fds); err != nil {
		t.Fatal(err)
	}
	defer CloseAll(fds[:])
	r.fd = fds[0]
	for range patience + 3 {
		if _, err := syscall.Write(fds[1], small); err != nil {
			t.Fatal(err)
		}
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := r.Next(); !ok {
			t.Fatal("no frame")
		}
	}
	if len(r.buf) > readBuffer {
		t.Errorf("the reader keeps %d bytes after %d small frames", len(r.buf), patience+3)
	}
}

// TestReaderBelievesNoClaim has headers claim 4 GB that never come: no more is allocated than a claim is trusted for.
func TestReaderBelievesNoClaim(t *testing.T) {
	// Not parallel: it measures what is allocated.
	head := make([]byte, HeaderSize)
	h := Header{Type: Results, Length: MaxPayload, Count: 1}
	h.Put(head)
	for _, arrived := range []int{0, 1, readBuffer, 10 * readBuffer} {
		rfd, wfd := rawPipe(t)
		write(t, wfd, head, make([]byte, arrived))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := NewReader(rfd)
		if got := readAll(t, r); len(got) != 0 {
			t.Fatalf("a frame that never came: %v", got)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(4*arrived+trusted+8*readBuffer) {
			t.Errorf("%d bytes arrived, %d were allocated", arrived, took)
		}
	}
}

// TestReaderRefusesTheLongest has a header claim more than a frame can carry: what came before is there, and then no more.
func TestReaderRefusesTheLongest(t *testing.T) {
	t.Parallel()
	rfd, wfd := rawPipe(t)
	head := make([]byte, 2*HeaderSize)
	(&Header{Type: Results, Count: 1}).Put(head)
	(&Header{Type: Results, Length: MaxPayload + 1, Count: 1}).Put(head[HeaderSize:])
	write(t, wfd, head)
	r := NewReader(rfd)
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
	if h, _, ok := r.Next(); !ok || h.Type != Results {
		t.Errorf("the first frame is %+v, %v", h, ok)
	}
	if h, _, ok := r.Next(); ok {
		t.Errorf("the second frame is %+v", h)
	}
	if err := r.Fill(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

func TestReaderError(t *testing.T) {
	t.Parallel()
	f, err := os.Open(t.TempDir()) // reading a directory fails
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := NewReader(int(f.Fd()))
	if err := r.Fill(); !errors.Is(err, syscall.EISDIR) || errors.Is(err, io.EOF) {
		t.Errorf("reading failed with %v", err)
	}
}

// FuzzReader reads any bytes, cut anywhere, with the rest fed. What comes out are the frames that a simple parser finds.
func FuzzReader(f *testing.F) {
	stream := encode(f, someFrames())
	f.Add(stream, uint16(0), uint16(50))
	f.Add(stream, uint16(33), uint16(34))
	f.Add(stream[:len(stream)-1], uint16(1), uint16(1000))
	f.Add(bytes.Repeat([]byte{0xff}, 100), uint16(3), uint16(7))
	f.Add([]byte{}, uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, cut, fed uint16) {
		if len(b) > 32<<10 {
			return // what a pipe holds at the least is plenty
		}
		var want []frame
		for rest := b; len(rest) >= HeaderSize; {
			var h Header
			if h.Get(rest); h.Length > MaxPayload {
				return // which TestReaderRefusesTheLongest has
			}
			if uint64(len(rest)) < HeaderSize+uint64(h.Length) {
				break
			}
			want = append(want, frame{h, rest[HeaderSize : HeaderSize+int(h.Length)]})
			rest = rest[HeaderSize+int(h.Length):]
		}
		first, second := min(int(cut), len(b)), min(max(int(cut), int(fed)), len(b))
		var fds [2]int
		if err := openPipe(&fds); err != nil {
			t.Fatal(err)
		}
		defer CloseAll(fds[:1])
		r := NewReader(fds[0])
		var got []frame
		for _, part := range [][]byte{b[:first], b[first:second]} {
			if len(part) == 0 {
				continue
			}
			if _, err := syscall.Write(fds[1], part); err != nil {
				t.Fatal(err)
			}
			if err := r.Fill(); err != nil {
				t.Fatal(err)
			}
			if h, payload, ok := r.Next(); ok {
				got = append(got, frame{h, bytes.Clone(payload)})
			}
		}
		CloseAll(fds[1:])
		if second < len(b) {
			r.Feed(b[second:])
		}
		compare(t, append(got, readAll(t, r)...), want)
	})
}
