package brine

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Report writes the account of what crossed as text: a table of processes, one of functions, and advice on large
// values that were sent again and again. It may be called at any time, also after Close.
func (p *pool) Report(w io.Writer) error { return p.Stats().report(w) }

func (s Stats) report(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s done, %s failed, %s retried; %s, %s started, %s died\n\n",
		shortName(s.Kind), plural(s.Done, "task"), number(s.Failed), number(s.Retried), plural(int64(s.Workers), "worker"), number(s.Started), number(s.Deaths))
	t := table{{"process", "encodes", "time", "average", "bytes", "decodes", "time", "average", "bytes", "tasks", "run"}}
	for _, p := range s.Processes {
		name := p.Name
		if p.PID != 0 {
			name = fmt.Sprintf("%s %d", p.Name, p.PID)
		}
		t.row([]string{name}, p.Encode.columns(), p.Decode.columns(), []string{number(p.Tasks), short(p.Run)})
	}
	t.write(&b)
	b.WriteByte('\n')
	t = table{{"function", "class", "encodes", "time", "average", "bytes", "decodes", "time", "average", "bytes", "largest"}}
	for _, f := range s.Functions {
		for _, c := range []struct {
			name     string
			enc, dec Tally
		}{
			{"config", f.ConfigEncode, f.ConfigDecode},
			{"bound", f.BoundEncode, f.BoundDecode},
			{"argument", f.ArgumentEncode, f.ArgumentDecode},
			{"result", f.ResultEncode, f.ResultDecode},
		} {
			if c.enc.Count != 0 || c.dec.Count != 0 {
				t.row([]string{shortName(f.Name), c.name}, c.enc.columns(), c.dec.columns(), []string{size(max(c.enc.Largest, c.dec.Largest))})
			}
		}
	}
	t.write(&b)
	s.reportShared(&b)
	for _, r := range s.Repeats {
		what := r.Class
		if r.Path != "" {
			what = r.Path + " in the " + r.Class
		}
		fmt.Fprintf(&b, "\nThe same %s of %s (%s) went out %s times: %s. %s\n",
			what, shortName(r.Func), size(r.Bytes), number(r.Count), size(r.Bytes*r.Count), r.Remedy)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reportShared writes what lies in shared memory, which is on no other line: it was not sent.
func (s Stats) reportShared(b *strings.Builder) {
	t := table{{"shared memory", "pieces", "bytes", "largest", "mapped"}}
	for _, f := range s.Functions {
		if f.Mapped.Count > 0 {
			t.row([]string{shortName(f.Name), number(f.Published.Count), size(f.Published.Bytes), size(f.Published.Largest), plural(f.Mapped.Count, "time")})
		}
	}
	if len(t) > 1 {
		b.WriteByte('\n')
		t.write(b)
	}
}

// table is rows of columns, the heads first. Its first column is flush left, the others flush right.
type table [][]string

func (t *table) row(parts ...[]string) { *t = append(*t, slices.Concat(parts...)) }

func (t table) write(b *strings.Builder) {
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t {
		fmt.Fprintf(b, "%-*s", widths[0], row[0])
		for i, cell := range row[1:] {
			fmt.Fprintf(b, "  %*s", widths[i+1], cell)
		}
		b.WriteByte('\n')
	}
}

// shortName leaves the folders of the package out of a function's name.
func shortName(name string) string {
	base, _, _ := strings.Cut(name, "[") // type arguments have paths of their own
	return name[strings.LastIndexByte(base, '/')+1:]
}

func (t Tally) columns() []string {
	return []string{number(t.Count), short(t.Time), short(t.Average()), size(t.Bytes)}
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}

// number writes n with commas.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes a number of bytes in the unit that suits it.
func size(n int64) string {
	switch f := float64(n); {
	case n < 10_000:
		return number(n) + " B"
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", f/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", f/1e6)
	default:
		return fmt.Sprintf("%.2f GB", f/1e9)
	}
}

// short writes a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	default:
		return fmt.Sprintf("%.4g s", d.Seconds())
	}
}
