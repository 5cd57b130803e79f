package brine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/brinepool/brine"
)

func cube(_ context.Context, n int) (int, error) { return n * n * n, nil }

var cubes = brine.Plain(cube)

// The sequence is endless; leaving the loop ends the work.
func ExampleAll() {
	ctx := context.Background()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	numbers := func(yield func(int) bool) {
		for n := 1; yield(n); n++ {
		}
	}
	for c, err := range brine.All(ctx, pool, cubes, numbers) {
		if err != nil || c > 100 {
			break
		}
		fmt.Println(c)
	}
	// Output:
	// 1
	// 8
	// 27
	// 64
}
