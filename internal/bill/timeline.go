package bill

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// WriteTimeline writes the chunks and events of a document in Chrome's trace event format, for Perfetto
// (https://ui.perfetto.dev) and chrome://tracing. Each bill is a process of the trace. Each process of the bill is a
// thread, and beside each worker there is another thread for what is on the way to it and back. Threads of a trace
// must not have slices that overlap other than by nesting, so that what overlaps is put on a thread of its own, with
// the same name and a number.
//
// The format: "Trace Event Format", Google, 2016 (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU).
func WriteTimeline(w io.Writer, d *Document) error {
	tw := &traceWriter{w: bufio.NewWriter(w)}
	tw.open(d)
	thread := 0
	for i := range d.Bills {
		b := &d.Bills[i]
		t := newTimeline(b)
		t.enumerate(&thread)
		tw.bill(i+1, b, t)
	}
	return tw.close()
}

// traceEvent is one element of traceEvents. What the letters mean is in the description of the format.
type traceEvent struct {
	Name     string         `json:"name"`
	Category string         `json:"cat,omitempty"`
	Phase    string         `json:"ph"`
	Time     micros         `json:"ts"`
	Duration *micros        `json:"dur,omitempty"`
	PID      int            `json:"pid"`
	TID      int            `json:"tid"`
	ID       string         `json:"id,omitempty"`
	Bind     string         `json:"bp,omitempty"`
	Scope    string         `json:"s,omitempty"`
	Color    string         `json:"cname,omitempty"`
	Args     map[string]any `json:"args,omitempty"`
}

// micros is nanoseconds, written as microseconds with a fraction.
type micros int64

func (m micros) MarshalJSON() ([]byte, error) {
	sign, n := "", uint64(m)
	if m < 0 {
		sign, n = "-", -n
	}
	return fmt.Appendf(nil, "%s%d.%03d", sign, n/1000, n%1000), nil
}

// traceWriter writes events, one a line, and keeps the first error.
type traceWriter struct {
	w    *bufio.Writer
	line bytes.Buffer
	sep  string
	err  error
}

func (w *traceWriter) open(d *Document) {
	about, err := json.Marshal(map[string]any{"program": d.Program, "source": d.Source, "version": d.Version})
	if err != nil {
		w.err = err
		return
	}
	w.text(`{"displayTimeUnit":"ms","otherData":` + string(about) + `,"traceEvents":[` + "\n")
}

func (w *traceWriter) close() error {
	w.text("\n]}\n")
	if err := w.w.Flush(); w.err == nil {
		w.err = err
	}
	if w.err != nil {
		return fmt.Errorf("brine: writing a timeline: %w", w.err)
	}
	return nil
}

func (w *traceWriter) text(s string) {
	if w.err == nil {
		_, w.err = w.w.WriteString(s)
	}
}

func (w *traceWriter) event(e *traceEvent) {
	w.line.Reset()
	enc := json.NewEncoder(&w.line)
	enc.SetEscapeHTML(false) // <lambda> is to be read by people too
	if err := enc.Encode(e); err != nil {
		w.err = cmp.Or(w.err, err)
		return
	}
	w.text(w.sep + string(bytes.TrimSuffix(w.line.Bytes(), []byte("\n"))))
	w.sep = ",\n"
}

// bill writes the slices of a bill before its flows and instants, which belong to slices that begin at the same moment.
func (w *traceWriter) bill(pid int, b *Bill, t *timeline) {
	w.metadata(pid, 0, "process_name", "name", cmp.Or(b.Name, "bill "+strconv.Itoa(pid)))
	w.metadata(pid, 0, "process_sort_index", "sort_index", pid)
	if b.Dropped > 0 {
		w.metadata(pid, 0, "process_labels", "labels", Number(b.Dropped)+" older chunks are not on record")
	}
	for _, l := range t.lanes {
		for i := range l.rows {
			name := l.name
			if i > 0 {
				name = fmt.Sprintf("%s (%d)", l.name, i+1)
			}
			w.metadata(pid, l.first+i, "thread_name", "name", name)
			w.metadata(pid, l.first+i, "thread_sort_index", "sort_index", l.first+i)
		}
	}
	for _, l := range t.lanes {
		for _, s := range l.slices {
			d := micros(s.Time)
			w.event(&traceEvent{
				Name: s.name, Category: s.category, Phase: "X", Time: micros(s.Begin), Duration: &d,
				PID: pid, TID: s.thread(), Color: s.color, Args: s.args,
			})
		}
	}
	for i := range t.journeys {
		w.flow(pid, strconv.Itoa(pid)+"."+strconv.FormatInt(b.Chunks[i].ID, 10), t.journeys[i])
	}
	for _, m := range t.marks {
		w.event(&traceEvent{
			Name: m.name, Category: "event", Phase: "i", Time: micros(m.time), PID: pid, TID: m.lane.first,
			Scope: "t", Color: m.color, Args: m.args,
		})
	}
}

func (w *traceWriter) metadata(pid, tid int, name, key string, value any) {
	w.event(&traceEvent{Name: name, Phase: "M", PID: pid, TID: tid, Args: map[string]any{key: value}})
}

// flow links the slices of a chunk, which are in the order of their beginnings. An end of a flow belongs to the slice
// that its time is in: the first leaves as late as it can before the second begins.
func (w *traceWriter) flow(pid int, id string, hops []*slice) {
	for i, s := range hops {
		e := traceEvent{Name: "chunk", Category: "chunk", Phase: "t", Time: micros(s.Begin), PID: pid, TID: s.thread(), ID: id, Bind: "e"}
		switch {
		case len(hops) < 2:
			return
		case i == 0:
			e.Phase = "s"
			e.Time = micros(max(s.Begin, min(s.end(), hops[1].Begin)-1))
		case i == len(hops)-1:
			e.Phase = "f"
		}
		w.event(&e)
	}
}
