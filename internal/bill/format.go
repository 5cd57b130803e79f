package bill

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// table is rows of columns, the heads first. Its first columns are flush left, as many as left says, the others flush
// right.
type table struct {
	left int
	rows [][]string
}

func (t *table) row(parts ...[]string) { t.rows = append(t.rows, slices.Concat(parts...)) }

func (t *table) write(b *strings.Builder) {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			width := widths[i]
			if i < t.left {
				width = -width // flush left
			}
			cells[i] = fmt.Sprintf("%*s", width, cell)
		}
		b.WriteString(strings.TrimRight(strings.Join(cells, "  "), " "))
		b.WriteByte('\n')
	}
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return Number(n) + " " + what + "s"
}

// Times writes how often something happened.
func Times(n int64) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return Number(n) + " times"
}

// Number writes n with commas.
func Number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Size writes a number of bytes in the unit that suits it.
func Size(n int64) string {
	switch f := float64(n); {
	case n < 10_000:
		return Number(n) + " B"
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", f/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", f/1e6)
	default:
		return fmt.Sprintf("%.2f GB", f/1e9)
	}
}

// short writes nanoseconds with three digits, in the unit that suits them.
func short(ns int64) string {
	switch d := time.Duration(ns); {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", ns)
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	default:
		return fmt.Sprintf("%.4g s", d.Seconds())
	}
}

// percent writes a part of a whole.
func percent(part, whole int64) string {
	if whole <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// ShortName leaves the folders of a Go package out of a function's name.
func ShortName(name string) string {
	base, _, _ := strings.Cut(name, "[") // type arguments have paths of their own
	return name[strings.LastIndexByte(base, '/')+1:]
}
