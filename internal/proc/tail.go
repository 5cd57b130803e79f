package proc

import (
	"bytes"
	"sync"
)

const (
	tailSize  = 64 << 10 // what is kept of the end of an output
	fatalSize = 8 << 10  // what is kept from the last fatal line on, when the end no longer holds it
)

// fatalMarks begin the lines in which a Go runtime says why it ends. They go to standard error alone: what
// debug.SetCrashOutput copies begins after them.
var fatalMarks = [][]byte{[]byte("fatal error: "), []byte("panic: "), []byte("SIGSEGV: "), []byte("SIGABRT: "), []byte("signal arrived during")}

// tail keeps the end of a stream of bytes.
type tail struct {
	mu    sync.Mutex
	buf   []byte
	fatal []byte
	total int // bytes that have come
}

func (t *tail) add(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	t.total += len(b)
	if len(t.buf) <= 2*tailSize {
		return
	}
	cut := len(t.buf) - tailSize
	last := -1
	for _, mark := range fatalMarks {
		// The line may go on beyond the cut, and even the mark.
		last = max(last, bytes.LastIndex(t.buf[:cut+len(mark)-1], mark))
	}
	if last >= 0 {
		t.fatal = append(t.fatal[:0], t.buf[last:min(last+fatalSize, len(t.buf))]...)
	}
	t.buf = append(t.buf[:0], t.buf[cut:]...)
}

func (t *tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.fatal) == 0 {
		return bytes.Clone(t.buf)
	}
	return append(append(bytes.Clone(t.fatal), "\n…\n"...), t.buf...)
}

// size returns how many bytes have come in all.
func (t *tail) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}
