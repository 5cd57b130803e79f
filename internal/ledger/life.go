package ledger

import (
	"sync/atomic"
	"time"
)

// life is when a process came and went, counted from the ledger's beginning; zero for what has not happened.
type life struct{ began, spoke, ready, ended, peak, busy atomic.Int64 }

// Times is how the time of a process went, from its start to its end or to now.
type Times struct {
	Starting     time.Duration // until its first word
	Initialising time.Duration // until it was ready for tasks
	Working      time.Duration // running functions, decoding and encoding
	Waiting      time.Duration // the rest
}

func (t *Times) add(o Times) {
	t.Starting += o.Starting
	t.Initialising += o.Initialising
	t.Working += o.Working
	t.Waiting += o.Waiting
}

// Spoke says when the process said its first word.
func (p *Process) Spoke(at time.Duration) { p.life.spoke.Store(int64(at)) }

// Ready says when the process was ready for tasks.
func (p *Process) Ready(at time.Duration) { p.life.ready.Store(int64(at)) }

// Busy says since when the process has been at work on something that it has not told of, 0 for nothing.
func (p *Process) Busy(since time.Duration) { p.life.busy.Store(int64(since)) }

// BusySince returns what Busy said last.
func (p *Process) BusySince() time.Duration { return time.Duration(p.life.busy.Load()) }

// Peak says how many bytes the process had resident at most, as far as one knows.
func (p *Process) Peak(bytes int64) {
	for old := p.life.peak.Load(); bytes > old && !p.life.peak.CompareAndSwap(old, bytes); old = p.life.peak.Load() {
	}
}

// spent returns how the time of a process went until it ended, or until now. The caller holds the ledger's lock.
func (p *Process) spent(now time.Duration) Times {
	if end := time.Duration(p.life.ended.Load()); end > 0 {
		now = end
	}
	began, spoke, ready := time.Duration(p.life.began.Load()), time.Duration(p.life.spoke.Load()), time.Duration(p.life.ready.Load())
	switch {
	case p.PID == 0: // several
		return p.times
	case spoke == 0:
		return Times{Starting: max(0, now-began)}
	case ready == 0:
		return Times{Starting: spoke - began, Initialising: max(0, now-spoke)}
	}
	t := Times{Starting: spoke - began, Initialising: ready - spoke, Working: p.working() + p.running(now)}
	t.Waiting = max(0, now-ready-t.Working)
	return t
}

// running returns how long the process has been at something that it has not told of.
func (p *Process) running(now time.Duration) time.Duration {
	if since := p.BusySince(); since > 0 {
		return max(0, now-since)
	}
	return 0
}

// working returns how long the process was at work on tasks.
func (p *Process) working() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.run.Load()
	for _, name := range p.order {
		for class, both := range p.sum(name).Classes {
			if Class(class) != Config && Class(class) != Shared {
				all += int64(both[Encode].Time + both[Decode].Time)
			}
		}
	}
	return time.Duration(all)
}
