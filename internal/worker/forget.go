package worker

import (
	"runtime"
	"slices"
	"time"

	"github.com/brinepool/brine/internal/shm"
)

const (
	// forgetAfter is how long memory that nobody needs may stay mapped in a worker that does little else.
	forgetAfter = 100 * time.Millisecond
	// forgetShare is the part of its time that a worker may spend on finding such memory: one in so many.
	forgetShare = 50
)

// forget lets go of shared data that the parent has closed. What a task, or the state, still refers to stays mapped until
// the collector finds that it doesn't any more.
func (p *process) forget(id uint64) {
	p.mu.Lock()
	for k, b := range p.bound {
		if slices.Contains(b.shared, id) {
			p.bound[k] = binding{err: shm.ErrClosed} // no chunk comes for it any more
		}
	}
	p.forgotten++
	if p.forgotten == 1 {
		time.AfterFunc(max(forgetAfter, time.Until(p.sweepable)), p.sweep)
	}
	p.mu.Unlock()
	p.shared.Remove(id)
}

// sweep has the collector look for shared memory that nobody refers to: a worker that has nothing to do would keep it.
// What is still referred to is looked for again when something else is forgotten.
func (p *process) sweep() {
	p.mu.Lock()
	seen := p.forgotten
	p.mu.Unlock()
	start := time.Now()
	if p.shared.Unused() > 0 {
		runtime.GC()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := max(forgetAfter, forgetShare*time.Since(start))
	p.sweepable = time.Now().Add(pause)
	if p.forgotten -= seen; p.forgotten > 0 {
		time.AfterFunc(pause, p.sweep)
	}
}
