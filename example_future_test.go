package brine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/brinepool/brine"
)

// A callback is an ordinary closure in the parent. Close waits for it.
func ExampleFuture_Then() {
	ctx := context.Background()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	name := "cube"
	brine.Go(ctx, pool, cubes, 4).Then(func(n int, err error) { fmt.Println(name, "returned", n, err) })
	if err := pool.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: cube returned 64 <nil>
}
