package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brinepool/brine"
)

func TestMain(m *testing.M) {
	brine.Main()
	customMain()
	os.Exit(m.Run())
}

// TestRun is the program itself with the two smallest sizes. It checks the total of each round.
func TestRun(t *testing.T) {
	checkNoChildren(t)
	dir := t.TempDir()
	s, err := parse([]string{"-max=630957", "-turns=2", "-out=" + dir})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(t.Context(), &out, s); err != nil {
		t.Fatal(err)
	}
	table := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"brine 100,000 0.8 MB ", "brine 630,957 5.0 MB ", "brine: with the slowest size",
		"custom 100,000 0.8 MB ", "custom 630,957 5.0 MB ", "custom: with the slowest size",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	svg, err := os.ReadFile(filepath.Join(dir, "fixeddata.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range allSeries {
		if !strings.Contains(string(svg), s.label) {
			t.Errorf("the plot has no %q", s.label)
		}
	}
}

// zeros is a pool that gets everything wrong.
type zeros struct{}

func (zeros) Sums(_ context.Context, lists [][]int64) ([]int64, error) {
	return make([]int64, len(lists)), nil
}
func (zeros) PIDs() []int  { return nil }
func (zeros) Close() error { return nil }

func TestWrongTotal(t *testing.T) {
	open := func(context.Context, []int64) (pool, error) { return zeros{}, nil }
	_, err := measure(t.Context(), settings{kinds: []kind{{"zeros", open}}, sizes: sizes[:1], rounds: 1, turns: 1})
	if err == nil || !strings.Contains(err.Error(), "the total is 0, want 99990000") {
		t.Errorf("the error is %v", err)
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{{"-max=99999"}, {"-pool=threads"}, {"-rounds=0"}, {"-turns=0"}, {"-chunk=-1"}, {"-check", "-pool=custom"}, {"more"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("no error for %q", args)
		}
	}
}
