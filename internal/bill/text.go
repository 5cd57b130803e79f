package bill

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

const (
	textLines = 30      // of where the bytes come from
	textTrees = 3       // of the largest values
	textShare = 20      // a tree is for what has more than one in so many of the bytes
	textPart  = 100     // and a part of it for what has more than one in so many of the tree's
	textFrom  = 100_000 // bytes, for less there are no trees
)

// WriteText writes the bills of a program one after the other, for people to read.
func WriteText(w io.Writer, d *Document) error {
	var b strings.Builder
	for i := range d.Bills {
		if i > 0 {
			b.WriteByte('\n')
		}
		d.Bills[i].text(&b)
	}
	_, err := io.WriteString(w, strings.Map(printable, b.String()))
	return err
}

// printable leaves out of a text what could do something to a terminal, or turn its lines around: names come from programs.
func printable(r rune) rune {
	if r == '\n' || (!unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r)) {
		return r
	}
	return -1
}

// WriteJSON writes the document as it is.
func WriteJSON(w io.Writer, d *Document) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(d)
}

func (l *Bill) text(b *strings.Builder) {
	l.head(b)
	l.processes(b)
	l.workers(b)
	l.lines(b)
	l.shared(b)
	l.trees(b)
	for _, s := range l.sentences() {
		b.WriteString("\n" + s + "\n")
	}
}

// sentences is what there is to say about the figures.
func (l *Bill) sentences() []string {
	out := slices.Clone(l.Advice)
	if l.Instead != "" {
		out = append(out, l.Instead)
	}
	return out
}

func (l *Bill) head(b *strings.Builder) {
	c := l.Counts
	fmt.Fprintf(b, "%s:", ShortName(l.Name))
	if c.Done+c.Failed+c.Retried > 0 || c.Workers > 0 {
		fmt.Fprintf(b, " %s done, %s failed, %s retried; %s, %s started, %s died;",
			plural(c.Done, "task"), Number(c.Failed), Number(c.Retried), plural(c.Workers, "worker"), Number(c.Started), Number(c.Deaths))
	}
	fmt.Fprintf(b, " %s\n\n", short(l.Elapsed))
}

// encodes and decodes are what the two directions are called.
func (l *Bill) encodes() string {
	if l.Language == "python" {
		return "dumps"
	}
	return "encodes"
}

func (l *Bill) decodes() string {
	if l.Language == "python" {
		return "loads"
	}
	return "decodes"
}

func (t Tally) columns() []string {
	return []string{Number(t.Count), short(t.Time), short(t.average()), Size(t.Bytes)}
}

func (t Tally) average() int64 {
	if t.Count == 0 {
		return 0
	}
	return t.Time / t.Count
}

func (p *Process) title() string {
	if p.PID == 0 {
		return p.Name
	}
	return fmt.Sprintf("%s %d", p.Name, p.PID)
}

// idle says that the process has ended without having done anything.
func (p *Process) idle() bool { return p.Ended && p.Encode.Count+p.Decode.Count+p.Tasks == 0 }

// processes writes who encoded and decoded how much, and how long that took.
func (l *Bill) processes(b *strings.Builder) {
	t := table{left: 1}
	t.row([]string{"process", l.encodes(), "time", "average", "bytes", l.decodes(), "time", "average", "bytes"})
	idle := int64(0)
	for i, p := range l.Processes {
		if i > 0 && p.idle() {
			idle++
			continue
		}
		t.row([]string{p.title()}, p.Encode.columns(), p.Decode.columns())
	}
	t.write(b)
	if idle > 0 {
		fmt.Fprintf(b, "and %s that ended without having done anything\n", plural(idle, "worker"))
	}
}

// workers writes how the time of each worker went.
func (l *Bill) workers(b *strings.Builder) {
	t := table{left: 1}
	t.row([]string{"worker", "tasks", "starting", "initialising", "running", "coding", "waiting", "peak memory"})
	for _, p := range l.Processes {
		if p.Starting+p.Initialising+p.Working+p.Waiting == 0 || p.idle() {
			continue
		}
		memory := ""
		if p.PeakMemory > 0 {
			memory = Size(p.PeakMemory)
		}
		t.row([]string{
			p.title(), Number(p.Tasks), short(p.Starting), short(p.Initialising), short(p.Running),
			short(max(0, p.Working-p.Running)), short(p.Waiting), memory,
		})
	}
	if len(t.rows) > 1 {
		b.WriteByte('\n')
		t.write(b)
	}
}

// Sent returns how many bytes were sent: those that were encoded, or where only the other end counted, decoded. What
// lies in shared memory was not.
func (l *Bill) Sent() int64 {
	var n int64
	for i := range l.Lines {
		n += l.Lines[i].sent()
	}
	return n
}

func (l *Line) sent() int64 {
	if l.Class == Shared {
		return 0
	}
	if l.Encode.Count > 0 {
		return l.Encode.Bytes
	}
	return l.Decode.Bytes
}

// lines writes where the bytes come from, the most of them first.
func (l *Bill) lines(b *strings.Builder) {
	lines := slices.Clone(l.Lines)
	slices.SortStableFunc(lines, func(x, y Line) int { return cmp.Compare(y.sent(), x.sent()) })
	total := l.Sent()
	sites := slices.ContainsFunc(lines, func(x Line) bool { return x.Site != "" })
	t := table{left: 2}
	head := []string{"function", "class"}
	if sites {
		head, t.left = append(head, "called at"), 3
	}
	t.row(head, []string{"bytes", "", l.encodes(), "time", "average", l.decodes(), "time", "average", "largest"})
	more := 0
	for _, x := range lines {
		if x.Class == Shared {
			continue
		}
		if len(t.rows) > textLines {
			more++
			continue
		}
		cells := []string{ShortName(x.Function), x.Class}
		if sites {
			cells = append(cells, x.Site)
		}
		largest := Size(max(x.Encode.Max, x.Decode.Max))
		if path := cmp.Or(x.Encode.MaxPath, x.Decode.MaxPath); path != "" {
			largest += " in " + path
		}
		t.row(cells, []string{Size(x.sent()), percent(x.sent(), total)},
			x.Encode.columns()[:3], x.Decode.columns()[:3], []string{largest})
	}
	if len(t.rows) == 1 {
		return
	}
	b.WriteByte('\n')
	t.write(b)
	if more > 0 {
		fmt.Fprintf(b, "and %s\n", plural(int64(more), "line"))
	}
}

// shared writes what lies in shared memory, which is on no other line: it was not sent.
func (l *Bill) shared(b *strings.Builder) {
	t := table{left: 1}
	t.row([]string{"shared memory", "pieces", "bytes", "largest", "mapped"})
	for _, x := range l.Lines {
		if x.Class == Shared && x.Decode.Count > 0 {
			t.row([]string{ShortName(x.Function), Number(x.Encode.Count), Size(x.Encode.Bytes), Size(x.Encode.Max), Times(x.Decode.Count)})
		}
	}
	if len(t.rows) > 1 {
		b.WriteByte('\n')
		t.write(b)
	}
}

// trees writes what is in the largest of those values that most of the bytes come from.
func (l *Bill) trees(b *strings.Builder) {
	total := l.Sent()
	for i, p := range l.Parts {
		if i == textTrees || p.Bytes < textFrom || p.Bytes*textShare < total {
			return
		}
		if p = p.pruned(p.Bytes / textPart); len(p.Parts) == 0 {
			continue
		}
		b.WriteString("\n" + p.Text())
	}
}
