//go:build !each

package main

import "github.com/brinepool/brine/bench/internal/entrant"

// withEach says whether this program has the entrants that need brine.Each. See inplace.go.
const withEach = false

func brineInPlace(int) entrant.Maker { return nil }
