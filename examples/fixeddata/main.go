// Fixeddata repeats an experiment: what does it cost to give four worker processes fixed data, from 100,000 integers to
// 158 million, that every task looks at?
//
// "In Python, choose builtin process pools over custom process pools" mapped 100 lists of 100 ones each to integers,
// nine times for each size. Its hand-made pool got ten times slower with the size, and ended in a broken pipe. Here the
// same is done by Brine's pool, whose workers share one copy of the data, and by a pool of processes and pipes that is
// made by hand in custom.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"

	"github.com/brinepool/brine"
)

// flatLimit is how much slower the slowest of the sizes may be than the fastest, for -check.
const flatLimit = 1.2

// settings say what is measured.
type settings struct {
	kinds  []kind
	sizes  []int
	rounds int    // in a row
	turns  int    // of each size
	out    string // directory for the plot, or empty
	check  bool
}

func main() {
	brine.Main()
	customMain()
	s, err := parse(os.Args[1:])
	if err == nil {
		err = run(context.Background(), os.Stdout, s)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		log.Fatal(err)
	}
}

func parse(args []string) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("fixeddata", flag.ContinueOnError)
	largest := fs.Int("max", sizes[len(sizes)-1], "leave out sizes above this `number` of integers")
	fs.IntVar(&s.rounds, "rounds", 9, "`number` of rounds in a row")
	fs.IntVar(&s.turns, "turns", 400, "`number` of times that each size has its rounds, in turn with the others")
	chunk := fs.Int("chunk", 0, "`number` of lists that Brine gives a worker at a time, 0 for automatic")
	which := fs.String("pool", "both", "brine, custom or both")
	fs.StringVar(&s.out, "out", "", "draw the plot, fixeddata.svg, into this `directory`")
	fs.BoolVar(&s.check, "check", false, fmt.Sprintf("fail if a round of Brine's takes over %.1f times as long with one size as with another", flatLimit))
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	s.sizes = slices.DeleteFunc(slices.Clone(sizes), func(n int) bool { return n > *largest })
	s.kinds = slices.DeleteFunc(kinds(*chunk), func(k kind) bool { return *which != "both" && *which != k.name })
	switch {
	case fs.NArg() > 0:
		return s, fmt.Errorf("fixeddata: unexpected argument %q", fs.Arg(0))
	case len(s.sizes) == 0:
		return s, fmt.Errorf("fixeddata: -max is %d, the smallest size is %d", *largest, sizes[0])
	case len(s.kinds) == 0:
		return s, fmt.Errorf("fixeddata: -pool is %q, not brine, custom or both", *which)
	case *chunk < 0:
		return s, fmt.Errorf("fixeddata: -chunk is %d, it can't be negative", *chunk)
	case s.rounds < 1 || s.turns < 1:
		return s, errors.New("fixeddata: -rounds and -turns are at least 1")
	case s.check && s.kinds[0].name != "brine":
		return s, errors.New("fixeddata: -check is about Brine's pool, which -pool leaves out")
	}
	return s, nil
}

func run(ctx context.Context, stdout io.Writer, s settings) error {
	trials, err := measure(ctx, s)
	if err != nil {
		return err
	}
	if err := printTable(stdout, s.kinds, trials); err != nil {
		return err
	}
	if s.out != "" {
		if err := drawPlot(trials, filepath.Join(s.out, "fixeddata.svg")); err != nil {
			return err
		}
	}
	fmt.Fprintln(stdout)
	for _, k := range s.kinds {
		fmt.Fprintf(stdout, "%s: with the slowest size a round takes %.2f times as long as with the fastest\n", k.name, flatness(trials, k.name))
	}
	if f := flatness(trials, "brine"); s.check && f > flatLimit {
		return fmt.Errorf("fixeddata: rounds of Brine's pool are not flat: %.2f is over %.1f", f, flatLimit)
	}
	return nil
}
