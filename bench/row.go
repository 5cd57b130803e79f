package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A row is one comparison: its entrants are measured in turn, round after round, so that whatever else the machine does meets all of them.
type row struct {
	name     string
	entrants []string      // names in the map of entrants
	lines    []line        // what the table shows of it
	timeout  time.Duration // for the whole row; 0 means rowTimeout
	rounds   int           // at most so many; 0 means no limit
	start    starter       // how an entrant is started; nil means inThisProgram
	byName   bool          // runs only if -run names it in full
}

// rowTimeout is how long a row may take before its entrants are killed.
const rowTimeout = 90 * time.Second

// line is one line of the table: a value of Brine's beside one of a floor or a peer.
type line struct {
	name    string
	unit    string
	ours    ref
	theirs  ref
	peer    string // what theirs is called in the table
	inverse bool   // the ratio is theirs to ours: how many times faster, where the unit is a time
	bar     bar
}

// ref names a value: the index'th of an entrant's sample.
type ref struct {
	entrant string
	index   int
}

// bar is what a line has to reach. The zero value asks for nothing.
type bar struct {
	limit   float64
	atLeast bool // else at most
	ofValue bool // of Brine's own figure, else of the ratio
}

func atMost(limit float64) bar       { return bar{limit: limit} }
func atLeast(limit float64) bar      { return bar{limit: limit, atLeast: true} }
func valueAtLeast(limit float64) bar { return bar{limit: limit, atLeast: true, ofValue: true} }

// sampler is an entrant that has been started.
type sampler interface {
	sample(ctx context.Context) ([]float64, error)
	close() error
	kill()
}

// starter starts the named entrant.
type starter func(ctx context.Context, h *harness, name string) (sampler, error)

// samples are the values of one entrant, a slice a round; a round that failed has none.
type samples struct {
	rounds [][]float64
	err    error // the first failure
}

// run measures a row. It returns what each entrant gave, by name; a failed entrant leaves the others alone.
func (h *harness) run(ctx context.Context, r row) map[string]*samples {
	timeout := r.timeout
	if timeout == 0 {
		timeout = rowTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("row %s took more than %v", r.name, timeout))
	defer cancel()
	start := r.start
	if start == nil {
		start = inThisProgram
	}

	got := make(map[string]*samples, len(r.entrants))
	running := make(map[string]sampler, len(r.entrants))
	drop := func(name string, err error) {
		got[name].err = err
		if s := running[name]; s != nil {
			s.kill()
			delete(running, name)
		}
	}
	for _, name := range r.entrants {
		got[name] = &samples{}
		s, err := start(ctx, h, name)
		if err != nil {
			drop(name, err)
			continue
		}
		running[name] = s
	}
	for range h.roundsOf(r) {
		for _, name := range r.entrants {
			s, ok := running[name]
			if !ok {
				continue
			}
			values, err := s.sample(ctx)
			if err != nil {
				drop(name, err)
				continue
			}
			got[name].rounds = append(got[name].rounds, values)
		}
	}
	for name, s := range running {
		if err := s.close(); err != nil {
			got[name].err = err
		}
	}
	return got
}

func (h *harness) roundsOf(r row) int {
	if r.rounds > 0 {
		return min(h.rounds, r.rounds)
	}
	return h.rounds
}

// fresh wraps a starter so that every sample is taken in a new process: for figures that a process cannot take back, such as its peak memory.
func fresh(start starter) starter {
	return func(_ context.Context, h *harness, name string) (sampler, error) {
		return &freshSampler{start: start, h: h, name: name}, nil
	}
}

type freshSampler struct {
	start starter
	h     *harness
	name  string
}

func (f *freshSampler) sample(ctx context.Context) ([]float64, error) {
	s, err := f.start(ctx, f.h, f.name)
	if err != nil {
		return nil, err
	}
	values, err := s.sample(ctx)
	if err != nil {
		s.kill()
		return nil, err
	}
	return values, s.close()
}

func (*freshSampler) close() error { return nil }
func (*freshSampler) kill()        {}

// result is a line with its figures.
type result struct {
	line
	ourFigure, theirFigure, ratio float64 // medians; the ratio is the median of the rounds' ratios
	ourRounds, theirRounds        []float64
	err                           error
}

// judge puts together the figures of a line. The ratio is taken round by round: two figures of one round met the same noise.
func judge(l line, got map[string]*samples) result {
	res := result{line: l}
	var ratios []float64
	ours, theirs := got[l.ours.entrant], got[l.theirs.entrant]
	res.err = errors.Join(ours.err, errIfOther(ours, theirs))
	for i := range min(len(ours.rounds), len(theirs.rounds)) {
		a, aok := at(ours.rounds[i], l.ours.index)
		b, bok := at(theirs.rounds[i], l.theirs.index)
		if !aok || !bok {
			res.err = errors.Join(res.err, fmt.Errorf("%s: no such value", l.name))
			return res
		}
		res.ourRounds, res.theirRounds = append(res.ourRounds, a), append(res.theirRounds, b)
		if l.inverse {
			ratios = append(ratios, b/a)
		} else {
			ratios = append(ratios, a/b)
		}
	}
	res.ourFigure, res.theirFigure, res.ratio = median(res.ourRounds), median(res.theirRounds), median(ratios)
	return res
}

// verdict is "ok" or "short" by the line's bar, "-" if it has none, "error" if there is no figure to judge.
func (r result) verdict() string {
	v := r.ratio
	if r.bar.ofValue {
		v = r.ourFigure
	}
	switch {
	case r.err != nil || len(r.ourRounds) == 0:
		return "error"
	case r.bar == bar{}:
		return "-"
	case r.bar.atLeast == (v >= r.bar.limit) || v == r.bar.limit:
		return "ok"
	}
	return "short"
}

func errIfOther(ours, theirs *samples) error {
	if ours == theirs {
		return nil
	}
	return theirs.err
}

func at(values []float64, i int) (float64, bool) {
	if i >= len(values) {
		return 0, false
	}
	return values[i], true
}

// median of an even number of values is the mean of the two in the middle; of none it is 0.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
