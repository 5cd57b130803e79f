package brine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/brinepool/brine"
)

type measurement struct {
	Place  string `json:"place"`
	Metres int    `json:"metres"`
}

func doubled(_ context.Context, m measurement) (measurement, error) {
	m.Metres *= 2
	return m, nil
}

var twice = brine.Plain(doubled)

// With another codec, values cross as that says: here as JSON.
func ExampleOptions_codec() {
	ctx := context.Background()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, &brine.Options{Codec: brine.JSON})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	out, err := brine.Call(ctx, pool, twice, measurement{"Brocken", 1141})
	fmt.Println(out, err)
	// Output: {Brocken 2282} <nil>
}
