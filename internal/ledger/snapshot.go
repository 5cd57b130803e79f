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
}

// FunctionSum is the account of one function, or of a kind's configuration, over all processes.
type FunctionSum struct {
	Name    string
	Classes [Classes][2]Sum
}

// Snapshot adds up.
func (l *Ledger) Snapshot() Snapshot {
	l.mu.Lock() // for all of it: a worker that ends meanwhile must not be counted twice
	defer l.mu.Unlock()
	processes := slices.Clone(l.processes)
	if l.earlier != nil {
		processes = slices.Insert(processes, 1, l.earlier)
	}
	var s Snapshot
	at := make(map[string]int)
	for _, p := range processes {
		sum := ProcessSum{Name: p.Name, PID: p.PID, Ended: p.ended, Tasks: p.tasks.Load(), Run: time.Duration(p.run.Load())}
		var detail []FunctionSum
		p.mu.Lock()
		for _, name := range p.order {
			i, ok := at[name]
			if !ok {
				i = len(s.Functions)
				at[name] = i
				s.Functions = append(s.Functions, FunctionSum{Name: name})
			}
			own := FunctionSum{Name: name}
			for c := range p.lines[name] {
				enc, dec := p.lines[name][c][Encode].Sum(), p.lines[name][c][Decode].Sum()
				if Class(c) == Shared {
					sum.Shared.add(enc)
					sum.Shared.add(dec)
				} else {
					sum.Encode.add(enc)
					sum.Decode.add(dec)
				}
				s.Functions[i].Classes[c][Encode].add(enc)
				s.Functions[i].Classes[c][Decode].add(dec)
				own.Classes[c] = [2]Sum{enc, dec}
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
