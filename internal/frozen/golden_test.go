package frozen

import (
	"bytes"
	"flag"
	"iter"
	"os"
	"path/filepath"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew, after a change of the version")

// TestLayout compares small tables with files that were written when the version was made. Another layout is another
// version: who changes these files changes it too.
func TestLayout(t *testing.T) {
	t.Parallel()
	golden(t, "string-string", pairs[string, string]{{"one", "uno"}, {"two", "due"}, {"", "empty"}, {"none", ""}, {"a key of more than sixteen bytes", "v"}})
	golden(t, "string-int16", pairs[string, int16]{{"minus", -2}, {"plus", 258}})
	golden(t, "int32-bytes", pairs[int32, []byte]{{-1, []byte("minus")}, {7, nil}, {8, bytes.Repeat([]byte("x"), longRef)}})
	golden(t, "uint64-float64", pairs[uint64, float64]{{1, 0.5}, {1 << 63, -1}, {3, 1e300}, {4, 0}, {5, 2}})
}

func golden[K, V any](t *testing.T, title string, p pairs[K, V]) {
	t.Run(title, func(t *testing.T) {
		t.Parallel()
		mem := fixed(t, p.all())
		file := filepath.Join("testdata", title+".golden")
		if *rewrite {
			if err := os.WriteFile(file, mem, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(mem, want) {
			i := 0
			for i < min(len(mem), len(want)) && mem[i] == want[i] {
				i++
			}
			t.Errorf("%d bytes, want %d; the first that differs is at %d", len(mem), len(want), i)
		}
		m, err := Open[K, V](want)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Check(); err != nil || m.Len() != len(p) {
			t.Errorf("%d entries, want %d: %v", m.Len(), len(p), err)
		}
	})
}

// fixed fills a table with the secret 1, 2, 3, … put through hashWord, so that it is always the same.
func fixed[K, V any](tb testing.TB, seq iter.Seq2[K, V]) []byte {
	tb.Helper()
	n, size, err := Size(seq)
	if err != nil {
		tb.Fatal(err)
	}
	mem := make([]byte, size)
	i := uint64(0)
	if err := fill(mem, n, seq, func() uint64 { i++; return hashWord(i, &published) }); err != nil {
		tb.Fatal(err)
	}
	return mem
}

// TestPlaces pins the hash of keys and the slot that it leads to, for docs/PROTOCOL.md.
func TestPlaces(t *testing.T) {
	t.Parallel()
	h := header{buckets: 251, slots: 1032, secret: published}
	for name, test := range map[string]struct{ hash, want, bucket, slot uint64 }{
		"the key abc":          {hashString("abc", 0, &published), 0x989b4a209c1011c9, 149, 1},
		"the number 1":         {hashWord(1, &published), 0x8fd90e7337ab042d, 141, 494},
		"the int8 -1, as 0xff": {hashWord(0xff, &published), 0x2daa2ab49fb10d50, 44, 76},
		"48 bytes":             {hashString(string(bytes.Repeat([]byte("brine-"), 8)), 0, &published), 0x494a55c61d14f782, 71, 154},
	} {
		if test.hash != test.want || h.bucketOf(test.hash) != test.bucket || h.slotOf(test.hash, 7) != test.slot {
			t.Errorf("%s: hash %#x, bucket %d, slot %d with pilot 7, want %#x, %d, %d", name,
				test.hash, h.bucketOf(test.hash), h.slotOf(test.hash, 7), test.want, test.bucket, test.slot)
		}
	}
}
