package brine_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/brinepool/brine"
)

// page is an argument that drags a table along.
type page struct {
	Words map[string]string
	N     int
}

func number(_ context.Context, p page) (int, error) { return p.N, nil }

var numbered = brine.Plain(number)

// The bill finds what was sent again and again, and says what to do.
func ExamplePool_Stats() {
	ctx := context.Background()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	words := make(map[string]string)
	for i := range 50_000 {
		words[fmt.Sprint("word ", i)] = strings.Repeat("x", 20)
	}
	for i := range 4 {
		if _, err := brine.Call(ctx, pool, numbered, page{words, i}); err != nil {
			log.Println(err)
			return
		}
	}
	for _, r := range pool.Stats().Repeats {
		fmt.Printf("%s in the %s went out %d times\n%s\n", r.Path, r.Class, r.Count, r.Remedy)
	}
	// Output:
	// .Words in the argument went out 4 times
	// Send a *brine.FrozenMap[string, string], which Freeze makes of it: then all workers read one copy, and decode nothing. Or make it worker state, by way of the kind's config, or bind it (MethodBound, Bind): then it crosses once per worker.
}
