package main

import (
	"context"

	"github.com/brinepool/brine"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// brineInPlace is brinePayload with argument and result read where they lie, as the arena floor reads them.
func brineInPlace(size int) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		pool, err := brine.Open(ctx, payloadSides, size, &brine.Options{Workers: 1})
		if err != nil {
			return entrant.Entrant{}, err
		}
		s, trip := parentSide(size), callTrip.InPlace()
		ins := [][]byte{s.own}
		return entrant.Latency(c, func() error {
			used := 0
			err := brine.Each(ctx, pool, trip, ins, func(_ int, out []byte) error {
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
