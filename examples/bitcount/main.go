// Bitcount counts the one-bits of all integers below 2^16: with a big table that the initializer makes the worker's
// state, and by computing. It is pattern 2 of "Pass Data to Workers w/o Globals": what the initializer returns is handed
// to the function, so the table needs no global variable.
package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log"
	"math/bits"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/brinepool/brine"
)

const limit = 1 << 16

// table is the state of a worker: the binary digits of each integer.
type table map[int]string

func keep(_ context.Context, t table) (table, error) { return t, nil }

// Count looks the digits up.
func (t table) Count(_ context.Context, n int) (int, error) { return strings.Count(t[n], "1"), nil }

// compute asks the processor.
func compute(_ context.Context, n int) (int, error) { return bits.OnesCount(uint(n)), nil }

var (
	tables   = brine.Define(keep)
	lookUp   = brine.Method(tables, table.Count)
	computed = brine.Plain(compute)
)

func main() {
	brine.Main()
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, stdout io.Writer) error {
	digits := make(table, limit)
	for n := range limit {
		digits[n] = strconv.FormatInt(int64(n), 2)
	}
	if err := count(ctx, stdout, "looked up in the workers' table", tables, digits, lookUp); err != nil {
		return err
	}
	return count(ctx, stdout, "computed", brine.Stateless, struct{}{}, computed)
}

// count runs one task for each integer and prints the sum and the bill.
func count[C, S any](ctx context.Context, w io.Writer, how string, kind *brine.Kind[C, S], config C, f brine.Func[S, int, int]) error {
	start := time.Now()
	pool, err := brine.Open(ctx, kind, config, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	ready := time.Since(start)
	sum := 0
	for r := range brine.Unordered(ctx, pool, f, integers(limit)) {
		if r.Err != nil {
			return r.Err
		}
		sum += r.Out
	}
	fmt.Fprintf(w, "%s: %d bits in %d integers; workers ready after %.1f ms, done after %.1f ms\n\n",
		how, sum, limit, ready.Seconds()*1e3, time.Since(start).Seconds()*1e3)
	if err := pool.Close(); err != nil {
		return err
	}
	if err := pool.Report(w); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w)
	return err
}

func integers(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}
