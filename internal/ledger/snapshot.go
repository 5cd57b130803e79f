package ledger

import (
	"slices"
	"time"
)

// Snapshot is the ledger as data, at one moment.
type Snapshot struct {
	Processes []ProcessSum // the parent first, then workers in the order they were started
	Functions []FunctionSum
	Details   [][]FunctionSum // of each process
	Repeats   []Repeat
}

// ProcessSum is the account of one process.
type ProcessSum struct {
	Name           string
	PID            int
	Ended          bool
	Encode, Decode Sum
	Shared         Sum // that it published or mapped; not among the others
	Tasks          int64
	Run            time.Duration
	Began          time.Duration // when it was started, from the ledger's beginning
	Times          Times         // of the parent there are none
	Peak           int64         // the most bytes that it had resident, 0 where that isn't known
}

// FunctionSum is the account of one function, or of a kind's configuration, over all processes.
type FunctionSum struct {
	Name    string
	Classes [Classes][2]Sum
}

// Snapshot adds up, at a moment that is counted from the ledger's beginning.
func (l *Ledger) Snapshot(now time.Duration) Snapshot {
	l.mu.Lock() // for all of it: a worker that ends meanwhile must not be counted twice
	defer l.mu.Unlock()
	processes := slices.Clone(l.processes)
	if l.earlier != nil {
		processes = slices.Insert(processes, 1, l.earlier)
	}
	var s Snapshot
	at := make(map[string]int)
	for _, p := range processes {
		sum := ProcessSum{
			Name: p.Name, PID: p.PID, Ended: p.ended, Tasks: p.tasks.Load(), Run: time.Duration(p.run.Load()),
			Began: time.Duration(p.life.began.Load()), Peak: p.life.peak.Load(),
		}
		if p != l.processes[0] {
			sum.Times = p.spent(now)
			sum.Run += p.running(now)
		}
		var detail []FunctionSum
		p.mu.Lock()
		for _, name := range p.order {
			i, ok := at[name]
			if !ok {
				i = len(s.Functions)
				at[name] = i
				s.Functions = append(s.Functions, FunctionSum{Name: name})
			}
			own := p.sum(name)
			for c, both := range own.Classes {
				enc, dec := both[Encode], both[Decode]
				if Class(c) == Shared {
					sum.Shared.add(enc)
					sum.Shared.add(dec)
				} else {
					sum.Encode.add(enc)
					sum.Decode.add(dec)
				}
				s.Functions[i].Classes[c][Encode].add(enc)
				s.Functions[i].Classes[c][Decode].add(dec)
			}
			detail = append(detail, own)
		}
		p.mu.Unlock()
		s.Processes = append(s.Processes, sum)
		s.Details = append(s.Details, detail)
	}
	s.Repeats = l.repeats.list()
	return s
}
