package entrant

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// PerCall calls f again and again for about the window and returns the mean time of a call, in microseconds.
func PerCall(window time.Duration, f func() error) (float64, error) {
	n, start := 0, time.Now()
	for batch := 1; ; {
		for range batch {
			if err := f(); err != nil {
				return 0, err
			}
		}
		n += batch
		spent := time.Since(start)
		if spent >= window {
			return float64(spent.Nanoseconds()) / float64(n) / 1e3, nil
		}
		// Look at the clock about a hundred times a window: often enough to end in time, too seldom to be measured.
		batch = max(1, int(float64(n)*float64(window)/float64(spent)/100))
	}
}

// Rate lets callers goroutines call f for about the window and returns the calls a second, in thousands.
func Rate(window time.Duration, callers int, f func() error) (float64, error) {
	var (
		calls atomic.Int64
		stop  atomic.Bool
		once  sync.Once
		first error
		wg    sync.WaitGroup
	)
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for !stop.Load() {
				if err := f(); err != nil {
					once.Do(func() { first = err })
					stop.Store(true)
					return
				}
				calls.Add(1)
			}
		})
	}
	time.Sleep(window)
	stop.Store(true)
	wg.Wait()
	spent := time.Since(start)
	return float64(calls.Load()) / spent.Seconds() / 1e3, first
}

// Latency makes an entrant whose sample is the microseconds of one call. It calls f for a quarter of a window first, and warmCalls times at least, unmeasured.
func Latency(c Config, f func() error, done func() error) (Entrant, error) {
	return warmed(Entrant{Close: done, Sample: func(context.Context) ([]float64, error) {
		v, err := PerCall(c.Window, f)
		return []float64{v}, err
	}}, c, f)
}

// Throughput makes an entrant whose sample is the thousands of calls a second that callers goroutines make together.
func Throughput(c Config, callers int, f func() error, done func() error) (Entrant, error) {
	return warmed(Entrant{Close: done, Sample: func(context.Context) ([]float64, error) {
		v, err := Rate(c.Window, callers, f)
		return []float64{v}, err
	}}, c, f)
}

// warmCalls is the least number of unmeasured calls: the first of large payloads pay for the memory that the others use again.
const warmCalls = 4

func warmed(e Entrant, c Config, f func() error) (Entrant, error) {
	var err error
	for i := 0; i < warmCalls && err == nil; i++ {
		err = f()
	}
	if err == nil {
		_, err = PerCall(c.Window/4, f)
	}
	if err != nil {
		if e.Close != nil {
			_ = e.Close()
		}
		return Entrant{}, err
	}
	return e, nil
}
