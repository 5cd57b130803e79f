package bill_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/brinepool/brine/internal/bill"
)

// traced is a timeline as a viewer reads it.
type traced struct {
	Unit   string        `json:"displayTimeUnit"`
	Events []tracedEvent `json:"traceEvents"`
}

type tracedEvent struct {
	Name, Cat, Ph, ID, BP, S string
	TS, Dur                  float64
	PID, TID                 int
	Args                     map[string]any
}

// nanoseconds are what Perfetto makes of a time in the file.
func nanoseconds(micros float64) int64 { return int64(math.Round(micros * 1000)) }

type tracedLane struct{ pid, tid int }

func timelineOf(t *testing.T, d *bill.Document) *traced {
	t.Helper()
	var b bytes.Buffer
	if err := bill.WriteTimeline(&b, d); err != nil {
		t.Fatal(err)
	}
	out := new(traced)
	if err := json.Unmarshal(b.Bytes(), out); err != nil {
		t.Fatalf("%v in\n%s", err, &b)
	}
	for _, fault := range out.faults() {
		t.Error(fault)
	}
	return out
}

// faults returns what a viewer would stumble over.
func (tr *traced) faults() []string {
	var faults []string
	names := make(map[tracedLane]string)
	owner := make(map[int]int)
	slicesOf := make(map[tracedLane][]tracedEvent)
	flows := make(map[string][]tracedEvent)
	if tr.Unit != "ms" {
		faults = append(faults, fmt.Sprintf("the unit is %q", tr.Unit))
	}
	for _, e := range tr.Events {
		l := tracedLane{e.PID, e.TID}
		switch e.Ph {
		case "M":
			if e.Name == "thread_name" {
				names[l], _ = e.Args["name"].(string)
				if p, ok := owner[e.TID]; ok && p != e.PID {
					faults = append(faults, fmt.Sprintf("thread %d is in processes %d and %d", e.TID, p, e.PID))
				}
				owner[e.TID] = e.PID
			}
		case "X":
			slicesOf[l] = append(slicesOf[l], e)
		case "s", "t", "f":
			flows[e.ID] = append(flows[e.ID], e)
			if e.BP != "e" {
				faults = append(faults, "a flow that belongs to the next slice")
			}
		case "i":
			if e.S != "t" {
				faults = append(faults, "a moment that is not of a thread")
			}
		default:
			faults = append(faults, "an event of kind "+e.Ph)
		}
		if e.Ph != "M" && names[l] == "" {
			faults = append(faults, fmt.Sprintf("%s %q is in a lane without a name", e.Ph, e.Name))
		}
	}
	for l, s := range slicesOf {
		slices.SortStableFunc(s, func(a, b tracedEvent) int { return cmp.Compare(a.TS, b.TS) })
		for i := 1; i < len(s); i++ {
			if nanoseconds(s[i-1].TS)+nanoseconds(s[i-1].Dur) > nanoseconds(s[i].TS) {
				faults = append(faults, fmt.Sprintf("in %q, %q at %v for %v overlaps %q at %v", names[l], s[i-1].Name, s[i-1].TS, s[i-1].Dur, s[i].Name, s[i].TS))
			}
		}
	}
	for id, ends := range flows {
		kinds := ""
		for i, e := range ends {
			kinds += e.Ph
			if i > 0 && e.TS < ends[i-1].TS {
				faults = append(faults, fmt.Sprintf("flow %s goes back in time", id))
			}
			if !slices.ContainsFunc(slicesOf[tracedLane{e.PID, e.TID}], func(s tracedEvent) bool {
				return s.TS <= e.TS && nanoseconds(e.TS) < nanoseconds(s.TS)+nanoseconds(s.Dur)
			}) {
				faults = append(faults, fmt.Sprintf("flow %s has an end in no slice", id))
			}
		}
		if len(kinds) < 2 || kinds != "s"+strings.Repeat("t", len(kinds)-2)+"f" {
			faults = append(faults, fmt.Sprintf("flow %s consists of %q", id, kinds))
		}
	}
	return faults
}

