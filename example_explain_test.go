package brine_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/brinepool/brine"
)

// A converter drags its cache along wherever it goes.
type converter struct {
	Unit  string
	Cache map[int]string
	Log   func(string) `brine:"-"`
}

func convert(_ struct{}, _ context.Context, c *converter, n int) (string, error) {
	return c.Cache[n] + c.Unit, nil
}

var converted = brine.MethodBound(brine.Stateless, convert)

// What makes a value large, and what of it crosses how often when it is bound to a function instead.
func ExampleExplain() {
	c := &converter{Unit: "mm", Cache: make(map[int]string)}
	for i := range 1 << 16 {
		c.Cache[i] = strings.Repeat("x", 10)
	}
	c.Cache[42] = strings.Repeat("x", 200_000)
	fmt.Println(brine.Explain(c))
	fmt.Println(brine.Explain(brine.Bind(converted, c)))
	// Output:
	// *brine_test.converter, 1.6 MB
	//   .Cache map[int]string, 65,536 entries, 1.6 MB, 100.0 %
	//     [42] string, 200.0 kB, 12.2 %
	//     65,535 others, 1.4 MB, 87.8 %
	//   .Unit string, 6 B, 0.0 %
	//
	// brine_test.convert function, 1.6 MB (crosses by its name, once per worker)
	//   bound *brine_test.converter, 1.6 MB, 100.0 % (sent once per worker)
	//     .Cache map[int]string, 65,536 entries, 1.6 MB, 100.0 %
	//       [42] string, 200.0 kB, 12.2 %
	//       65,535 others, 1.4 MB, 87.8 %
	//     .Unit string, 6 B, 0.0 %
	//   argument int, 8 B, 0.0 % (with each task)
	//   result string, 4 B, 0.0 % (with each task; at least)
}
