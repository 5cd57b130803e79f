package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestTimes: all of a worker's time, from its start to its end or to now, is one of four.
func TestTimes(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, c := range []struct {
		name                           string
		spoke, ready, ended, now, work time.Duration // it begins at 1 s
		want                           Times
	}{
		{"starting", 0, 0, 0, 3 * s, 0, Times{Starting: 2 * s}},
		{"died as it started", 0, 0, 4 * s, 9 * s, 0, Times{Starting: 3 * s}},
		{"initialising", 2 * s, 0, 0, 5 * s, 0, Times{Starting: s, Initialising: 3 * s}},
		{"initializer died", 2 * s, 0, 3 * s, 5 * s, 0, Times{Starting: s, Initialising: s}},
		{"idle", 2 * s, 4 * s, 0, 10 * s, 0, Times{Starting: s, Initialising: 2 * s, Waiting: 6 * s}},
		{"at work", 2 * s, 4 * s, 0, 10 * s, 5 * s, Times{Starting: s, Initialising: 2 * s, Working: 5 * s, Waiting: s}},
		{"ended", 2 * s, 4 * s, 9 * s, 20 * s, 5 * s, Times{Starting: s, Initialising: 2 * s, Working: 5 * s}},
		{"more work than time", 2 * s, 4 * s, 5 * s, 20 * s, 7 * s, Times{Starting: s, Initialising: 2 * s, Working: 7 * s}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, _ := New(1)
			p := l.Open("worker", 2, s)
			p.Spoke(c.spoke)
			p.Ready(c.ready)
			// A part of the work each; decoding the configuration is a part of initialising.
			p.Ran(1, c.work/5)
			lines := p.Lines("f")
			lines[Argument][Decode].Add(1, 1, 1, c.work/5)
			lines[Bound][Decode].Add(1, 1, 1, c.work/5)
			lines[Result][Encode].Add(1, 1, 1, c.work/5)
			p.Lines("g")[Argument][Decode].Add(1, 1, 1, c.work/5)
			lines[Config][Decode].Add(1, 1, 1, time.Hour)
			lines[Shared][Decode].Add(1, 1, 1, time.Hour)
			p.Peak(5)
			p.Peak(3)
			if c.ended > 0 {
				p.End(c.ended)
			}
			got := l.Snapshot(c.now).Processes[1]
			if got.Times != c.want || got.Began != s || got.Peak != 5 {
				t.Errorf("got %+v, want times %+v", got, c.want)
			}
		})
	}
}

// TestTimesOfEarlierWorkers: what workers without a line of their own spent is added up.
func TestTimesOfEarlierWorkers(t *testing.T) {
	t.Parallel()
	l, _ := New(1)
	const n = keepEnded + 3
	for i := range n {
		p := l.Open("worker", 10+i, time.Duration(i))
		p.Spoke(time.Duration(i + 1))
		p.Ready(time.Duration(i + 3))
		p.Ran(1, 5)
		p.Peak(int64(100 + i))
		p.End(time.Duration(i + 12))
	}
	e := l.Snapshot(time.Hour).Processes[1]
	if want := (Times{Starting: 3, Initialising: 6, Working: 15, Waiting: 12}); e.PID != 0 || e.Times != want || e.Peak != 102 {
		t.Errorf("earlier workers have %+v, want times %+v", e, want)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, keepChunks, keepChunks + 1, 3*keepChunks - 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			l, parent := New(1)
			for i := range n {
				parent.Done(&Chunk{Function: "f", Tasks: i + 1, Begun: time.Duration(i) * time.Second, Read: time.Duration(i) * time.Second})
				l.Note(Event{PID: i, Kind: Died})
			}
			chunks, events, forgotten := l.History()
			if want := max(0, n-keepChunks); forgotten != int64(want) || len(chunks) != n-want {
				t.Fatalf("%d chunks and %d forgotten, of %d", len(chunks), forgotten, n)
			}
			for i, c := range chunks {
				if want := n - len(chunks) + i + 1; c.Tasks != want {
					t.Fatalf("the %d-th chunk is that with %d tasks, want %d", i, c.Tasks, want)
				}
			}
			if len(events) != min(n, keepEvents) || (n > 0 && events[len(events)-1].PID != n-1) {
				t.Errorf("%d events of %d, the last %+v", len(events), n, events[max(0, len(events)-1):])
			}
		})
	}
}

func TestEventKinds(t *testing.T) {
	t.Parallel()
	var names []string
	for k := Started; k <= Died; k++ {
		names = append(names, k.String())
	}
	if !slices.Equal(names, []string{"started", "ready", "ended", "killed", "died"}) {
		t.Errorf("they are called %q", names)
	}
}

// TestShortChunksAreOne: chunks of microseconds are remembered together, but for those of another function, those that
// were lost, and those that are far apart.
func TestShortChunksAreOne(t *testing.T) {
	t.Parallel()
	const us = time.Microsecond
	l, _ := New(1)
	p := l.Open("worker", 2, 0)
	for _, c := range []Chunk{
		{Function: "f", Tasks: 1, Bytes: 1, Results: 5, Begun: 0, Back: 9 * us, Read: 10 * us, Run: us},
		{Function: "f", Tasks: 2, Bytes: 2, Results: 6, Begun: 20 * us, Back: 29 * us, Read: 30 * us, Run: 2 * us},
		{Function: "g", Tasks: 3, Begun: 40 * us, Read: 50 * us},
		{Function: "g", Tasks: 4, Begun: 60 * us, Read: 70 * us, Lost: "it died"},
		{Function: "g", Tasks: 5, Begun: 80 * us, Read: 90 * us},
		{Function: "g", Tasks: 6, Begun: 900 * us, Read: 1090 * us},
	} {
		p.Done(&c)
	}
	for range 2 { // to look changes nothing
		chunks, _, _ := l.History()
		var tasks []int
		for _, c := range chunks {
			tasks = append(tasks, c.Tasks)
		}
		if !slices.Equal(tasks, []int{3, 3, 4, 5, 6}) {
			t.Fatalf("chunks of %d tasks", tasks)
		}
		if want := (Chunk{Function: "f", Tasks: 3, Bytes: 3, Results: 11, Back: 29 * us, Read: 30 * us, Run: 3 * us}); chunks[0] != want {
			t.Errorf("together they are %+v, want %+v", chunks[0], want)
		}
	}
}
