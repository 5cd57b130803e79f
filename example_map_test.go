package brine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/brinepool/brine"
)

// A dictionary is worker state: each worker has its own, and it never crosses.
type dictionary struct{ words map[int]string }

func openDictionary(_ context.Context, language string) (*dictionary, error) {
	if language == "fr" {
		return &dictionary{map[int]string{1: "un", 2: "deux", 3: "trois"}}, nil
	}
	return nil, fmt.Errorf("no dictionary for %q", language)
}

func (d *dictionary) Word(_ context.Context, n int) (string, error) { return d.words[n], nil }

var (
	dictionaries = brine.Define(openDictionary)
	word         = brine.Method(dictionaries, (*dictionary).Word)
)

func ExampleMap() {
	ctx := context.Background()
	pool, err := brine.Open(ctx, dictionaries, "fr", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	words, err := brine.Map(ctx, pool, word, []int{3, 1, 2})
	fmt.Println(words, err)
	// Output: [trois un deux] <nil>
}

func ExampleOpen() {
	_, err := brine.Open(context.Background(), dictionaries, "xx", nil)
	fmt.Println(err)
	// Output: brine: initializer of github.com/brinepool/brine_test.openDictionary: no dictionary for "xx"
}
