package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"

	_ "modernc.org/sqlite"
)

// open opens the database for one connection. Several processes write, one at a time: with write-ahead logging they
// don't lock readers out, a transaction takes its turn when it begins, and one that finds the file locked waits.
func open(ctx context.Context, path string) (*sql.DB, error) {
	options := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)"},
	}
	db, err := sql.Open("sqlite", "file:"+path+"?"+options.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), db.Close())
	}
	return db, nil
}

func create(ctx context.Context, path string) error {
	db, err := open(ctx, path)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE records (id INTEGER PRIMARY KEY, name TEXT NOT NULL, value INTEGER NOT NULL, worker INTEGER NOT NULL)`)
	return errors.Join(err, db.Close())
}

// check reads the database with a connection of its own and compares it with what was to be stored.
func check(ctx context.Context, stdout io.Writer, path string) error {
	db, err := open(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	var rows, distinct, sum, first, last, workers, want int64
	err = db.QueryRowContext(ctx, `SELECT count(*), count(DISTINCT name), sum(value), min(id), max(id), count(DISTINCT worker) FROM records`).
		Scan(&rows, &distinct, &sum, &first, &last, &workers)
	if err != nil {
		return err
	}
	for _, r := range records() {
		want += r.Value
	}
	fmt.Fprintf(stdout, "the database holds %d records from %d to %d, %d of them different, written by %d processes\n", rows, first, last, distinct, workers)
	if rows != total || distinct != total || sum != want {
		return fmt.Errorf("%d records with the sum %d were to be stored, and there are %d, %d different, with the sum %d", total, want, rows, distinct, sum)
	}
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check`).Scan(&verdict); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, "every record is there once; integrity check:", verdict)
	return err
}
