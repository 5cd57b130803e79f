//go:build linux

package proc

import (
	"bytes"
	"strings"
	"testing"
)

// TestTailKeepsTheFatalLine puts a fatal line at every place around where the tail is cut: whatever follows, the line is
// still there in the end, whole.
func TestTailKeepsTheFatalLine(t *testing.T) {
	t.Parallel()
	filler := strings.Repeat(strings.Repeat(".", 63)+"\n", 2*tailSize/64+1)
	const line = "\nfatal error: stack overflow\n"
	const cut = tailSize + 1 // when so much more has come that it is cut
	for offset := cut - len(line) - 2; offset < cut+2; offset++ {
		for _, piece := range []int{1 << 30, 4096} {
			var tl tail
			stream := filler[:offset] + line + filler[:cut+tailSize-offset-len(line)]
			for stream != "" {
				n := min(piece, len(stream))
				tl.add([]byte(stream[:n]))
				stream = stream[n:]
			}
			tl.add([]byte(filler[:2*tailSize+1])) // and one more cut
			if got := tl.bytes(); !bytes.Contains(got, []byte(line[1:])) {
				t.Errorf("at %d bytes before the cut it is lost; what is kept begins with %q", cut-offset-1, got[:min(80, len(got))])
			}
		}
	}
}

// TestTailKeepsTheLastFatalLine: earlier ones may have been recovered from.
func TestTailKeepsTheLastFatalLine(t *testing.T) {
	t.Parallel()
	filler := strings.Repeat(".\n", 2*tailSize)
	for _, c := range []struct{ name, first, last string }{
		{"same kind", "fatal error: first\n", "fatal error: last\n"},
		{"other kind", "fatal error: printed by a test\n", "panic: last\n"},
		{"third kind", "panic: first\n", "SIGSEGV: last\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, between := range []string{"\n", filler} {
				var tl tail
				tl.add([]byte(c.first + between + c.last + filler))
				tl.add([]byte(filler))
				if got := tl.bytes(); !bytes.Contains(got, []byte(c.last)) {
					t.Errorf("%q is lost; what is kept begins with %q", c.last, got[:min(80, len(got))])
				}
			}
		})
	}
}

func TestTailIsBounded(t *testing.T) {
	t.Parallel()
	var tl tail
	line := []byte("fatal error: " + strings.Repeat("x", 5000) + "\n")
	for range 1000 {
		tl.add(line)
		if n := len(tl.bytes()); n > 2*tailSize+fatalSize+len(line) {
			t.Fatalf("%d bytes are kept", n)
		}
	}
}
