package sched

import (
	"sync/atomic"
	"time"
)

// Cost estimates how long one task of a function takes, as an exponentially weighted moving average. It is safe for
// concurrent use; estimates that race lose one another's last sample, which does no harm.
type Cost struct{ ns atomic.Int64 }

// Observe takes in that n tasks took d together.
func (c *Cost) Observe(n int, d time.Duration) {
	if n <= 0 || d < 0 {
		return
	}
	sample := max(1, int64(d)/int64(n))
	old := c.ns.Load()
	if old == 0 {
		c.ns.Store(sample)
		return
	}
	// A frame of many tasks tells more than one of few; half of the old estimate is always kept against outliers.
	weight := min(0.5, 0.1+float64(n)/32)
	c.ns.Store(max(1, old+int64(weight*float64(sample-old))))
}

// Task returns the estimate, 0 while nothing is known.
func (c *Cost) Task() time.Duration { return time.Duration(c.ns.Load()) }
