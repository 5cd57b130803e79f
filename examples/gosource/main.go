// Gosource parses every Go file under a directory in worker processes and says what is there.
//
//	go run ./examples/gosource $(go env GOROOT)/src
//
// A file can make a parser do what recover can't catch: overflow the stack, loop for ever, take all memory. Here that
// ends one worker and becomes one line of the summary, with the name of the file, the cause and the stack. Flag -inject
// shows it; with -inprocess, which parses in goroutines of this process for comparison, the same ends the program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/brinepool/brine"
)

func main() {
	brine.Main()
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gosource:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := parseSettings(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	return run(ctx, s, os.Stdout, os.Stderr)
}

// run surveys the directory and writes the summary to stdout. A file that doesn't parse, or that ends its worker, is
// part of the summary and no error of run.
func run(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	files, err := goFiles(s.dir)
	if err != nil {
		return err
	}
	c := config{Dir: s.dir, Inject: s.inject}
	if s.inject != "" {
		if c.At, err = s.victim(files); err != nil {
			return err
		}
	}
	sum := newSummary()
	bar := newProgress(stderr, len(files))
	start := time.Now()
	if s.inProcess {
		for r := range parseHere(ctx, c, s.workers, files) {
			bar.step()
			sum.add(r)
		}
		bar.clear()
		if err := sum.print(stdout, time.Since(start), s); err != nil {
			return err
		}
		return ctx.Err()
	}

	pool, err := brine.Open(ctx, readers, c, &brine.Options{
		Workers:   s.workers,
		MaxMemory: s.memory << 20,
		Grace:     100 * time.Millisecond, // the parser doesn't look at its context: it can't be asked to stop
		Stderr:    io.Discard,             // its end is also in the error of a file that ends its worker
	})
	if err != nil {
		return err
	}
	defer pool.Close()
	limited := parse.With(brine.Limits{Timeout: s.timeout})
	for r := range brine.Unordered(ctx, pool, limited, slices.Values(files)) {
		if r.Index < 0 {
			bar.clear()
			return fmt.Errorf("after %d of %d files: %w", bar.done, len(files), r.Err)
		}
		bar.step()
		sum.add(r)
	}
	bar.clear()
	if err := sum.print(stdout, time.Since(start), s); err != nil {
		return err
	}
	if err := pool.Close(); err != nil {
		return err
	}
	fmt.Fprintln(stdout)
	return pool.Report(stdout)
}
