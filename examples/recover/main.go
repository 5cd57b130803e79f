// Recover shows what recover can't catch. Its library has a bug for every way in which Go code, or C, can take a
// process down; the task that calls it has a deferred recover, which helps against none of them. In a pool each is the
// error of one task, which says what happened where, and the pool answers the next call.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/brinepool/brine"
	"github.com/brinepool/brine/examples/recover/faulty"
)

var (
	workers = brine.Define(open)
	provoke = brine.Method(workers, state.Provoke)
	add     = brine.Method(workers, state.Add)
)

type state struct{}

// open bounds the stack: the runtime's limit of 1 GB is above the memory that a worker gets here.
func open(context.Context, struct{}) (state, error) {
	debug.SetMaxStack(16 << 20)
	return state{}, nil
}

// Provoke runs into a bug, with all the care that Go code can take.
func (state) Provoke(_ context.Context, bug int) (outcome string, err error) {
	defer func() {
		if v := recover(); v != nil {
			outcome = fmt.Sprint("recovered: ", v)
		}
	}()
	faulty.Bugs[bug].Run()
	return "nothing happened", nil
}

// Add is the work that has to go on.
func (state) Add(_ context.Context, n [2]int) (int, error) { return n[0] + n[1], nil }

func main() {
	brine.Main()
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, stdout io.Writer) error {
	pool, err := brine.Open(ctx, workers, struct{}{}, &brine.Options{
		Workers:   1, // the same for all, so that each bug meets the worker that replaced the last one's
		MaxMemory: 256 << 20,
		Grace:     100 * time.Millisecond,
		Stderr:    io.Discard, // its end is in the errors
	})
	if err != nil {
		return err
	}
	defer pool.Close()
	limited := provoke.With(brine.Limits{Timeout: 2 * time.Second})
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "THE LIBRARY\tBRINE SAYS\tAT FAULT\tNEXT CALL")
	for i, bug := range faulty.Bugs {
		outcome, err := brine.Call(ctx, pool, limited, i)
		at := ""
		if err != nil {
			outcome, at = explain(err)
		}
		next := "answers"
		if sum, err := brine.Call(ctx, pool, add, [2]int{i, 1}); err != nil || sum != i+1 {
			next = fmt.Sprint("FAILS: ", sum, err)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", bug.Name, outcome, at, next)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	s := pool.Stats()
	fmt.Fprintf(stdout, "\n%d tasks failed, %d succeeded; %d workers died, %d were started\n", s.Failed, s.Done, s.Deaths, s.Started)
	return pool.Close()
}

// explain takes apart what an error says into the cause and the function at fault.
func explain(err error) (cause, at string) {
	var died *brine.CrashError
	switch {
	case errors.Is(err, brine.ErrTimeout):
		line, _, _ := strings.Cut(err.Error(), "\n")
		_, cause, _ = strings.Cut(line, "timed out")
		cause, at, _ = strings.Cut("timed out"+cause, " in ")
		at, _, _ = strings.Cut(at, " and ")
		return cause, short(at)
	case errors.As(err, &died):
		cause = died.State.String()
		if c := died.Cause(); c != "" {
			cause += ": " + c
		}
		return cause, short(died.Function())
	}
	return err.Error(), ""
}

// short leaves the path away that is before a package's name.
func short(function string) string { return function[strings.LastIndexByte(function, '/')+1:] }
