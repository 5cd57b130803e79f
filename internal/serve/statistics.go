package serve

import (
	"encoding/json"

	"github.com/brinepool/brine/internal/ledger"
)

// statistics is the account of a pool, as the client gets it. Times are nanoseconds, the rest counts and bytes.
type statistics struct {
	Name      string             `json:"name"`
	Workers   int                `json:"workers"`
	Counts    counts             `json:"counts"`
	Processes []processStats     `json:"processes"`
	Functions []functionStats    `json:"functions"`
	Repeats   []repeatStatistics `json:"repeats"`
}

// counts are of tasks, and of worker processes, since the pool was opened.
type counts struct {
	Done    int64 `json:"done"`
	Failed  int64 `json:"failed"`
	Retried int64 `json:"retried"`
	Deaths  int64 `json:"deaths"`
	Started int64 `json:"started"`
}

type processStats struct {
	Name      string          `json:"name"` // parent, worker, or earlier workers
	PID       int             `json:"pid"`
	Ended     bool            `json:"ended"`
	Tasks     int64           `json:"tasks"`
	Run       int64           `json:"run_ns"`
	Functions []functionStats `json:"functions"`
}

// functionStats has a class of what crossed for each name that something crossed of.
type functionStats struct {
	Name    string                `json:"name"`
	Classes map[string]classStats `json:"classes"`
}

type classStats struct {
	Encode tally `json:"encode"`
	Decode tally `json:"decode"`
}

type tally struct {
	Count   int64 `json:"count"`
	Bytes   int64 `json:"bytes"`
	Largest int64 `json:"max"`
	Time    int64 `json:"ns"`
}

type repeatStatistics struct {
	Function string `json:"function"`
	Class    string `json:"class"`
	Bytes    int64  `json:"bytes"`
	Count    int64  `json:"count"`
}

// statistics answers with a pool's account.
func (c *connection) statistics(h header) error {
	p, err := c.pool(h)
	if err != nil {
		return err
	}
	b, err := json.Marshal(p.statistics())
	if err != nil {
		return err
	}
	c.out.frame(header{typ: typeStatistics, pool: h.pool}, func(to []byte) []byte { return append(to, b...) })
	return nil
}

func (p *pool) statistics() *statistics {
	n, snapshot := p.e.Counts(), p.e.Ledger().Snapshot()
	s := &statistics{
		Name: p.name, Workers: p.e.Workers(), Counts: counts(n),
		Processes: []processStats{}, Functions: functions(snapshot.Functions), Repeats: []repeatStatistics{},
	}
	for i, q := range snapshot.Processes {
		s.Processes = append(s.Processes, processStats{
			Name: q.Name, PID: q.PID, Ended: q.Ended, Tasks: q.Tasks, Run: int64(q.Run), Functions: functions(snapshot.Details[i]),
		})
	}
	for _, r := range snapshot.Repeats {
		s.Repeats = append(s.Repeats, repeatStatistics{Function: r.Function, Class: r.Class.String(), Bytes: r.Bytes, Count: r.Count})
	}
	return s
}

func functions(sums []ledger.FunctionSum) []functionStats {
	list := []functionStats{}
	for _, f := range sums {
		s := functionStats{Name: f.Name, Classes: make(map[string]classStats)}
		for c, sum := range f.Classes {
			if sum != [2]ledger.Sum{} {
				s.Classes[ledger.Class(c).String()] = classStats{sumOf(sum[ledger.Encode]), sumOf(sum[ledger.Decode])}
			}
		}
		if len(s.Classes) > 0 {
			list = append(list, s)
		}
	}
	return list
}

func sumOf(s ledger.Sum) tally {
	return tally{Count: s.Count, Bytes: s.Bytes, Largest: s.Largest, Time: int64(s.Time)}
}
