//go:build each

package main

import (
	"context"

	"github.com/brinepool/brine"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// withEach says whether this program has the entrants that need brine.Each.
const withEach = true

// brineInPlace is brinePayload with the result read where it lies, for the length of the callback.
func brineInPlace(size int) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		pool, err := brine.Open(ctx, payloadSides, size, &brine.Options{Workers: 1})
		if err != nil {
			return entrant.Entrant{}, err
		}
		s := parentSide(size)
		ins := [][]byte{s.own}
		return entrant.Latency(c, func() error {
			used := 0
			err := brine.Each(ctx, pool, callTrip, ins, func(_ int, out []byte) error {
				used++
				return s.read(out)
			})
			if err != nil {
				return err
			}
			return same(used, len(ins))
		}, pool.Close)
	}
}
