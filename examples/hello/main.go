// Hello multiplies numbers in worker processes.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/brinepool/brine"
)

type scale struct{ by int } // worker state: it never crosses, so it may hold anything

func open(_ context.Context, by int) (*scale, error)         { return &scale{by}, nil } // once in each worker
func (s *scale) Times(_ context.Context, n int) (int, error) { return n * s.by, nil }   // a task: a plain method

var (
	scales = brine.Define(open)
	times  = brine.Method(scales, (*scale).Times)
)

func main() {
	brine.Main() // in a worker it never returns
	ctx := context.Background()
	pool, err := brine.Open(ctx, scales, 3, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	fmt.Println(brine.Map(ctx, pool, times, []int{1, 2, 3}))
}
