package brine_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/brinepool/brine"
)

func spin(_ context.Context, n int) (int, error) {
	for n > 0 { // and never less
		n++
	}
	return n, nil
}

var spinning = brine.Plain(spin)

// A task that listens to nothing is ended with its worker, and another worker goes on.
func ExampleFunc_With() {
	ctx := context.Background()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, Grace: 50 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	_, err = brine.Call(ctx, pool, spinning.With(brine.Limits{Timeout: 50 * time.Millisecond}), 1)
	timeout, ok := errors.AsType[*brine.TimeoutError](err)
	fmt.Println(errors.Is(err, brine.ErrTimeout), ok && timeout.Forced)
	n, err := brine.Call(ctx, pool, cubes, 3)
	fmt.Println(n, err)
	// Output:
	// true true
	// 27 <nil>
}
