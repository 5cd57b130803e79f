package ledger

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	t.Parallel()
	var tally Tally
	if got := tally.Sum(); got != (Sum{}) {
		t.Errorf("a new tally is %+v", got)
	}
	tally.Add(3, 300, 200, time.Second)
	tally.Add(1, 50, 50, time.Millisecond)
	tally.Add(0, 0, 0, time.Microsecond)
	if got, want := tally.Sum(), (Sum{Count: 4, Bytes: 350, Largest: 200, Time: time.Second + time.Millisecond + time.Microsecond}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestClassNames(t *testing.T) {
	t.Parallel()
	for c, want := range map[Class]string{Config: "config", Bound: "bound", Argument: "argument", Result: "result", Classes: "?", 255: "?"} {
		if got := c.String(); got != want {
			t.Errorf("class %d is %q, want %q", c, got, want)
		}
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	l, parent := New(10)
	w1, w2 := l.Open("worker", 11, 0), l.Open("worker", 12, 0)
	parent.Lines("f")[Argument][Encode].Add(5, 500, 100, 5)
	w1.Lines("f")[Argument][Decode].Add(3, 300, 100, 7)
	w2.Lines("f")[Argument][Decode].Add(2, 200, 90, 11)
	w2.Lines("g")[Result][Encode].Add(1, 9, 9, 13)
	w1.Ran(3, time.Second)
	w2.Ran(2, time.Minute)
	w2.Ran(1, time.Minute)
	w1.End(1)

	s := l.Snapshot(0)
	want := []ProcessSum{
		{Name: "parent", PID: 10, Encode: Sum{5, 500, 100, 5}},
		{Name: "worker", PID: 11, Ended: true, Decode: Sum{3, 300, 100, 7}, Tasks: 3, Run: time.Second, Times: Times{Starting: 1}},
		{Name: "worker", PID: 12, Encode: Sum{1, 9, 9, 13}, Decode: Sum{2, 200, 90, 11}, Tasks: 3, Run: 2 * time.Minute},
	}
	if !slices.Equal(s.Processes, want) {
		t.Errorf("processes\n%+v, want\n%+v", s.Processes, want)
	}
	f := FunctionSum{Name: "f"}
	f.Classes[Argument] = [2]Sum{{5, 500, 100, 5}, {5, 500, 100, 18}}
	g := FunctionSum{Name: "g"}
	g.Classes[Result] = [2]Sum{{1, 9, 9, 13}, {}}
	if !slices.Equal(s.Functions, []FunctionSum{f, g}) {
		t.Errorf("functions\n%+v, want\n%+v", s.Functions, []FunctionSum{f, g})
	}
	if lines := parent.Lines("f"); parent.Lines("f") != lines {
		t.Error("the lines of a function are others each time")
	}
}

// TestEndedWorkersAreMerged ends many workers: some keep a line, the others share one, and nothing is lost.
func TestEndedWorkersAreMerged(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, keepEnded, keepEnded + 1, 3 * keepEnded} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			l, _ := New(1)
			alive := l.Open("worker", 2, 0)
			alive.Ran(1000, 0)
			for i := range n {
				p := l.Open("worker", 100+i, 0)
				p.Lines("f")[Result][Encode].Add(1, int64(i), int64(i), time.Second)
				p.Lines(fmt.Sprint("g", i%3))[Argument][Decode].Add(1, 1, 1, 0)
				p.Ran(2, time.Minute)
				p.End(1)
			}
			s := l.Snapshot(0)
			merged := max(0, n-keepEnded)
			lines := 2 + min(n, keepEnded) + min(1, merged)
			if len(s.Processes) != lines {
				t.Fatalf("%d lines, want %d", len(s.Processes), lines)
			}
			if s.Processes[0].Name != "parent" {
				t.Errorf("the first line is that of %q", s.Processes[0].Name)
			}
			if merged > 0 {
				e := s.Processes[1]
				if e.Name != "earlier workers" || e.Tasks != int64(2*merged) || e.Run != time.Duration(merged)*time.Minute {
					t.Errorf("the second line is %+v, of %d workers", e, merged)
				}
			}
			if last := s.Processes[len(s.Processes)-1]; last.PID != 100+n-1 || !last.Ended {
				t.Errorf("the last line is %+v", last)
			}
			tasks := int64(0)
			for _, p := range s.Processes {
				tasks += p.Tasks
			}
			if tasks != int64(1000+2*n) {
				t.Errorf("%d tasks in all", tasks)
			}
			f := s.Functions[slices.IndexFunc(s.Functions, func(f FunctionSum) bool { return f.Name == "f" })].Classes[Result][Encode]
			if want := (Sum{int64(n), int64(n * (n - 1) / 2), int64(n - 1), time.Duration(n) * time.Second}); f != want {
				t.Errorf("f has %+v, want %+v", f, want)
			}
		})
	}
}

