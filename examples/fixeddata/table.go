package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"
)

// printTable prints a row for each trial, kind after kind.
func printTable(w io.Writer, kinds []kind, trials []*trial) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "pool\tintegers\tdata\tset-up\tround\tper iteration\tmemory of workers\t")
	for _, k := range kinds {
		for _, tr := range trials {
			if tr.kind.name != k.name {
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", k.name, grouped(tr.size), megabytes(8*int64(tr.size)),
				milliseconds(tr.setup), microseconds(tr.round), milliseconds(tr.iteration), megabytes(tr.memory))
		}
	}
	return t.Flush()
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func megabytes(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

func microseconds(d time.Duration) string { return fmt.Sprintf("%.0f µs", float64(d)/1e3) }
