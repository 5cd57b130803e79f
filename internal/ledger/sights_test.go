package ledger

import (
	"bytes"
	"slices"
	"testing"
)

// TestSee: what is seen three times and is the same is a repeat, with all its sights; what only looks the same is none.
func TestSee(t *testing.T) {
	t.Parallel()
	large := func(fill byte, n int) []byte { return bytes.Repeat([]byte{fill}, RepeatSize+n) }
	other := large(1, 1)
	other[RepeatSize/2+100] = 9 // where no sample is taken
	for _, c := range []struct {
		name string
		seen [][]byte
		want []Repeat
	}{
		{"once", [][]byte{large(1, 1)}, nil},
		{"twice", [][]byte{large(1, 1), large(1, 1)}, nil},
		{"three times", [][]byte{large(1, 1), large(1, 1), large(1, 1)}, []Repeat{{"f", Argument, ".a", RepeatSize + 1, 3}}},
		{"five times, with others", [][]byte{large(1, 1), large(2, 1), large(1, 1), large(1, 1), large(1, 1), large(3, 1), large(1, 1)}, []Repeat{{"f", Argument, ".a", RepeatSize + 1, 5}}},
		{"small", [][]byte{large(1, 0), large(1, 0), large(1, 0)}, nil},
		{"only alike", [][]byte{large(1, 1), large(1, 1), other, large(1, 1)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, _ := New(1)
			for _, part := range c.seen {
				l.See("f", Argument, ".a", part)
			}
			if got := l.Snapshot(0).Repeats; !slices.Equal(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSightsAreBounded(t *testing.T) {
	t.Parallel()
	l, _ := New(1)
	part := make([]byte, RepeatSize+1)
	for i := range 3 * watched {
		part[0], part[1] = byte(i), byte(i>>8)
		l.See("f", Argument, "", part)
	}
	if n := len(l.sights.seen); n > watched {
		t.Errorf("%d are remembered", n)
	}
}
