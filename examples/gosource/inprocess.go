package main

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/brinepool/brine"
)

// parseHere does in goroutines of this process what Unordered does in workers, without what makes workers worth while:
// it is what their cost is compared with.
func parseHere(ctx context.Context, c config, goroutines int, files []string) iter.Seq[brine.Result[string, contents]] {
	return func(yield func(brine.Result[string, contents]) bool) {
		results := make(chan brine.Result[string, contents], 1024)
		var next atomic.Int64
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				r, err := openReader(ctx, c)
				if err != nil {
					results <- brine.Result[string, contents]{Index: -1, Err: err}
					return
				}
				defer r.Close()
				for i := int(next.Add(1)) - 1; i < len(files) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
					out, err := r.Parse(ctx, files[i])
					results <- brine.Result[string, contents]{Index: i, In: files[i], Out: out, Err: err}
				}
			})
		}
		go func() { wg.Wait(); close(results) }()
		more := true
		for r := range results { // to the end, so that no goroutine is left
			more = more && yield(r)
		}
	}
}
