// Database stores 20,000 records in an SQLite file through worker processes that each own a connection to it, once
// each, although workers are killed while they do so.
//
// It is pattern 1 of "Pass Data to Workers w/o Globals": a connection can't be sent to a process, so the initializer
// opens one there. What it returns is the receiver of the task, and is closed at the end.
//
// Once each takes two sides. The pool runs a batch again when its worker died with it: at least once. A batch is one
// transaction, and a record that is there already is left alone: at most once. The worst moment to die is between the
// commit and the answer, when the batch is stored and nobody knows; one worker here always dies at that moment.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/brinepool/brine"
)

const (
	total     = 20_000
	batchSize = 100
	kills     = 3 // from outside, beside the one at the worst moment
)

func main() {
	brine.Main()
	dir, err := os.MkdirTemp("", "brine-database-")
	if err == nil {
		err = run(context.Background(), os.Stdout, filepath.Join(dir, "records.db"))
		_ = os.RemoveAll(dir)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, stdout io.Writer, path string) error {
	if err := create(ctx, path); err != nil {
		return err
	}
	batches := slices.Collect(slices.Chunk(records(), batchSize))
	pool, err := brine.Open(ctx, writers, settings{Path: path, DieAfter: batches[len(batches)/2][0].ID}, &brine.Options{Workers: 2})
	if err != nil {
		return err
	}
	defer pool.Close()

	stored, done := 0, 0
	for r := range brine.Unordered(ctx, pool, store.With(brine.Limits{Retries: 2 * kills}), slices.Values(batches)) {
		if r.Err != nil {
			return r.Err
		}
		stored += r.Out
		if done++; done%(len(batches)/(kills+1)) == 0 && done < len(batches) {
			if err := killOne(pool.Stats()); err != nil {
				return err
			}
		}
	}
	if err := pool.Close(); err != nil {
		return err
	}
	s := pool.Stats()
	fmt.Fprintf(stdout, "%d batches of %d records; %d workers were killed, %d batches were run again\n", done, batchSize, s.Deaths, s.Retried)
	fmt.Fprintf(stdout, "the workers say that they stored %d records: the answer of a batch can die with its worker\n", stored)
	return check(ctx, stdout, path)
}

// records are what is to be stored.
func records() []record {
	rs := make([]record, total)
	for i := range rs {
		rs[i] = record{ID: int64(i + 1), Name: fmt.Sprintf("record %d", i+1), Value: int64(i) * int64(i)}
	}
	return rs
}

// killOne does what an operator, or the kernel when memory is short, does: kill -9.
func killOne(s brine.Stats) error {
	for _, p := range s.Processes {
		if p.Name == "worker" && !p.Ended {
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("killing worker %d: %w", p.PID, err)
			}
			return nil
		}
	}
	return nil
}
