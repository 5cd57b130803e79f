package brine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/brinepool/brine"
)

// dragging is an argument that takes a large object along, as a bound method in Python does.
type dragging struct {
	Object struct{ Cache map[int]string }
	N      int
}

func drag(_ context.Context, d dragging) (int, error) { return len(d.Object.Cache) + d.N, nil }

var dragged = brine.Plain(drag)

// The object is the same each time, the argument as a whole never is. The report names the part.
func TestRepeatedPart(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	var d dragging
	d.Object.Cache = make(map[int]string)
	for i := range 50_000 {
		d.Object.Cache[i] = strings.Repeat("x", 20)
	}
	const n = 6
	for d.N = range n {
		if out, err := brine.Call(t.Context(), pool, dragged, d); err != nil || out != 50_000+d.N {
			t.Fatal(out, err)
		}
	}
	repeats := pool.Stats().Repeats
	if len(repeats) != 1 || repeats[0].Path != ".Object.Cache" || repeats[0].Count != n || repeats[0].Class != "argument" || repeats[0].Bytes < 1<<20 {
		t.Fatalf("repeats: %+v", repeats)
	}
	var report strings.Builder
	if err := pool.Report(&report); err != nil || !strings.Contains(report.String(), "The same .Object.Cache in the argument of brine_test.drag") {
		t.Errorf("report %v:\n%s", err, report.String())
	}
	// Another object at each call, of the same size, is no repeat.
	pool = open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	for i := range 4 {
		d.Object.Cache = map[int]string{i: strings.Repeat(string(rune('a'+i)), 2<<20)}
		if _, err := brine.Call(t.Context(), pool, dragged, d); err != nil {
			t.Fatal(err)
		}
	}
	if repeats := pool.Stats().Repeats; len(repeats) != 0 {
		t.Errorf("repeats of different objects: %+v", repeats)
	}
}
