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
	Advice    []string // what to change, in whole sentences, each with the figure that it rests on
}

// Tally counts encodes or decodes. In workers, the time of cheap ones is sampled.
type Tally struct {
	Count   int64
	Bytes   int64
	Largest int64 // bytes of the largest
	Time    time.Duration

	// LargestPath leads to what makes the largest value large, such as .Converter.Cache; empty where no one part of it does.
	// Only the tallies of functions have it.
	LargestPath string
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

	// How the time of a worker went, from its start to its end or to now. Together they are all of it.
	Starting     time.Duration // until the process said its first word
	Initialising time.Duration // until its state was open
	Working      time.Duration // running functions, decoding and encoding
	Waiting      time.Duration // for tasks

	PeakMemory int64 // the most bytes that it had resident, 0 where that isn't known
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
	counts := p.e.Counts()
	snap, _ := p.e.Snapshot()
	s := Stats{
		Kind: p.kind, Workers: p.e.Workers(), Started: counts.Started, Deaths: counts.Deaths,
		Done: counts.Done, Failed: counts.Failed, Retried: counts.Retried,
		Advice: p.document(0).Bills[0].Advice,
	}
	for _, ps := range snap.Processes {
		s.Processes = append(s.Processes, ProcessStats{
			Name: ps.Name, PID: ps.PID, Ended: ps.Ended,
			Encode: tallyOf(ps.Encode, ""), Decode: tallyOf(ps.Decode, ""), Shared: tallyOf(ps.Shared, ""), Tasks: ps.Tasks, Run: ps.Run,
			Starting: ps.Times.Starting, Initialising: ps.Times.Initialising, Working: ps.Times.Working, Waiting: ps.Times.Waiting,
			PeakMemory: ps.Peak,
		})
	}
	for _, f := range snap.Functions {
		tally := func(c ledger.Class, d ledger.Direction) Tally {
			return tallyOf(f.Classes[c][d], p.e.Heaviest(f.Name, c))
		}
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
			Remedy: p.remedy(r.Function, r.Class.String(), r.Path),
		})
	}
	return s
}

func tallyOf(s ledger.Sum, path string) Tally {
	return Tally{Count: s.Count, Bytes: s.Bytes, Largest: s.Largest, Time: s.Time, LargestPath: path}
}
