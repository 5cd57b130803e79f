package brine

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Report writes the account of what crossed as text: a table of processes, one of functions, and advice on large
// values that were sent again and again. It may be called at any time, also after Close.
func (p *pool) Report(w io.Writer) error { return p.Stats().report(w) }

func (s Stats) report(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s done, %s failed, %s retried; %d workers, %s started, %s died\n\n",
		s.Kind, plural(s.Done, "task"), number(s.Failed), number(s.Retried), s.Workers, number(s.Started), number(s.Deaths))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "process\tencodes\ttime\taverage\tbytes\tdecodes\ttime\taverage\tbytes\ttasks\trun\t")
	for _, p := range s.Processes {
		name := p.Name
		if p.PID != 0 {
			name = fmt.Sprintf("%s %d", p.Name, p.PID)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", name, p.Encode.columns(), p.Decode.columns(), number(p.Tasks), short(p.Run))
	}
	t.Flush()
	b.WriteByte('\n')
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "function\tclass\tencodes\ttime\taverage\tbytes\tdecodes\ttime\taverage\tbytes\tlargest\t")
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
			if c.enc.Count == 0 && c.dec.Count == 0 {
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", f.Name, c.name, c.enc.columns(), c.dec.columns(), size(max(c.enc.Largest, c.dec.Largest)))
		}
	}
	t.Flush()
	for _, r := range s.Repeats {
		fmt.Fprintf(&b, "\nThe same %s of %s was sent %s: %s as %s of %s. Make it worker state (the kind's config), or bind it (MethodBound, Bind): then it crosses once per worker.\n",
			size(r.Bytes), r.Func, times(r.Count), size(r.Bytes*r.Count), r.Class, r.Func)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t Tally) columns() string {
	return fmt.Sprintf("%s\t%s\t%s\t%s", number(t.Count), short(t.Time), short(t.Average()), size(t.Bytes))
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}

func times(n int64) string { return number(n) + " times" }

// number writes n with commas.
func number(n int64) string {
	s := fmt.Sprint(n)
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
