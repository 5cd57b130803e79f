package main

import (
	"testing"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// TestFixed takes a sample of every entrant of fixed/int64. The sums are checked by the entrants themselves; that the data was there
// once, or once a worker, shows in the workers' memory.
func TestFixed(t *testing.T) {
	t.Parallel()
	all := map[string]entrant.Maker{}
	fixedEntrants(all)
	c := entrant.NewConfig(true)
	size := float64(fixedLen(c)) * 8 / 1e6
	for name, maker := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := maker(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			values, err := e.Sample(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if values[fixedTime] <= 0 || values[fixedSize] != size {
				t.Errorf("time and size are %v and %v, want some time and %v", values[fixedTime], values[fixedSize], size)
			}
			copies := values[fixedPSS] / size
			switch name {
			case "fixed/pipes":
				if copies < fixedWorkers {
					t.Errorf("the workers have %.2f copies, want one each", copies)
				}
			default:
				if copies < 0.7 || copies > 3 { // the parent may have a share, and the workers are something themselves
					t.Errorf("the workers have %.2f copies, want one in all", copies)
				}
			}
		})
	}
}
