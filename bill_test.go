package brine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine"
	"github.com/brinepool/brine/internal/bill"
)

// load is an argument with a large part and a small one.
type load struct {
	Table struct{ Digits []string }
	N     int
}

func lighten(_ context.Context, l load) (int, error) { return l.N, nil }

var lightened = brine.Plain(lighten)

// document returns the account of a pool, as its JSON has it.
func document[S any](t *testing.T, p *brine.Pool[S]) bill.Bill {
	t.Helper()
	var b bytes.Buffer
	if err := p.ReportJSON(&b); err != nil {
		t.Fatal(err)
	}
	var d bill.Document
	if err := json.Unmarshal(b.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Version != bill.Version || d.Source != "go" || len(d.Bills) != 1 {
		t.Fatalf("the document is of version %d, from %s, with %d bills", d.Version, d.Source, len(d.Bills))
	}
	return d.Bills[0]
}

// TestBillAddsUp: processes and lines have the same sums, chunks all tasks, and a worker's times are all of its life.
func TestBillAddsUp(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	l := load{N: 1}
	for range 5000 {
		l.Table.Digits = append(l.Table.Digits, "0123456789")
	}
	if _, err := brine.Map(t.Context(), pool, lightened, []load{l, {N: 2}, {N: 3}}); err != nil {
		t.Fatal(err)
	}
	if _, err := brine.Map(t.Context(), pool, double, numbers(1000)); err != nil {
		t.Fatal(err)
	}
	_, _ = brine.Call(t.Context(), pool, do, deed{How: "exit", N: 7}) // the events have it
	if _, err := brine.Call(t.Context(), pool, double, 1); err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	b := document(t, pool)

	var processes, lines [2]bill.Tally
	add := func(to *[2]bill.Tally, encode, decode bill.Tally) {
		for i, tally := range []bill.Tally{encode, decode} {
			to[i].Count += tally.Count
			to[i].Bytes += tally.Bytes
			to[i].Time += tally.Time
		}
	}
	for _, p := range b.Processes {
		add(&processes, p.Encode, p.Decode)
	}
	for _, x := range b.Lines {
		add(&lines, x.Encode, x.Decode)
	}
	if processes != lines {
		t.Errorf("processes have %+v, lines %+v", processes, lines)
	}

	var tasks, lost int64
	for _, c := range b.Chunks {
		tasks += c.Tasks
		if c.Lost != "" {
			lost++
		}
		if c.Encode.Begin < 0 || c.Run.Begin < c.Send.Begin || c.Back.Begin < c.Run.Begin || c.Back.Begin+c.Back.Time > b.Elapsed {
			t.Errorf("a chunk went an odd way: %+v", c)
		}
	}
	if tasks != 1005 || lost != 1 {
		t.Errorf("%d tasks in chunks, %d of which were lost", tasks, lost)
	}

	var kinds []string
	for _, e := range b.Events {
		kinds = append(kinds, e.Kind)
		if e.Kind == "died" && e.Text != "exit status 7" {
			t.Errorf("a worker died of %q", e.Text)
		}
	}
	slices.Sort(kinds)
	if got, want := strings.Join(kinds, " "), "died ended ended ready ready ready started started started"; got != want {
		t.Errorf("events: %s, want %s", got, want)
	}

	for _, p := range b.Processes[1:] {
		if p.Starting <= 0 || p.Initialising <= 0 || p.Working < p.Running || p.Waiting < 0 {
			t.Errorf("the times of a worker: %+v", p)
		}
	}
	for _, x := range b.Lines {
		if x.Function == lightened.Name() && x.Class == bill.Argument && x.Encode.MaxPath != ".Table.Digits" {
			t.Errorf("the largest argument is large in %q", x.Encode.MaxPath)
		}
	}
	i := slices.IndexFunc(b.Parts, func(p bill.Part) bool { return p.Function == lightened.Name() && p.Class == bill.Argument })
	if i < 0 || b.Parts[i].Bytes < 70_000 || b.Parts[i].Parts[0].Name != ".Table" {
		t.Errorf("the parts are %+v", b.Parts)
	}
}

// TestReportsInAllForms: the page and the timeline are of the same pool. What is in them is tested where they are made.
func TestReportsInAllForms(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	if _, err := brine.Map(t.Context(), pool, double, numbers(10)); err != nil {
		t.Fatal(err)
	}
	var page, line bytes.Buffer
	if err := pool.ReportHTML(&page); err != nil {
		t.Fatal(err)
	}
	if err := pool.Timeline(&line); err != nil {
		t.Fatal(err)
	}
	name := double.Name()[strings.LastIndexByte(double.Name(), '/')+1:]
	if !strings.HasPrefix(page.String(), "<!") || !strings.Contains(page.String(), name) {
		t.Errorf("the page: %.200s", page.String())
	}
	var events struct {
		Events []struct{ Name string } `json:"traceEvents"`
	}
	if err := json.Unmarshal(line.Bytes(), &events); err != nil || len(events.Events) < 5 {
		t.Errorf("the timeline has %d events: %v", len(events.Events), err)
	}
}

// TestBillOfAnOpenPool: a report that is made at once has all tasks that have ended.
func TestBillOfAnOpenPool(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	for i := range 10 {
		if _, err := brine.Map(t.Context(), pool, double, numbers(100)); err != nil {
			t.Fatal(err)
		}
		tasks := int64(0)
		for _, c := range document(t, pool).Chunks {
			tasks += c.Tasks
		}
		if want := int64(100 * (i + 1)); tasks != want {
			t.Fatalf("%d tasks in chunks, want %d", tasks, want)
		}
	}
}

// TestBillOfRunningTasks: the time of a task that has not ended is work, and not waiting.
func TestBillOfRunningTasks(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, Grace: 10 * time.Millisecond})
	f := brine.Go(t.Context(), pool, do.With(brine.Limits{Timeout: 300 * time.Millisecond}), deed{How: "hang"})
	for { // until the task has begun
		if w := pool.Stats().Processes[1]; w.Working > 100*time.Millisecond {
			if w.Run < 100*time.Millisecond {
				t.Errorf("it ran for %v, and worked for %v", w.Run, w.Working)
			}
			break
		}
		select {
		case <-f.Done():
			t.Fatal("the task ended before it was seen to run")
		default:
		}
	}
	_, _ = f.Wait(t.Context()) // it is ended, being over its time
	if _, err := brine.Call(t.Context(), pool, double, 1); err != nil {
		t.Fatal(err)
	}
	b := document(t, pool)
	i := slices.IndexFunc(b.Events, func(e bill.Event) bool { return e.Kind == "killed" })
	if i < 0 || b.Events[i].Text != "its task was over its time" {
		t.Errorf("the events are %+v", b.Events)
	}
	i = slices.IndexFunc(b.Chunks, func(c bill.Chunk) bool { return c.Lost != "" })
	if i < 0 || b.Chunks[i].Lost != "the worker was ended: its task was over its time" || b.Chunks[i].Run.Time < int64(200*time.Millisecond) {
		t.Errorf("the chunks are %+v", b.Chunks)
	}
	if w := b.Processes[1]; !w.Ended || w.Running < int64(200*time.Millisecond) {
		t.Errorf("the worker is %+v", w)
	}
}

// TestBillAfterTheEnd: it doesn't change any more.
func TestBillAfterTheEnd(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	if _, err := brine.Map(t.Context(), pool, double, numbers(10)); err != nil {
		t.Fatal(err)
	}
	pool.Kill()
	first, second := document(t, pool), document(t, pool)
	if first.Elapsed != second.Elapsed || first.Elapsed == 0 {
		t.Errorf("the pool lived for %d ns, then for %d", first.Elapsed, second.Elapsed)
	}
	last := first.Events[len(first.Events)-1]
	if last.Kind != "killed" || last.Text != "the pool was ended" {
		t.Errorf("the worker's end is %+v", last)
	}
}
