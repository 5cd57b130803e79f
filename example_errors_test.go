package brine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/brinepool/brine"
)

func give(_ context.Context, how string) (string, error) {
	if how == "exit" {
		os.Exit(3) // as a library might
	}
	return how, nil
}

var giving = brine.Plain(give)

// A task that takes its worker with it is an error of its own; the others have their results.
func ExampleTaskError() {
	ctx := context.Background()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, &brine.Options{Stderr: io.Discard})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	out, err := brine.Map(ctx, pool, giving, []string{"a", "exit", "b"})
	fmt.Printf("%q\n", out)
	if crash, ok := errors.AsType[*brine.CrashError](err); ok {
		fmt.Println(err)
		fmt.Println(crash.State.ExitCode())
	}
	// Output:
	// ["a" "" "b"]
	// brine: task 1 of brine_test.give: worker died: exit status 3
	// 3
}
