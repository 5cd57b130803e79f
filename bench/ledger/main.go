// Command ledger measures what the account costs: maps with chunks of one empty task, in Go and in Python, by programs
// that are built with the account and without, in turn.
//
//	go run ./bench/ledger            # 21 rounds, a minute
//	go run ./bench/ledger -rounds 5
//
// It is run at the top of the repository. The figures are the medians of the rounds' ratios, of the time that the map took
// and of the processor time of all processes, which is steadier; a ratio of 1.02 is an account that costs two hundredths
// of the map.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 21, "how many `times` each program is run")
	python := flag.String("python", "python3", "the interpreter for Python's map, which needs nothing installed")
	flag.Parse()
	if err := run(context.Background(), *rounds, *python); err != nil {
		log.Fatal(err)
	}
}

// variant is a program with or without an account.
type variant struct{ maps, engine string }

func run(ctx context.Context, rounds int, python string) (err error) {
	dir, err := os.MkdirTemp("", "brine-ledger-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var with, without variant
	for tags, v := range map[string]*variant{"": &with, "brine_noledger": &without} {
		v.maps, v.engine = filepath.Join(dir, "maps"+tags), filepath.Join(dir, "brine"+tags)
		for program, out := range map[string]string{"./bench/ledger/maps": v.maps, "./cmd/brine": v.engine} {
			if b, err := exec.CommandContext(ctx, "go", "build", "-tags", tags, "-o", out, program).CombinedOutput(); err != nil {
				return fmt.Errorf("building %s: %w\n%s", program, err, b)
			}
		}
	}
	inGo := func(v variant) *exec.Cmd { return exec.CommandContext(ctx, v.maps) }
	inPython := func(v variant) *exec.Cmd {
		cmd := exec.CommandContext(ctx, python, "bench/ledger/maps.py")
		cmd.Env = append(os.Environ(), "PYTHONPATH=python", "BRINE_ENGINE="+v.engine)
		return cmd
	}
	for _, c := range []struct {
		name string
		cmd  func(variant) *exec.Cmd
	}{{"Go", inGo}, {"Python", inPython}} {
		if err := compare(c.name, rounds, func(v variant) (cost, error) { return sample(c.cmd(v)) }, with, without); err != nil {
			return err
		}
	}
	return nil
}

// compare prints medians and the median of ratios. Which of the two goes first changes from round to round.
func compare(name string, rounds int, sample func(variant) (cost, error), with, without variant) error {
	var on, off, ratios, processor []float64
	for i := range rounds {
		order := []variant{with, without}
		if i%2 == 1 {
			slices.Reverse(order)
		}
		costs := make(map[variant]cost)
		for _, v := range order {
			c, err := sample(v)
			if err != nil {
				return err
			}
			costs[v] = c
		}
		on, off = append(on, costs[with].task), append(off, costs[without].task)
		ratios = append(ratios, costs[with].task/costs[without].task)
		processor = append(processor, costs[with].processor.Seconds()/costs[without].processor.Seconds())
	}
	_, err := fmt.Printf("%-6s  with the account %6.0f ns a task, without %6.0f ns; ratio %.3f, of processor time %.3f, of %d rounds\n",
		name, median(on), median(off), median(ratios), median(processor), rounds)
	return err
}

// cost is what one run took: nanoseconds of a task, and the time that all its processes had a processor.
type cost struct {
	task      float64
	processor time.Duration
}

func sample(cmd *exec.Cmd) (cost, error) {
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w", cmd.Args[0], err)
	}
	task, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	return cost{task, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, err
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
