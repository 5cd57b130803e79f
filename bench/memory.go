package main

import (
	"bufio"
	"fmt"
	"iter"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// streamSizes are the lengths at which stream/memory measures; the others are held against the first.
func streamSizes(c entrant.Config) []int {
	if c.Short {
		return []int{1e5, 1e6}
	}
	return []int{1e5, 1e6, 1e7}
}

// watchHeap samples the bytes of live and dead heap objects every few milliseconds until stop is called, which returns the most seen, in MB.
func watchHeap() (stop func() float64) {
	quit, peak := make(chan struct{}), make(chan uint64)
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		var most uint64
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(sample)
			most = max(most, sample[0].Value.Uint64())
			select {
			case <-tick.C:
			case <-quit:
				peak <- most
				return
			}
		}
	}()
	return func() float64 {
		close(quit)
		return float64(<-peak) / 1e6
	}
}

// peakRSS is the most memory this process ever had resident, in MB, from /proc/self/status.
func peakRSS() (float64, error) { return procMB("/proc/self/status", "VmHWM:") }

// sumPSS is the memory of processes, in MB, where a page that n processes have mapped counts one n'th for each.
func sumPSS(pids []int) (float64, error) {
	sum := 0.0
	for _, pid := range pids {
		pss, err := procMB(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
		if err != nil {
			return 0, err
		}
		sum += pss
	}
	return sum, nil
}

// procMB finds a figure by its name in a file of /proc.
func procMB(path, name string) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("memory: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		rest, ok := strings.CutPrefix(s.Text(), name)
		if !ok {
			continue
		}
		kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		if err != nil {
			return 0, fmt.Errorf("memory: %w", err)
		}
		return kb * 1024 / 1e6, nil
	}
	return 0, fmt.Errorf("memory: no %s in %s", name, path)
}

// count yields 0 … n-1 and never holds more than one of them.
func count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}
