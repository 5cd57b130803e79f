package main

import (
	"time"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// fixed/int64: numbers that are in the parent's heap are made available to workers that are up already, and each of them sums all of
// them once. The time ends with the last sum. All processes of a sample are new, so that none has the memory of the sample before.

// fixedWorkers is the number of workers that sum.
const fixedWorkers = 4

// fixedLen is how many numbers there are: 1.27 GB of them, 32 MB in a short run.
func fixedLen(c entrant.Config) int {
	if c.Short {
		return 4_000_000
	}
	return 158_489_319
}

// fixedData is n numbers, and their sum.
func fixedData(n int) (data []int64, sum int64) {
	data = make([]int64, n)
	for i := range data {
		data[i] = int64(i & 0xffff)
	}
	return data, sumInt64(data)
}

func sumInt64(data []int64) (sum int64) {
	for _, v := range data {
		sum += v
	}
	return sum
}

// Values of a sample of fixed/int64.
const (
	fixedTime = iota // milliseconds
	fixedPSS         // of all workers together, in MB
	fixedSize        // of the data, in MB
)

// fixedSample puts the values of a sample together. The workers must still have the data mapped.
func fixedSample(spent time.Duration, pids []int, n int) ([]float64, error) {
	pss, err := sumPSS(pids)
	return []float64{float64(spent.Nanoseconds()) / 1e6, pss, float64(n) * 8 / 1e6}, err
}

// fixedEntrants adds the entrants of fixed/int64 to all.
func fixedEntrants(all map[string]entrant.Maker) {
	all["fixed/memfd"] = floorFixed(false)
	all["fixed/pipes"] = floorFixed(true)
	all["fixed/brine"] = brineFixed
}

// fixedRow compares Brine with the floors. In a short run the data are not much more than the workers themselves, so that their memory has no bar.
func fixedRow(c entrant.Config) row {
	brine, memfd, pipes := "fixed/brine", "fixed/memfd", "fixed/pipes"
	pssBar := atMost(1.1)
	if c.Short {
		pssBar = bar{}
	}
	return row{
		name:     "fixed/int64",
		start:    fresh(inThisProgram),
		timeout:  4 * time.Minute,
		entrants: []string{brine, memfd, pipes},
		lines: []line{
			{unit: "ms", ours: ref{brine, fixedTime}, theirs: ref{memfd, fixedTime}, peer: "sealed memfd", bar: atMost(1.3)},
			{unit: "ms", ours: ref{brine, fixedTime}, theirs: ref{pipes, fixedTime}, peer: "a pipe to each", inverse: true},
			{name: "fixed/int64/pss", unit: "MB", ours: ref{brine, fixedPSS}, theirs: ref{brine, fixedSize}, peer: "the data", bar: pssBar},
			{name: "fixed/floors", unit: "ms", ours: ref{memfd, fixedTime}, theirs: ref{pipes, fixedTime}, peer: "a pipe to each", inverse: true},
			{name: "fixed/floors/pss", unit: "MB", ours: ref{memfd, fixedPSS}, theirs: ref{memfd, fixedSize}, peer: "the data", bar: pssBar},
		},
	}
}
