//go:build linux

package serve

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/link"
)

// post returns an outbox, and the end of the socket that its client reads.
func post(t *testing.T) (*outbox, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	o := newOutbox(fds[0])
	t.Cleanup(func() {
		o.close()
		o.wait()
		unix.Close(fds[0])
	})
	return o, os.NewFile(uintptr(fds[1]), "client")
}

// TestOutboxWaits brings more results than may wait, to a client that doesn't read, before they are flushed.
func TestOutboxWaits(t *testing.T) {
	t.Parallel()
	o, client := post(t)
	defer client.Close()
	body := make([]byte, maxWaiting/2-1000)
	var brought [4]chan struct{}
	for i := range brought {
		brought[i] = make(chan struct{})
	}
	go func() {
		for i := range brought {
			o.results(1, i, []link.Item{{Body: body}}, 1)
			close(brought[i])
		}
		o.flush()
	}()
	<-brought[0]
	<-brought[1]
	<-brought[2] // there was less than the most when it came
	select {
	case <-brought[3]:
		t.Error("there is no end to what may wait")
	case <-time.After(50 * time.Millisecond):
	}
	o.frame(header{typ: typeClosed}, nil) // others don't wait
	total := int64(len(brought))*int64(headerSize+8+len(body)) + headerSize
	if n, err := io.CopyN(io.Discard, client, total); err != nil {
		t.Errorf("%d bytes of %d: %v", n, total, err)
	}
	<-brought[3]
}

// TestOutboxOrder has frames with and without descriptors go to a client that reads late: each comes with its own.
func TestOutboxOrder(t *testing.T) {
	t.Parallel()
	o, client := post(t)
	defer client.Close()
	body := bytes.Repeat([]byte("."), 100_000)
	const frames = 60
	var sent []<-chan struct{}
	for i := range frames {
		o.results(1, i, []link.Item{{Body: body}}, 1)
		sent = append(sent, o.with(header{typ: typeStart, worker: uint32(i)}, []int{int(os.Stdin.Fd()), int(os.Stdout.Fd())}))
	}
	in := newReader(int(client.Fd()))
	for i := range frames {
		for _, want := range []frameType{typeResults, typeStart} {
			h, _, err := in.nextAny()
			if err != nil || h.typ != want || (want == typeStart && h.worker != uint32(i)) {
				t.Fatalf("frame %d: %+v, %v; want %v", i, h, err, want)
			}
			if want == typeStart {
				if len(in.fds) < 2 {
					t.Fatalf("frame %d comes with %d descriptors", i, len(in.fds))
				}
				link.CloseAll(in.fds[:2])
				in.fds = in.fds[2:]
			}
		}
		<-sent[i]
	}
	if len(in.fds) > 0 {
		t.Errorf("%d descriptors too many", len(in.fds))
	}
	o.close()
	<-o.with(header{typ: typeStart}, []int{0}) // never goes
}
