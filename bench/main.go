// Command bench measures Brine against floors, which are what the machine charges for the bare operation, and against peers, in the
// same run and in turn, and prints the ratios beside the bars that the project has set itself.
//
//	go run ./bench                     # all rows, some three minutes
//	go run ./bench -run 'call|map'     # some rows
//	go run ./bench -short              # a look: small sizes, few rounds
//	go run ./bench -json > bench.json  # every sample
//
// README.md says what each row is and how to read a ratio.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/brinepool/brine"

	"github.com/brinepool/brine/bench/internal/entrant"
	"github.com/brinepool/brine/bench/internal/start"
)

func main() {
	start.ReadyMain() // first: the floor of a start has nothing before it
	brine.Main()
	if name, args := entrant.Role(); name != "" {
		os.Exit(role(name, args))
	}
	os.Exit(bench(os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes: figures that could not be had are an error; bars that were missed are one only with -check.
const (
	exitOK = iota
	exitError
	exitUsage
	exitShort
)

func bench(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		pattern = flags.String("run", "", "run only rows whose name matches this `regexp`")
		rounds  = flags.Int("rounds", 5, "how many `times` to go round the entrants of a row; 2 at most with -short")
		short   = flags.Bool("short", false, "small sizes and few rounds: a look, not a figure")
		asJSON  = flags.Bool("json", false, "print every sample as JSON instead of the table")
		check   = flags.Bool("check", false, "exit with status 3 if a bar is missed")
		list    = flags.Bool("list", false, "print the names of the rows and exit")
	)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	chosen, err := choose(rows(entrant.NewConfig(*short)), *pattern, *list)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "bench: -run: %v\n", err)
		return exitUsage
	case *rounds < 1:
		fmt.Fprintf(stderr, "bench: -rounds %d: must be at least 1\n", *rounds)
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "bench: unexpected argument %q\n", flags.Arg(0))
		return exitUsage
	}
	if *short {
		*rounds = min(*rounds, 2)
	}
	if len(chosen) == 0 {
		fmt.Fprintf(stderr, "bench: no row matches -run %q; -list names them\n", *pattern)
		return exitUsage
	}
	if *list {
		for _, r := range chosen {
			fmt.Fprintln(stdout, r.name)
		}
		return exitOK
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var p printer = newTable(stdout)
	if *asJSON {
		p = &jsonPrinter{w: stdout}
	}
	code, err := runAll(ctx, chosen, harness{rounds: *rounds, short: *short}, p, *check)
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitError
	}
	return code
}

// choose returns the rows whose name matches the pattern. A row that is to be named must match it from end to end, but is listed as the others are.
func choose(all []row, pattern string, list bool) ([]row, error) {
	part, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	whole, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, err
	}
	var chosen []row
	for _, r := range all {
		if part.MatchString(r.name) && (list || !r.byName || whole.MatchString(r.name)) {
			chosen = append(chosen, r)
		}
	}
	return chosen, nil
}
