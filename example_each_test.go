package brine_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"github.com/brinepool/brine"
)

func blank(_ context.Context, n int) ([]byte, error) { return bytes.Repeat([]byte("."), n), nil }

var blanks = brine.Plain(blank)

// The results are read where the workers wrote them.
func ExampleEach() {
	ctx := context.Background()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	sizes := []int{1 << 20, 2 << 20, 3 << 20}
	dots := make([]int, len(sizes))
	err = brine.Each(ctx, pool, blanks, sizes, func(i int, page []byte) error {
		dots[i] = bytes.Count(page, []byte(".")) // page is valid until this function returns
		return nil
	})
	fmt.Println(dots, err)
	// Output: [1048576 2097152 3145728] <nil>
}