// TestSnapshotsWhileWorkersEnd: what workers have done is counted once, also while their lines are being merged.
func TestSnapshotsWhileWorkersEnd(t *testing.T) {
	t.Parallel()
	for range 10 {
		endAll(t, 500)
	}
}

func endAll(t *testing.T, workers int) {
	t.Helper()
	l, parent := New(1)
	var list []*Process
	for i := range workers {
		p := l.Open("worker", i, 0)
		p.Ran(1, 0)
		list = append(list, p)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i, p := range list {
			p.End(1)
			if i%20 == 0 {
				runtime.Gosched()
			}
		}
	})
	wg.Go(func() { // holds snapshots up at their first line
		for {
			select {
			case <-done:
				return
			default:
				parent.mu.Lock()
				for range 50 {
					runtime.Gosched()
				}
				parent.mu.Unlock()
			}
		}
	})
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		tasks := int64(0)
		for _, p := range l.Snapshot(0).Processes {
			tasks += p.Tasks
		}
		if tasks != int64(workers) {
			t.Errorf("the snapshot has %d tasks, want %d", tasks, workers)
			break
		}
	}
	wg.Wait()
}

func TestRepeats(t *testing.T) {
	t.Parallel()
	large := func(fill byte, n int) []byte { return bytes.Repeat([]byte{fill}, RepeatSize+n) }
	type sent struct {
		function string
		class    Class
		value    []byte
		times    int
	}
	for _, c := range []struct {
		name string
		sent []sent
		want []Repeat
	}{
		{"once", []sent{{"f", Argument, large(1, 1), 1}}, nil},
		{"three times", []sent{{"f", Argument, large(1, 1), 3}}, []Repeat{{"f", Argument, "", RepeatSize + 1, 3}}},
		{"different content", []sent{{"f", Argument, large(1, 1), 1}, {"f", Argument, large(2, 1), 1}}, nil},
		{"different length", []sent{{"f", Argument, large(1, 1), 1}, {"f", Argument, large(1, 2), 1}}, nil},
		{"different function", []sent{{"f", Argument, large(1, 1), 1}, {"g", Argument, large(1, 1), 1}}, nil},
		{"different class", []sent{{"f", Argument, large(1, 1), 1}, {"f", Bound, large(1, 1), 1}}, nil},
		{"small", []sent{{"f", Argument, large(1, -1), 9}}, nil},
		{
			"the dearest first",
			[]sent{{"a", Argument, large(1, 1), 2}, {"b", Bound, large(1, RepeatSize), 2}, {"c", Argument, large(1, 1), 3}},
			[]Repeat{{"b", Bound, "", 2 * RepeatSize, 2}, {"c", Argument, "", RepeatSize + 1, 3}, {"a", Argument, "", RepeatSize + 1, 2}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, unordered := range []bool{false, true} {
				l, _ := New(1)
				for _, s := range c.sent {
					for range s.times {
						l.Watch(s.function, s.class, s.value, unordered)
					}
				}
				if got := l.Snapshot(0).Repeats; !slices.Equal(got, c.want) {
					t.Errorf("unordered %v: got %+v, want %+v", unordered, got, c.want)
				}
			}
		})
	}
}

