package brine

import (
	"time"

	"github.com/brinepool/brine/internal/ledger"
)

// Stats is the account of a pool as data, at one moment.
type Stats struct {
	Kind    string
	Workers int   // that the pool keeps
	Started int64 // worker processes so far
	Deaths  int64 // of them that ended other than orderly
	Done    int64 // tasks that succeeded
	Failed  int64 // tasks that ended with an error
	Retried int64 // runs that were repeated after a death or a timeout

	Processes []ProcessStats // the parent first
	Functions []FunctionStats
	Repeats   []Repeat
}

// Tally counts encodes or decodes. In workers, the time of cheap ones is sampled.
type Tally struct {
	Count   int64
	Bytes   int64
	Largest int64 // bytes of the largest
	Time    time.Duration
}

// Average returns the time of one.
func (t Tally) Average() time.Duration {
	if t.Count == 0 {
		return 0
	}
	return t.Time / time.Duration(t.Count)
}

// ProcessStats is the account of one process. Workers that ended long ago are added up in one.
type ProcessStats struct {
	Name   string // parent, worker, or earlier workers
	PID    int    // 0 for earlier workers
	Ended  bool
	Encode Tally
	Decode Tally
	Shared Tally         // data in shared memory that the parent published and a worker mapped; it was not sent
	Tasks  int64         // that it ran
	Run    time.Duration // that their functions took
}

// FunctionStats is the account of one function over all processes, or of the kind's configuration: what was encoded
// and decoded of each class.
type FunctionStats struct {
	Name           string
	ConfigEncode   Tally // in the parent
	ConfigDecode   Tally // in the workers
	BoundEncode    Tally
	BoundDecode    Tally
	ArgumentEncode Tally
	ArgumentDecode Tally
	ResultEncode   Tally // in the workers
	ResultDecode   Tally // in the parent
	Published      Tally // shared data that configurations, arguments and bound arguments refer to: each once
	Mapped         Tally // by the workers: once in each
}

// Repeat is a value of more than 1 MB that went out more than once with equal content.
type Repeat struct {
	Func  string
	Class string // argument or bound
	Path  string // to the part of it that repeats, such as .Converter.Cache; empty for the whole
	Bytes int64  // of one sending
	Count int64  // of sendings

	Remedy string // what to do about it: a sentence or two
}

// Stats returns the account of what crossed between this process and the pool's workers so far. It may be called at
// any time, also after Close.
func (p *pool) Stats() Stats {
	counts, snap := p.e.Counts(), p.e.Ledger().Snapshot()
	s := Stats{
		Kind: p.kind, Workers: p.e.Workers(), Started: counts.Started, Deaths: counts.Deaths,
		Done: counts.Done, Failed: counts.Failed, Retried: counts.Retried,
	}
	for _, ps := range snap.Processes {
		s.Processes = append(s.Processes, ProcessStats{ps.Name, ps.PID, ps.Ended, tallyOf(ps.Encode), tallyOf(ps.Decode), tallyOf(ps.Shared), ps.Tasks, ps.Run})
	}
	for _, f := range snap.Functions {
		tally := func(c ledger.Class, d ledger.Direction) Tally { return tallyOf(f.Classes[c][d]) }
		s.Functions = append(s.Functions, FunctionStats{
			Name:           f.Name,
			ConfigEncode:   tally(ledger.Config, ledger.Encode),
			ConfigDecode:   tally(ledger.Config, ledger.Decode),
			BoundEncode:    tally(ledger.Bound, ledger.Encode),
			BoundDecode:    tally(ledger.Bound, ledger.Decode),
			ArgumentEncode: tally(ledger.Argument, ledger.Encode),
			ArgumentDecode: tally(ledger.Argument, ledger.Decode),
			ResultEncode:   tally(ledger.Result, ledger.Encode),
			ResultDecode:   tally(ledger.Result, ledger.Decode),
			Published:      tally(ledger.Shared, ledger.Encode),
			Mapped:         tally(ledger.Shared, ledger.Decode),
		})
	}
	for _, r := range snap.Repeats {
		s.Repeats = append(s.Repeats, Repeat{
			Func: r.Function, Class: r.Class.String(), Path: r.Path, Bytes: r.Bytes, Count: r.Count,
			Remedy: remedy(typeAt(sent(r.Function, r.Class.String()), r.Path), r.Class == ledger.Bound, p.codec != nil),
		})
	}
	return s
}

func tallyOf(s ledger.Sum) Tally { return Tally{s.Count, s.Bytes, s.Largest, s.Time} }
