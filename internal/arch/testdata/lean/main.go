// Lean is a program that uses Brine, for the test of what a user's program links.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/brinepool/brine"
)

type greeter struct{ greeting string }

func open(_ context.Context, greeting string) (*greeter, error) { return &greeter{greeting}, nil }

func (g *greeter) Greet(_ context.Context, name string) (string, error) {
	return g.greeting + ", " + name, nil
}

var (
	greeters = brine.Define(open)
	greet    = brine.Method(greeters, (*greeter).Greet)
)

func main() {
	brine.Main()
	ctx := context.Background()
	pool, err := brine.Open(ctx, greeters, "hello", nil)
	if err != nil {
		log.Fatal(err)
	}
	out, err := brine.Map(ctx, pool, greet, []string{"pipe", "frame"})
	fmt.Println(out, err)
	if err := pool.Close(); err != nil {
		log.Fatal(err)
	}
}
