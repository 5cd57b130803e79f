//go:build linux

package link

import (
	"os"
	"testing"
)

// BenchmarkOutbox measures what it costs to publish one small result, the writes to the pipe included.
func BenchmarkOutbox(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	o := NewOutbox(int(null.Fd()), &Shared{journal: make([]byte, journalSize)})
	body := make([]byte, 8)
	for i := uint32(0); b.Loop(); i++ {
		if err := o.Result(1, i, OK, body, Spent{}, true); err != nil {
			b.Fatal(err)
		}
	}
}
