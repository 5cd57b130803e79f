package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine"

	"github.com/brinepool/brine/bench/internal/entrant"
	"github.com/brinepool/brine/bench/internal/start"
)

func TestMain(m *testing.M) {
	start.ReadyMain()
	brine.Main()
	switch name, args := entrant.Role(); name {
	case "":
	case "entrant":
		os.Exit(entrant.Main(testEntrants, args))
	default:
		os.Exit(role(name, args))
	}
	os.Exit(m.Run())
}

// testEntrants misbehave in the ways that the harness has to survive.
var testEntrants = map[string]entrant.Maker{
	"good": func(context.Context, entrant.Config) (entrant.Entrant, error) {
		n := 0.0
		return entrant.Entrant{Sample: func(context.Context) ([]float64, error) { n++; return []float64{n, 10 * n}, nil }}, nil
	},
	"hangs": func(context.Context, entrant.Config) (entrant.Entrant, error) {
		return entrant.Entrant{Sample: func(context.Context) ([]float64, error) { select {} }}, nil
	},
	"errs": func(context.Context, entrant.Config) (entrant.Entrant, error) {
		return entrant.Entrant{Sample: func(context.Context) ([]float64, error) { return nil, errors.New("line one\nline two") }}, nil
	},
	"panics": func(context.Context, entrant.Config) (entrant.Entrant, error) {
		return entrant.Entrant{Sample: func(context.Context) ([]float64, error) { panic("out of brine") }}, nil
	},
	"never ready": func(context.Context, entrant.Config) (entrant.Entrant, error) {
		return entrant.Entrant{}, errors.New("no such peer")
	},
}

func TestRun(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		want    string // part of the error; "" means none
	}{
		{"good", 0, ""},
		{"hangs", 2 * time.Second, "took more than"},
		{"errs", 0, "line one\nline two"},
		{"panics", 0, "out of brine"},
		{"never ready", 0, "no such peer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := harness{rounds: 3, self: self}
			r := row{name: tt.name, entrants: []string{"good", tt.name}, timeout: tt.timeout}
			got := h.run(t.Context(), r)
			if n := len(got["good"].rounds); tt.name != "good" && tt.name != "hangs" && n != 3 {
				t.Errorf("the other entrant has %d rounds (error %v), want 3", n, got["good"].err)
			}
			err := got[tt.name].err
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("error %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	got := map[string]*samples{
		"a": {rounds: [][]float64{{10}, {40}, {30}}},
		"b": {rounds: [][]float64{{0, 5}, {0, 10}, {0, 3}}},
	}
	ours, theirs := ref{"a", 0}, ref{"b", 1}
	for _, tt := range []struct {
		name    string
		line    line
		ratio   float64
		verdict string
	}{
		{"no bar", line{}, 4, "-"},
		{"at most, met", line{bar: atMost(4)}, 4, "ok"},
		{"at most, missed", line{bar: atMost(3.9)}, 4, "short"},
		{"at least, met", line{bar: atLeast(4)}, 4, "ok"},
		{"at least, missed", line{bar: atLeast(5)}, 4, "short"},
		{"inverse, missed", line{bar: atLeast(1), inverse: true}, 0.25, "short"},
		{"of the value, met", line{bar: valueAtLeast(30)}, 4, "ok"},
		{"of the value, missed", line{bar: valueAtLeast(31)}, 4, "short"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := tt.line
			l.ours, l.theirs = ours, theirs
			res := judge(l, got)
			if res.ourFigure != 30 || res.theirFigure != 5 || res.ratio != tt.ratio || res.verdict() != tt.verdict {
				t.Errorf("%v beside %v, ratio %v, %s; want 30 beside 5, ratio %v, %s",
					res.ourFigure, res.theirFigure, res.ratio, res.verdict(), tt.ratio, tt.verdict)
			}
		})
	}
	t.Run("no value", func(t *testing.T) {
		t.Parallel()
		if res := judge(line{ours: ours, theirs: ref{"b", 2}}, got); res.verdict() != "error" {
			t.Errorf("verdict %s, want error", res.verdict())
		}
	})
}

func TestChoose(t *testing.T) {
	t.Parallel()
	all := []row{{name: "a/1"}, {name: "a/all", byName: true}, {name: "b"}}
	for _, tt := range []struct {
		pattern string
		list    bool
		want    string
	}{
		{"", false, "a/1 b"},
		{"a", false, "a/1"},
		{"a/all", false, "a/all"},
		{"b|a/all", false, "a/all b"},
		{"", true, "a/1 a/all b"},
		{"b|1", true, "a/1 b"},
	} {
		var got []string
		chosen, err := choose(all, tt.pattern, tt.list)
		for _, r := range chosen {
			got = append(got, r.name)
		}
		if s := strings.Join(got, " "); s != tt.want || err != nil {
			t.Errorf("pattern %q, list %v: rows %q, error %v; want %q", tt.pattern, tt.list, s, err, tt.want)
		}
	}
	if _, err := choose(all, "(", false); err == nil {
		t.Error("no error for a bad pattern")
	}
}

// TestRows checks that every row can be run: its entrants exist and its lines refer to them.
func TestRows(t *testing.T) {
	t.Parallel()
	all := entrants()
	for _, r := range rows(entrant.NewConfig(false)) {
		in := map[string]bool{}
		for _, name := range r.entrants {
			in[name] = true
			if all[name] == nil && name != "codec" {
				t.Errorf("%s: no entrant %s", r.name, name)
			}
		}
		for _, l := range r.lines {
			if !in[l.ours.entrant] || !in[l.theirs.entrant] {
				t.Errorf("%s: a line compares %s with %s", r.name, l.ours.entrant, l.theirs.entrant)
			}
		}
	}
}