// lanes returns the names of what is in each lane, in the order of time.
func (tr *traced) lanes() map[string][]string {
	names := make(map[tracedLane]string)
	out := make(map[string][]string)
	events := slices.Clone(tr.Events)
	slices.SortStableFunc(events, func(a, b tracedEvent) int { return cmp.Compare(a.TS, b.TS) })
	for _, e := range events {
		if l := (tracedLane{e.PID, e.TID}); e.Ph == "M" && e.Name == "thread_name" {
			names[l], _ = e.Args["name"].(string)
			out[names[l]] = []string{}
		}
	}
	for _, e := range events {
		if l := names[tracedLane{e.PID, e.TID}]; e.Ph == "X" || e.Ph == "i" {
			out[l] = append(out[l], e.Name)
		}
	}
	return out
}

// ways is a bill of two chunks that are in flight at once, the second of which is lost.
func ways() *bill.Document {
	return &bill.Document{Version: bill.Version, Program: []string{"a.py", "<x>"}, Source: "run", Bills: []bill.Bill{{
		Name: "pool",
		Processes: []bill.Process{
			{Name: "parent", PID: 10},
			{Name: "worker", PID: 11, Began: 1000, Starting: 3000, Initialising: 500},
			{Name: "worker", PID: 12},
		},
		Chunks: []bill.Chunk{
			{
				ID: 1, Function: "main.(*T).<lambda>", Parent: 10, Worker: 11, Tasks: 3, Bytes: 100, Results: 50,
				Encode: bill.Span{Begin: 5000, Time: 1001}, Send: bill.Span{Begin: 6001, Time: 999}, Decode: bill.Span{Begin: 7000, Time: 1},
				Run: bill.Span{Begin: 7001, Time: 1999}, Reencode: bill.Span{Begin: 9000, Time: 100}, Back: bill.Span{Begin: 9100, Time: 900},
			},
			{
				ID: 2, Function: "f", Parent: 10, Worker: 11, Encode: bill.Span{Begin: 5500, Time: 1000}, Send: bill.Span{Begin: 6500, Time: 3000},
				Run: bill.Span{Begin: 9500, Time: 700}, Lost: "the worker died",
			},
		},
		Events: []bill.Event{
			{Time: 4000, PID: 11, Kind: "ready"},
			{Time: 10_300, PID: 11, Kind: "died", Text: "signal 11"},
			{Time: 10_400, PID: 13, Kind: "started"},
		},
	}}}
}

func TestTimelineLanes(t *testing.T) {
	t.Parallel()
	tr := timelineOf(t, ways())
	got := fmt.Sprint(tr.lanes())
	want := fmt.Sprint(map[string][]string{
		"parent 10":     {"encode"},
		"parent 10 (2)": {"encode (lost)"},
		"worker 11": {
			"starting", "initialising", "ready", "decode", "run main.(*T).<lambda>", "encode results", "run f (lost)",
			"lost: the worker died", "died: signal 11",
		},
		"to and from worker 11":     {"send", "back"},
		"to and from worker 11 (2)": {"send (lost)"},
		"worker 12":                 {},
		"process 13":                {"started"},
	})
	if got != want {
		t.Errorf("the lanes are\n%s\nwant\n%s", got, want)
	}
	flows := 0
	for _, e := range tr.Events {
		if e.Ph == "s" || e.Ph == "t" || e.Ph == "f" {
			flows++
		}
		if e.Name == "send" && (e.TS != 6.001 || e.Dur != 0.999 || e.Args["chunk"] != 1.0) ||
			e.Name == "encode" && e.Args["bytes"] != 100.0 || e.Name == "encode (lost)" && e.Args["lost"] != "the worker died" {
			t.Errorf("%s is %+v", e.Name, e)
		}
	}
	if flows != 4+3 {
		t.Errorf("the flows have %d ends", flows)
	}
}

