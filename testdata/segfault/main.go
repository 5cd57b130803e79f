// Command segfault has a task write to address zero in C, and prints what its pool makes of it.
package main

/*
void break_everything(void) { *(volatile int *)8 = 1; }
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/brinepool/brine"
)

var crash = brine.Plain(crashInC)

func crashInC(_ context.Context, n int) (int, error) {
	if n == 3 {
		C.break_everything()
	}
	return n, nil
}

func main() {
	brine.Main()
	ctx := context.Background()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer pool.Close()
	outs, err := brine.Map(ctx, pool, crash.With(brine.Limits{Chunk: 64}), []int{1, 2, 3, 4, 5})
	fmt.Println(outs)
	fmt.Println(err)
	if c, ok := errors.AsType[*brine.CrashError](err); ok {
		fmt.Println("state:", c.State, "cause:", c.Cause(), "function:", c.Function())
		fmt.Println("in C:", strings.Contains(string(c.Report)+string(c.Stderr), "crashInC"))
	}
}
