package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/brinepool/brine"
)

type record struct {
	ID    int64
	Name  string
	Value int64
}

type settings struct {
	Path     string
	DieAfter int64 // the first record of the batch whose worker dies at the worst moment
}

// writer is the state of a worker: a connection of its own, with a prepared statement. Neither can cross.
type writer struct {
	db       *sql.DB
	insert   *sql.Stmt
	dieAfter int64
}

var (
	writers = brine.Define(openWriter)
	store   = brine.Method(writers, (*writer).Store)
)

func openWriter(ctx context.Context, s settings) (*writer, error) {
	db, err := open(ctx, s.Path)
	if err != nil {
		return nil, err
	}
	insert, err := db.PrepareContext(ctx, `INSERT INTO records (id, name, value, worker) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &writer{db: db, insert: insert, dieAfter: s.DieAfter}, nil
}

// Close is called when the worker ends in an orderly way.
func (w *writer) Close() error { return errors.Join(w.insert.Close(), w.db.Close()) }

// Store stores a batch in one transaction and returns how many of its records were new.
func (w *writer) Store(ctx context.Context, batch []record) (stored int, err error) {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing, and otherwise the first error counts
	insert := tx.StmtContext(ctx, w.insert)
	for _, r := range batch {
		res, err := insert.ExecContext(ctx, r.ID, r.Name, r.Value, os.Getpid())
		if err != nil {
			return 0, fmt.Errorf("record %d: %w", r.ID, err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		stored += int(n)
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	if stored > 0 && batch[0].ID == w.dieAfter {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal takes effect soon, not at once
	}
	return stored, nil
}
