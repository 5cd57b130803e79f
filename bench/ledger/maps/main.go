// Command maps maps an empty task over many elements, each of which is a chunk of its own, and prints the nanoseconds of
// one. It is what bench/ledger builds twice.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/brinepool/brine"
)

const elements = 200_000

var nothing = brine.PlainNamed("nothing", func(_ context.Context, n int) (int, error) { return n, nil }).With(brine.Limits{Chunk: 1})

func main() {
	brine.Main()
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	if err != nil {
		return err
	}
	defer pool.Close()
	ns := make([]int, elements)
	if _, err := brine.Map(ctx, pool, nothing, ns[:elements/10]); err != nil {
		return err
	}
	start := time.Now()
	if _, err := brine.Map(ctx, pool, nothing, ns); err != nil {
		return err
	}
	_, err = fmt.Println(float64(time.Since(start)) / elements)
	return err
}
