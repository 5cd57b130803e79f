package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/brinepool/brine"
)

// bill is what one way cost.
type bill struct {
	way    string
	wall   time.Duration
	stats  brine.Stats
	input  traffic // config, bound arguments and arguments
	result traffic
}

// traffic is what crossed one way.
type traffic struct{ encode, decode brine.Tally }

func newBill(way string, wall time.Duration, s brine.Stats) bill {
	b := bill{way: way, wall: wall, stats: s}
	for _, f := range s.Functions {
		b.input.encode = sum(b.input.encode, f.ConfigEncode, f.BoundEncode, f.ArgumentEncode)
		b.input.decode = sum(b.input.decode, f.ConfigDecode, f.BoundDecode, f.ArgumentDecode)
		b.result.encode = sum(b.result.encode, f.ResultEncode)
		b.result.decode = sum(b.result.decode, f.ResultDecode)
	}
	return b
}

func sum(tallies ...brine.Tally) (all brine.Tally) {
	for _, t := range tallies {
		all.Count += t.Count
		all.Bytes += t.Bytes
		all.Time += t.Time
		all.Largest = max(all.Largest, t.Largest)
	}
	return all
}

// printBills prints the bills as the columns of a table.
func printBills(w io.Writer, bills []bill) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	row := func(name string, cell func(bill) string) {
		fmt.Fprint(t, name, "\t")
		for _, b := range bills {
			fmt.Fprint(t, cell(b), "\t")
		}
		fmt.Fprintln(t)
	}
	tally := func(name string, of func(bill) brine.Tally) {
		row(name, func(b bill) string { return count(of(b).Count) })
		row("time", func(b bill) string { return duration(of(b).Time) })
		row("bytes", func(b bill) string { return megabytes(of(b).Bytes) })
		row("largest", func(b bill) string { return megabytes(of(b).Largest) })
	}
	row("", func(b bill) string { return b.way })
	tally("inputs encoded", func(b bill) brine.Tally { return b.input.encode })
	tally("inputs decoded", func(b bill) brine.Tally { return b.input.decode })
	row("results' encode", func(b bill) string { return duration(b.result.encode.Time) })
	row("results' decode", func(b bill) string { return duration(b.result.decode.Time) })
	row("wall time", func(b bill) string { return duration(b.wall) })
	return t.Flush()
}

// printAdvice repeats what pool.Report says about values that went out again and again.
func printAdvice(w io.Writer, bills []bill) error {
	for _, b := range bills {
		for _, r := range b.stats.Repeats {
			fmt.Fprintf(w, "\n%s: the same %s went out %d times, %s in all, as %s in the %s\n",
				b.way, megabytes(r.Bytes), r.Count, megabytes(r.Bytes*r.Count), r.Path, r.Class)
		}
	}
	return nil
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func duration(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
