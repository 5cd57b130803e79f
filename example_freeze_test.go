package brine_test

import (
	"context"
	"fmt"
	"log"
	"strconv"

	"github.com/brinepool/brine"
)

type query struct {
	Table *brine.FrozenMap[string, int]
	Key   string
}

func lookUp(_ context.Context, q query) (string, error) {
	if n, ok := q.Table.Get(q.Key); ok {
		return fmt.Sprintf("%s is %d", q.Key, n), nil
	}
	return fmt.Sprintf("%s is none of %d", q.Key, q.Table.Len()), nil
}

var lookedUp = brine.Plain(lookUp)

// The table is in every argument and is never sent: the workers look things up in the same memory.
func ExampleFreeze() {
	ctx := context.Background()
	squares := make(map[string]int)
	for i := range 100_000 {
		squares[strconv.Itoa(i)+"²"] = i * i
	}
	table, err := brine.Freeze(squares)
	if err != nil {
		log.Fatal(err)
	}
	defer table.Close()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, nil)
	if err != nil {
		log.Println(err)
		return
	}
	defer pool.Close()
	for _, key := range []string{"12²", "99999²", "-1²"} {
		fmt.Println(brine.Call(ctx, pool, lookedUp, query{table, key}))
	}
	// Output:
	// 12² is 144 <nil>
	// 99999² is 9999800001 <nil>
	// -1² is none of 100000 <nil>
}
