package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/ledger"
)

// classes are what the bill calls what the ledger does.
var classes = [ledger.Classes]string{
	ledger.Config:   bill.Initializer,
	ledger.Bound:    bill.Function,
	ledger.Argument: bill.Argument,
	ledger.Result:   bill.Result,
	ledger.Shared:   bill.Shared,
}

// weighed is the largest value of a function and class, as far as it was looked into.
type weighed struct {
	size int64
	part bill.Part
}

type weighedKey struct{ function, class string }

// Weigh says whether a value of so many bytes is so much larger than those before it that it is to be looked into, for
// Weighed: twice as large, so that all looking together costs no more than a few times what the largest does.
func (e *Engine) Weigh(function, class string, size int64) bool {
	if !ledger.On {
		return false
	}
	key := weighedKey{function, class}
	e.weights.Lock()
	defer e.weights.Unlock()
	if size < 2*e.weighed[key].size || size == 0 {
		return false
	}
	e.weighed[key] = weighed{size: size, part: e.weighed[key].part}
	return true
}

// Weighed takes what was found in a value, by looking into it for some time, which is left out of what else is measured
// meanwhile.
func (e *Engine) Weighed(function, class string, part bill.Part, took time.Duration) {
	e.looked.Add(int64(took))
	key := weighedKey{function, class}
	e.weights.Lock()
	defer e.weights.Unlock()
	if part.Bytes >= e.weighed[key].part.Bytes {
		e.weighed[key] = weighed{size: max(part.Bytes, e.weighed[key].size), part: part}
	}
}

// Bill returns the account as a document, without advice, and with the last of the chunks, as many as most says.
func (e *Engine) Bill(most int) bill.Bill {
	snapshot, now := e.Snapshot()
	counts := e.Counts()
	b := bill.Bill{
		Name: e.cfg.Kind, Elapsed: int64(now),
		Counts: bill.Counts{
			Done: counts.Done, Failed: counts.Failed, Retried: counts.Retried,
			Workers: int64(e.Workers()), Started: counts.Started, Deaths: counts.Deaths,
		},
		Lines: e.lines(snapshot.Functions), Repeats: []bill.Repeat{}, Parts: []bill.Part{}, Advice: []string{},
	}
	for i, p := range snapshot.Processes {
		b.Processes = append(b.Processes, bill.Process{
			Name: p.Name, PID: p.PID, Ended: p.Ended, Tasks: p.Tasks, Began: int64(p.Began),
			Encode: tallyOf(p.Encode), Decode: tallyOf(p.Decode), Shared: tallyOf(p.Shared),
			Starting: int64(p.Times.Starting), Initialising: int64(p.Times.Initialising), Running: int64(p.Run),
			Working: int64(p.Times.Working), Waiting: int64(p.Times.Waiting), PeakMemory: p.Peak,
			Lines: e.lines(snapshot.Details[i]),
		})
	}
	for _, r := range snapshot.Repeats {
		b.Repeats = append(b.Repeats, bill.Repeat{Function: r.Function, Class: classes[r.Class], Path: r.Path, Bytes: r.Bytes, Count: r.Count})
	}
	b.Parts = append(b.Parts, e.parts(b.Lines)...)
	e.history(&b, most)
	return b
}

func (e *Engine) lines(functions []ledger.FunctionSum) []bill.Line {
	lines := []bill.Line{}
	for _, f := range functions {
		for c, class := range classes {
			line := bill.Line{Function: f.Name, Class: class, Encode: tallyOf(f.Classes[c][ledger.Encode]), Decode: tallyOf(f.Classes[c][ledger.Decode])}
			if line.Encode.Count == 0 && line.Decode.Count == 0 {
				continue
			}
			path := e.Heaviest(f.Name, ledger.Class(c))
			line.Encode.MaxPath, line.Decode.MaxPath = path, path
			lines = append(lines, line)
		}
	}
	return lines
}

func tallyOf(s ledger.Sum) bill.Tally {
	return bill.Tally{Count: s.Count, Bytes: s.Bytes, Max: s.Largest, Time: int64(s.Time)}
}

// Heaviest returns the path to what makes the largest value of a function and class large.
func (e *Engine) Heaviest(function string, class ledger.Class) string {
	e.weights.Lock()
	defer e.weights.Unlock()
	return e.weighed[weighedKey{function, classes[class]}].part.Heaviest()
}

// parts returns what the largest values of all lines are made of.
func (e *Engine) parts(lines []bill.Line) []bill.Part {
	e.weights.Lock()
	defer e.weights.Unlock()
	var parts []bill.Part
	for _, l := range lines {
		if w := e.weighed[weighedKey{l.Function, l.Class}]; w.part.Bytes > 0 && l.Class != bill.Shared {
			w.part.Function, w.part.Class = l.Function, l.Class
			parts = append(parts, w.part)
		}
	}
	return parts
}

// history puts in what happened when. When a worker began with a chunk isn't known, only how long it took: it is taken
// to have begun as soon as it had the chunk and had ended the one before, but for what came back earlier than that allows.
func (e *Engine) history(b *bill.Bill, most int) {
	chunks, events, forgotten := e.ledger.History()
	slices.SortStableFunc(chunks, func(x, y ledger.Chunk) int { return cmp.Compare(x.Back, y.Back) })
	free := make(map[int]time.Duration) // when each worker had ended the last one
	parent := 0
	if len(b.Processes) > 0 {
		parent = b.Processes[0].PID
	}
	if more := len(chunks) - most; more > 0 {
		chunks, forgotten = chunks[more:], forgotten+int64(more)
	}
	b.Dropped = forgotten
	for i, c := range chunks {
		work := c.Decode + c.Run + c.Encode
		begin := max(c.Sent, free[c.Worker])
		begin = max(min(begin, c.Back-work), c.Sent)
		free[c.Worker] = begin + work
		at := int64(begin)
		span := func(d time.Duration) bill.Span {
			s := bill.Span{Begin: at, Time: int64(d)}
			at += s.Time
			return s
		}
		b.Chunks = append(b.Chunks, bill.Chunk{
			ID: int64(i + 1), Function: c.Function, Parent: parent, Worker: c.Worker, Tasks: int64(c.Tasks),
			Bytes: c.Bytes, Results: c.Results, Lost: c.Lost, Estimated: true,
			Encode: bill.Span{Begin: int64(c.Begun), Time: int64(c.Sent - c.Begun)},
			Send:   bill.Span{Begin: int64(c.Sent), Time: int64(begin - c.Sent)},
			Decode: span(c.Decode), Run: span(c.Run), Reencode: span(c.Encode),
			Back: bill.Span{Begin: at, Time: max(0, int64(c.Read)-at)},
		})
	}
	for _, v := range events {
		b.Events = append(b.Events, bill.Event{Time: int64(v.At), PID: v.PID, Kind: v.Kind.String(), Text: v.Text})
	}
}
