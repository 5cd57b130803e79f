// Pickle repeats an experiment: what does it cost to give worker processes a table of 1,048,576 entries?
//
// "Stuck in a Pickle" (thelaziestprogrammer.com) found a pool six times slower than a plain loop, for the method that
// it mapped dragged its object, with a dictionary of 40 MB, through pickle with every chunk. Here the same work is done
// in a loop and then in pools that get the table in four ways, and the pools' bills are put side by side.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"reflect"
	"time"

	"github.com/brinepool/brine"
)

func main() {
	brine.Main()
	entries := flag.Int("entries", 1<<20, "`size` of the table")
	items := flag.Int("items", 1_000_000, "`number` of integers to convert")
	workers := flag.Int("workers", 2, "`number` of worker processes")
	flag.Parse()
	if *entries < 1 || *items < 1 || *workers < 1 || flag.NArg() > 0 {
		log.Fatal("pickle: -entries, -items and -workers are at least 1, and there are no other arguments")
	}
	if err := run(context.Background(), os.Stdout, *entries, *items, *workers); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, stdout io.Writer, entries, items, workers int) error {
	ns := make([]int, items)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range ns {
		ns[i] = random.IntN(entries)
	}

	start := time.Now()
	c := newConverter(entries)
	want := make([][]byte, items)
	for i, n := range ns {
		want[i] = c.convert(n)
	}
	bills := []bill{{way: "a loop", wall: time.Since(start)}}

	for _, w := range ways {
		start := time.Now()
		got, stats, err := w.run(ctx, c.Digits, ns, &brine.Options{Workers: workers})
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		bills = append(bills, newBill(w.name, time.Since(start), stats))
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("%s: the results are not those of the loop", w.name)
		}
	}
	fmt.Fprintf(stdout, "%d integers converted with a table of %d entries, %d workers\n\n", items, entries, workers)
	if err := printBills(stdout, bills); err != nil {
		return err
	}
	return printAdvice(stdout, bills)
}
