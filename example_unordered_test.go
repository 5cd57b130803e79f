package brine_test

import (
	"context"
	"fmt"
	"log"
	"slices"

	"github.com/brinepool/brine"
)

// Results come as the tasks end, each with its element.
func ExampleUnordered() {
	ctx := context.Background()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	sum := 0
	for r := range brine.Unordered(ctx, pool, cubes, slices.Values([]int{1, 2, 3})) {
		if r.Err != nil || r.Out != r.In*r.In*r.In {
			fmt.Println(r.Index, r.Err)
		}
		sum += r.Out
	}
	fmt.Println(sum)
	// Output: 36
}
