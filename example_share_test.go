package brine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/brinepool/brine"
)

// A span is a part of the data.
type span struct{ Lo, Hi int }

func openMeters(_ context.Context, data *brine.Shared[float64]) (*brine.Shared[float64], error) {
	return data, nil
}

func mean(data *brine.Shared[float64], _ context.Context, s span) (float64, error) {
	sum := 0.0
	for _, v := range data.Slice()[s.Lo:s.Hi] {
		sum += v
	}
	return sum / float64(s.Hi-s.Lo), nil
}

var (
	meters = brine.Define(openMeters)
	meanOf = brine.Method(meters, mean)
)

// The data is in memory once, however many workers read it.
func ExampleShare() {
	ctx := context.Background()
	data := make([]float64, 1_000_000)
	for i := range data {
		data[i] = float64(i)
	}
	shared, err := brine.Share(data)
	if err != nil {
		log.Fatal(err)
	}
	defer shared.Close()
	pool, err := brine.Open(ctx, meters, shared, nil)
	if err != nil {
		log.Println(err)
		return
	}
	defer pool.Close()
	means, err := brine.Map(ctx, pool, meanOf, []span{{0, 10}, {0, 1_000_000}, {500_000, 500_100}})
	fmt.Println(means, err)
	// Output: [4.5 499999.5 500049.5] <nil>
}
