package pickle

import (
	"os/exec"
	"testing"
)

// BenchmarkParse reads dictionaries of a million entries, of 26.9 and 40 MB.
func BenchmarkParse(b *testing.B) {
	for name, source := range map[string]string{
		"strings": "{format(i, '020b'): i for i in range(1 << 20)}",
		"tuples":  "{format(i, '020b'): (i, str(i), 'x') for i in range(1 << 20)}",
		"lists":   "[[i, i + 1] for i in range(1 << 20)]",
		"bytes":   "bytes(40_000_000)",
	} {
		b.Run(name, func(b *testing.B) {
			stream, err := exec.CommandContext(b.Context(), "python3", "-c",
				"import pickle, sys; sys.stdout.buffer.write(pickle.dumps("+source+", 5))").Output()
			if err != nil {
				b.Skipf("python3: %v", err)
			}
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(stream, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
