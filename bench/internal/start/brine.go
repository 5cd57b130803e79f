package start

import (
	"context"
	"time"

	"github.com/brinepool/brine"

	"github.com/brinepool/brine/bench/internal/entrant"
)

var nothing = brine.Plain(func(_ context.Context, n int) (int, error) { return n, nil })

// Brine measures, in milliseconds, Open of a pool with one worker; Close is not in the time.
func Brine(ctx context.Context, _ entrant.Config) (entrant.Entrant, error) {
	return medianOfStarts(func() (time.Duration, error) { return openOnce(ctx, false) })
}

// BrineCall measures Open and a first call: what it takes until a worker has really done something, whatever Open waits for.
func BrineCall(ctx context.Context, _ entrant.Config) (entrant.Entrant, error) {
	return medianOfStarts(func() (time.Duration, error) { return openOnce(ctx, true) })
}

func openOnce(ctx context.Context, call bool) (time.Duration, error) {
	begin := time.Now()
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	if err != nil {
		return 0, err
	}
	if call {
		_, err = brine.Call(ctx, pool, nothing, 1)
	}
	took := time.Since(begin)
	if closeErr := pool.Close(); err == nil {
		err = closeErr
	}
	return took, err
}
