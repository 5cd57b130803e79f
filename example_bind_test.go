package brine_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/brinepool/brine"
)

func replace(_ struct{}, _ context.Context, words map[string]string, text string) (string, error) {
	return words[text] + strings.Repeat("!", len(words)), nil
}

var replaceWith = brine.MethodBound(brine.Stateless, replace)

// The map goes to each worker once, not with every task.
func ExampleBind() {
	ctx := context.Background()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	greet := brine.Bind(replaceWith, map[string]string{"hi": "good day", "bye": "farewell"})
	out, err := brine.Map(ctx, pool, greet, []string{"hi", "bye"})
	fmt.Println(out, err)
	// Output: [good day!! farewell!!] <nil>
}
