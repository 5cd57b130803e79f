package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/brinepool/brine/internal/bill"
)

// maxBill bounds what is read as a bill: that of a pool has a few megabytes.
const maxBill = 1 << 30

func billCommand() *cobra.Command {
	var wanted report
	cmd := &cobra.Command{
		Use:   "bill [flags] bill.json",
		Short: "Show a bill that was written as JSON",
		Long: `Show a bill that was written as JSON, by brine run --json, brine trace --json,
Pool.report(json=...) in Python or Pool.ReportJSON in Go: as text, unless it is
wanted in another way. A hyphen is standard input.`,
		Example: `  brine run --json bill.json script.py
  brine bill bill.json
  brine bill --html bill.html --timeline timeline.json bill.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := readBill(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), d, wanted)
		},
	}
	cmd.Flags().BoolVar(&wanted.Text, "text", false, "print it as text even so")
	wanted.flags(cmd.Flags(), "standard output")
	return cmd
}

// readBill reads a document from a file, or from stdin where that is a hyphen.
func readBill(stdin io.Reader, name string) (*bill.Document, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name) //nolint:gosec // the user names it
		if err != nil {
			return nil, fmt.Errorf("the bill: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	var d bill.Document
	if err := json.NewDecoder(io.LimitReader(in, maxBill)).Decode(&d); err != nil {
		return nil, fmt.Errorf("%s is not a bill: %w", name, err)
	}
	if d.Version != bill.Version {
		return nil, fmt.Errorf("%s is not a bill of version %d, but of %d: show it with the brine that wrote it", name, bill.Version, d.Version)
	}
	for i := range d.Bills {
		d.Bills[i].Finish()
	}
	return &d, nil
}

// show writes a document in the ways that are wanted: as text to w, where nothing else is.
func show(w io.Writer, d *bill.Document, wanted report) error {
	var err error
	if wanted.Text || wanted == (report{}) {
		err = bill.WriteText(w, d)
	}
	if wanted.JSON == "-" {
		err = errors.Join(err, bill.WriteJSON(w, d))
		wanted.JSON = ""
	}
	return errors.Join(err,
		writeFile(wanted.JSON, d, bill.WriteJSON),
		writeFile(wanted.HTML, d, bill.WritePage),
		writeFile(wanted.Timeline, d, bill.WriteTimeline),
	)
}

// writeFile writes a document to a file, none where its name is empty.
func writeFile(name string, d *bill.Document, write func(io.Writer, *bill.Document) error) (err error) {
	if name == "" {
		return nil
	}
	f, err := os.Create(name) //nolint:gosec // the user names it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f, d)
}