func TestUnorderedRepeats(t *testing.T) {
	t.Parallel()
	a := append(bytes.Repeat([]byte("key1val1"), RepeatSize/8), "key2val2"...)
	b := append([]byte("key2val2"), bytes.Repeat([]byte("key1val1"), RepeatSize/8)...)
	for _, c := range []struct {
		unordered bool
		want      int
	}{{false, 0}, {true, 1}} {
		l, _ := New(1)
		l.Watch("f", Argument, a, c.unordered)
		l.Watch("f", Argument, b, c.unordered)
		if got := l.Snapshot(0).Repeats; len(got) != c.want {
			t.Errorf("unordered %v: %+v", c.unordered, got)
		}
	}
}

// TestRepeatsAreBounded sends very many different large values, some of them twice.
func TestRepeatsAreBounded(t *testing.T) {
	t.Parallel()
	l, _ := New(1)
	value := make([]byte, RepeatSize+1)
	favourite := bytes.Repeat([]byte{0xff}, RepeatSize+1)
	n := 12 * watched
	if testing.Short() {
		n = 3 * watched
	}
	for i := range n {
		value[0], value[1] = byte(i), byte(i>>8)
		l.Watch("f", Argument, value, false)
		if i%3 == 0 {
			l.Watch("f", Argument, value, false)
		}
		if i%(watched/2) == 0 {
			l.Watch("f", Argument, favourite, false)
		}
	}
	if len(l.repeats.seen) > 2*watched || len(l.repeats.ring) > watched {
		t.Errorf("%d values are remembered, %d in the ring", len(l.repeats.seen), len(l.repeats.ring))
	}
	i := slices.IndexFunc(l.Snapshot(0).Repeats, func(r Repeat) bool { return r.Count == int64(n/(watched/2)) })
	if i < 0 {
		t.Errorf("the value that was sent most often, %d times, isn't among the repeats", n/(watched/2))
	}
}

// TestConcurrentUse does everything at once; the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	l, parent := New(1)
	value := make([]byte, RepeatSize+1)
	var wg sync.WaitGroup
	const goroutines, rounds = 4, 50
	for g := range goroutines {
		wg.Go(func() {
			for i := range rounds {
				p := l.Open("worker", i, 0)
				for range 10 {
					p.Lines(fmt.Sprint("f", i%5))[Result][Encode].Add(1, 10, int64(i), 1)
					parent.Lines(fmt.Sprint("f", i%5))[Result][Decode].Add(1, 10, int64(i), 1)
				}
				p.Ran(10, 1)
				if g == 0 && i%10 == 0 {
					l.Watch("f", Argument, value, false)
				}
				p.End(1)
			}
		})
		wg.Go(func() {
			for range rounds {
				l.Snapshot(0)
			}
		})
	}
	wg.Wait()
	s := l.Snapshot(0)
	var encoded, decoded int64
	for _, f := range s.Functions {
		encoded += f.Classes[Result][Encode].Count
		decoded += f.Classes[Result][Decode].Count
		if f.Classes[Result][Encode].Largest < rounds-5 {
			t.Errorf("%s: the largest is %d", f.Name, f.Classes[Result][Encode].Largest)
		}
	}
	if want := int64(goroutines * rounds * 10); encoded != want || decoded != want {
		t.Errorf("%d encodes and %d decodes, want %d", encoded, decoded, want)
	}
	if len(s.Repeats) != 1 || s.Repeats[0].Count != rounds/10 {
		t.Errorf("repeats %+v", s.Repeats)
	}
}

// TestShare: tallies that several writers have of their own are one function's.
func TestShare(t *testing.T) {
	t.Parallel()
	l, parent := New(1)
	a, b, all := parent.Share("f"), parent.Share("f"), parent.Lines("f")
	if a == b || a == all || b == all || parent.Lines("f") != all {
		t.Error("two writers have the same tallies")
	}
	for i, lines := range []*Lines{a, b, all} {
		lines[Argument][Encode].Add(1, 10, int64(i), 5)
	}
	s := l.Snapshot(0)
	if want := (Sum{3, 30, 2, 15}); s.Processes[0].Encode != want || s.Functions[0].Classes[Argument][Encode] != want || len(s.Functions) != 1 {
		t.Errorf("together they are %+v, of functions %+v", s.Processes[0].Encode, s.Functions)
	}
}
