package pickle

import (
	"fmt"
	"slices"
	"testing"

	"github.com/brinepool/brine/internal/bill"
)

// TestTotals reads what Python writes of values of all kinds, with all protocols: every byte is in one place.
func TestTotals(t *testing.T) {
	t.Parallel()
	all := values(t, "table", 0)
	if len(all) < 150 {
		t.Fatalf("only %d pickles", len(all))
	}
	for _, w := range all {
		v := w.parse(t)
		addsUp(t, w.Name, v)
		for _, o := range []Options{{}, {Depth: 2, Breadth: 2}, {Depth: 50, Breadth: 1000, Least: -1}} {
			partAddsUp(t, w.Name, v.Part(o))
		}
	}
}

// addsUp shows that no part takes more than what it is in, and that no part is its parent's twice.
func addsUp(t testing.TB, name string, v *Value) {
	t.Helper()
	if own := v.Own(); own < 0 {
		t.Errorf("%s: of %s %s, with %d bytes, %d are its own", name, v.Name(), v.Type(), v.Bytes(), own)
	}
	for i := range v.Len() {
		addsUp(t, name+v.Child(i).Name(), v.Child(i))
	}
}

func partAddsUp(t testing.TB, name string, p bill.Part) {
	t.Helper()
	sum := p.Own
	for i, q := range p.Parts {
		sum += q.Bytes
		partAddsUp(t, name+q.Name, q)
		if i > 0 && q.Count == 0 && q.Bytes > p.Parts[i-1].Bytes {
			t.Errorf("%s: part %d is larger than the one before", name, i)
		}
	}
	if sum != p.Bytes || p.Own < 0 {
		t.Errorf("%s: %d bytes, but %d of its own and parts come to %d", name, p.Bytes, p.Own, sum)
	}
}

// TestSpans compares where values begin and end with what Python's pickler says of that, of random values too.
func TestSpans(t *testing.T) {
	t.Parallel()
	all := slices.Concat(values(t, "spans", 0), values(t, "random", 1), values(t, "random", 2))
	compared := 0
	for _, w := range all {
		v := w.parse(t)
		addsUp(t, w.Name, v)
		spans := make(map[[2]int64]bool)
		for _, s := range w.Spans {
			spans[s] = true
		}
		compared += compareSpans(t, &w, v.c.it, spans, true)
		if t.Failed() {
			t.FailNow()
		}
	}
	if compared < 10_000 {
		t.Errorf("only %d spans were compared", compared)
	}
}

// compareSpans looks for all items below one in the spans, and returns how many it compared.
func compareSpans(t *testing.T, w *written, it item, spans map[[2]int64]bool, root bool) int {
	n := it.node
	if !root {
		if span := [2]int64{it.off, it.off + it.bytes}; !spans[span] {
			t.Errorf("%s: a %s is said to be at %v of the stream, where Python has nothing", w.Name, it.kind, span)
		}
	}
	if n == nil {
		return 1
	}
	count := 1
	groups := [][]item{n.kids}
	if n.pairs != nil {
		groups = append(groups, n.pairs.kids)
	}
	if it.kind == Object && n.how != byInst {
		groups = append(groups, []item{n.callee, n.args}, n.states)
	}
	if it.kind == Ref { // the tuple that was thrown away, whose place the reference took
		groups = groups[:1]
	}
	for _, group := range groups {
		for _, kid := range group {
			count += compareSpans(t, w, kid, spans, false)
		}
	}
	return count
}

// TestSums compares the sums of pairs of values, each in a stream of its own and both in one.
func TestSums(t *testing.T) {
	t.Parallel()
	all := values(t, "sums", 0)
	if len(all) < 400 {
		t.Fatalf("only %d pickles", len(all))
	}
	for i := 0; i < len(all); i += 3 {
		name := fmt.Sprintf("%s, protocol %d", all[i].Name, all[i].Protocol)
		x, y, both := all[i].parse(t), all[i+1].parse(t), all[i+2].parse(t)
		if got := x.Sum() == y.Sum(); got != all[i].Equal {
			t.Errorf("%s: sums are equal: %v", name, got)
		}
		if got := both.Child(3).Sum() == both.Child(4).Sum(); got != all[i].Equal {
			t.Errorf("%s: sums in one stream are equal: %v", name, got)
		}
		if x.Sum() != both.Child(3).Sum() {
			t.Errorf("%s: the sum depends on where in a stream the value is", name)
		}
		if x.Sum() == 0 {
			t.Errorf("%s: no sum", name)
		}
	}
}

// TestLarge reads containers with more elements than are kept.
func TestLarge(t *testing.T) {
	t.Parallel()
	all := values(t, "large", 0)
	dict := all[0].parse(t)
	if dict.Entries() != 1<<20 || dict.Len() < keptLargest || dict.Len() > maxElements {
		t.Errorf("the dict has %d entries, of which %d are known", dict.Entries(), dict.Len())
	}
	if count, size := dict.Rest(); count+int64(dict.Len()) != 1<<20 || size < dict.Bytes()*9/10 {
		t.Errorf("the others are %d, of %d bytes", count, size)
	}
	addsUp(t, "dict", dict)

	objects := all[1].parse(t)
	part := objects.Part(Options{Breadth: 4})
	partAddsUp(t, "objects", part)
	for i, want := range []string{"[0]", "[5000]", "[10000]", "[15000]"} {
		if p := part.Parts[i]; p.Name != want || p.Type != "__main__.Plain" || p.Bytes < 1000 {
			t.Errorf("part %d is %s, a %s of %d bytes: want %s", i, p.Name, p.Type, p.Bytes, want)
		}
	}
	if text := objects.At("[5000].text"); text == nil || text.Entries() != 1000 {
		t.Error("the text of element 5000 is not there")
	}

	task := all[2].parse(t)
	if job, ok := task.Child(0).Int(); !ok || job != 3 || task.Len() != 5 || task.Kind() != Tuple {
		t.Errorf("the task's number is %d", job)
	}
	if f := task.Child(2); f.Kind() != Global || f.Type() != "function __main__.function" {
		t.Errorf("the task's function is %s", f.Type())
	}
	xs := task.Child(3).Child(0).Child(1)
	if xs.Kind() != Tuple || xs.Len() != 62500 || xs.Entries() != 62500 {
		t.Fatalf("the chunk is a %s with %d of %d elements", xs.Kind(), xs.Len(), xs.Entries())
	}
	last := xs.Child(62499)
	if n, _ := last.Child(0).Int(); n != 62499 {
		t.Errorf("the last element has %d", n)
	}
	if s, ok := last.Child(1).Str(); !ok || s != "x" {
		t.Errorf("the reference is to %q", s)
	}
	if xs.Child(1).Sum() == xs.Child(2).Sum() || xs.Child(1).Bytes() == 0 {
		t.Error("elements with different numbers have equal sums, or no bytes")
	}
}
