package bill

import (
	"strings"
	"testing"
)

func TestPartText(t *testing.T) {
	t.Parallel()
	cache := Part{Name: ".bitstring_cache", Type: "dict", Entries: 1 << 20, Bytes: 26_880_000, Own: 26_880_000}
	for name, test := range map[string]struct {
		part Part
		want string
	}{
		"nothing": {Part{}, "0 B\n"},
		"method": {
			Part{
				Type: "bound method IntToBitarrayConverter.convert", Bytes: 26_906_907, Own: 30,
				Parts: []Part{{
					Name: ".__self__", Type: "__main__.IntToBitarrayConverter", Bytes: 26_906_877, Own: 26_877, Note: "the bound object",
					Parts: []Part{cache},
				}},
			},
			`bound method IntToBitarrayConverter.convert, 26.9 MB
  .__self__ __main__.IntToBitarrayConverter, 26.9 MB, 100.0 % (the bound object)
    .bitstring_cache dict, 1,048,576 entries, 26.9 MB, 99.9 %
`,
		},
		"units": {
			Part{Name: "all", Bytes: 1000, Parts: []Part{
				{Name: "[0]", Type: "str", Entries: 1, Bytes: 400},
				{Name: "[1]", Type: "bytes", Entries: 300, Bytes: 300},
				{Name: "[2]", Type: "list", Entries: 2, Bytes: 100},
				{Name: "[3]", Type: "[]int", Entries: 1, Bytes: 50},
				{Name: "[4]", Type: "map[string]int", Entries: 1, Bytes: 50},
				{Name: "95 others", Count: 95, Bytes: 100},
			}},
			`all, 1,000 B
  [0] str, 1 character, 400 B, 40.0 %
  [1] bytes, 300 bytes, 300 B, 30.0 %
  [2] list, 2 elements, 100 B, 10.0 %
  [3] []int, 1 element, 50 B, 5.0 %
  [4] map[string]int, 1 entry, 50 B, 5.0 %
  95 others, 100 B, 10.0 %
`,
		},
		"errors": {
			Part{Type: "tuple", Entries: 2, Bytes: 10, Parts: []Part{
				{Name: "[0]", Type: "_thread.lock", Bytes: 0, Error: "cannot pickle '_thread.lock' object"},
				{Name: "[1]", Type: "f\no", Bytes: 3, Error: "bad\x1b[2Jreason"},
			}},
			`tuple, 2 elements, 10 B
  [0] _thread.lock: can't be sent: cannot pickle '_thread.lock' object
  [1] f o, 3 B, 30.0 %: can't be sent: bad [2Jreason
`,
		},
		"shared": {
			Part{Name: ".Table", Type: "brine.Shared[[]float64]", Bytes: 8, Mapped: 80_000_000},
			".Table brine.Shared[[]float64], 8 B, 80.0 MB in shared memory\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.part.Text(); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

// TestPartTextIsBounded writes a tree that is deeper than anybody reads.
func TestPartTextIsBounded(t *testing.T) {
	t.Parallel()
	p := Part{Name: "[0]", Bytes: 1}
	for range 5000 {
		p = Part{Name: "[0]", Bytes: 1, Parts: []Part{p}}
	}
	if n := strings.Count(p.Text(), "\n"); n != textLevels+1 {
		t.Errorf("%d lines", n)
	}
}