// TestTimelineFaults shows that a lane or a flow that a viewer can't show is found.
func TestTimelineFaults(t *testing.T) {
	t.Parallel()
	name := tracedEvent{Name: "thread_name", Ph: "M", PID: 1, TID: 1, Args: map[string]any{"name": "a"}}
	run := tracedEvent{Name: "run", Ph: "X", TS: 1, Dur: 2, PID: 1, TID: 1}
	for want, events := range map[string][]tracedEvent{
		"without a name":  {run},
		"overlaps":        {name, run, {Name: "more", Ph: "X", TS: 2.5, Dur: 1, PID: 1, TID: 1}},
		"in no slice":     {name, run, {Ph: "s", TS: 2, PID: 1, TID: 1, ID: "1", BP: "e"}, {Ph: "f", TS: 3, PID: 1, TID: 1, ID: "1", BP: "e"}},
		"consists of":     {name, run, {Ph: "s", TS: 2, PID: 1, TID: 1, ID: "1", BP: "e"}},
		"goes back":       {name, run, {Ph: "s", TS: 2, PID: 1, TID: 1, ID: "1", BP: "e"}, {Ph: "f", TS: 1, PID: 1, TID: 1, ID: "1", BP: "e"}},
		"in processes":    {name, {Name: "thread_name", Ph: "M", PID: 2, TID: 1, Args: map[string]any{"name": "b"}}},
		"not of a thread": {name, {Name: "died", Ph: "i", PID: 1, TID: 1}},
	} {
		tr := traced{Unit: "ms", Events: events}
		if got := strings.Join(tr.faults(), "\n"); !strings.Contains(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
	}
}

func TestTimelineEmpty(t *testing.T) {
	t.Parallel()
	if tr := timelineOf(t, &bill.Document{}); len(tr.Events) != 0 {
		t.Errorf("of nothing, there are %+v", tr.Events)
	}
	timelineOf(t, &bill.Document{Bills: []bill.Bill{{}, {Chunks: []bill.Chunk{{}}, Events: []bill.Event{{}}}}})
}

// TestTimelineRandom has spans that follow from nothing, also such as no process would have.
func TestTimelineRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			timelineOf(t, randomDocument(rand.New(rand.NewPCG(seed, 5))))
		})
	}
}

func randomDocument(r *rand.Rand) *bill.Document {
	span := func() bill.Span {
		switch r.IntN(20) {
		case 0:
			return bill.Span{}
		case 1:
			return bill.Span{Begin: r.Int64N(1000) - 500, Time: -r.Int64N(10)}
		case 2:
			return bill.Span{Begin: math.MaxInt64 - r.Int64N(10), Time: math.MaxInt64}
		}
		return bill.Span{Begin: r.Int64N(100_000), Time: r.Int64N(5000)}
	}
	d := new(bill.Document)
	for range r.IntN(3) + 1 {
		b := bill.Bill{Name: text(r), Language: "python"}
		for range r.IntN(5) {
			p := bill.Process{Name: text(r), PID: r.IntN(4), Began: r.Int64N(1000), Starting: r.Int64N(1000) - 10, Initialising: r.Int64N(1000)}
			p.Encode, p.Running, p.Working = bill.Tally{Count: r.Int64N(10), Bytes: r.Int64(), Time: -r.Int64()}, r.Int64N(1000), r.Int64N(1000)
			b.Processes = append(b.Processes, p)
		}
		for i := range r.IntN(60) {
			c := bill.Chunk{ID: int64(i), Function: text(r), Parent: r.IntN(3), Worker: r.IntN(6)}
			c.Encode, c.Send, c.Decode, c.Run, c.Reencode, c.Back = span(), span(), span(), span(), span(), span()
			if r.IntN(10) == 0 {
				c.Lost = text(r)
			}
			b.Chunks = append(b.Chunks, c)
		}
		for range r.IntN(10) {
			b.Events = append(b.Events, bill.Event{Time: r.Int64N(100_000), PID: r.IntN(9), Kind: text(r), Text: text(r)})
		}
		for range r.IntN(4) {
			b.Lines = append(b.Lines, bill.Line{Function: text(r), Class: text(r), Site: text(r)})
			b.Parts = append(b.Parts, randomPart(r, 6))
			b.Advice = append(b.Advice, text(r))
		}
		d.Bills = append(d.Bills, b)
	}
	return d
}

func randomPart(r *rand.Rand, depth int) bill.Part {
	p := bill.Part{Name: text(r), Type: text(r), Note: text(r), Error: text(r), Entries: r.Int64N(5), Bytes: r.Int64N(1000) - 10}
	for range r.IntN(max(depth, 1)) {
		p.Parts = append(p.Parts, randomPart(r, depth-1))
	}
	return p
}

// text returns one of some texts that files of this kind could stumble over.
func text(r *rand.Rand) string {
	all := []string{
		"", "a", "<lambda>", "</script><img src=x onerror=alert(1)>", "<!--<script>", "\u2028\u2029", "\xff\x00", `"'&{{.}}`, "`code` and `more",
	}
	return all[r.IntN(len(all))]
}
