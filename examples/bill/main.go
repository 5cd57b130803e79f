// Bill shows how to find out what crosses to workers, and what to do about it: the case of "Stuck in a Pickle", a
// converter whose table of 1,048,576 entries goes along with every chunk. docs/THE-BILL.md walks through what it prints.
//
//	go run ./examples/bill           # explain an argument before it is sent, then the bill of having sent it
//	go run ./examples/bill -state    # the converter as the workers' state, and the bill of that
//	go run ./examples/bill -html bill.html -timeline timeline.json
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strconv"

	"github.com/brinepool/brine"
)

// Converter converts integers to their binary digits through a cache.
type Converter struct {
	Cache map[int]string
}

func newConverter(_ context.Context, entries int) (*Converter, error) {
	c := &Converter{Cache: make(map[int]string, entries)}
	for n := range entries {
		c.Cache[n] = strconv.FormatInt(int64(n), 2)
	}
	return c, nil
}

// Convert returns the digits of some integers.
func (c *Converter) Convert(_ context.Context, ns []int) ([]string, error) {
	digits := make([]string, len(ns))
	for i, n := range ns {
		digits[i] = c.Cache[n]
	}
	return digits, nil
}

// Chunk is what a naive program sends: some integers, and with them the converter to do it with.
type Chunk struct {
	Converter *Converter
	Integers  []int
}

func convertChunk(ctx context.Context, c Chunk) ([]string, error) {
	return c.Converter.Convert(ctx, c.Integers)
}

var (
	naive      = brine.Plain(convertChunk)
	converters = brine.Define(newConverter)
	convert    = brine.Method(converters, (*Converter).Convert)
)

const (
	entries = 1 << 20
	items   = 1 << 17
	chunks  = 8
)

func main() {
	brine.Main()
	state := flag.Bool("state", false, "make the converter the workers' state")
	html := flag.String("html", "", "write the bill to this `file` as a page")
	timeline := flag.String("timeline", "", "write what happened when to this `file`")
	flag.Parse()
	ctx := context.Background()
	ns := make([]int, items)
	for i := range ns {
		ns[i] = i * 7 % entries
	}
	ways := func() error { return sendAlong(ctx, ns, *html, *timeline) }
	if *state {
		ways = func() error { return keepAsState(ctx, ns, *html, *timeline) }
	}
	if err := ways(); err != nil {
		log.Fatal(err)
	}
}

// sendAlong sends the converter with every chunk, after a look at what that will cost.
func sendAlong(ctx context.Context, ns []int, html, timeline string) error {
	c, err := newConverter(ctx, entries)
	if err != nil {
		return err
	}
	var in []Chunk
	for part := range slices.Chunk(ns, items/chunks) {
		in = append(in, Chunk{c, part})
	}
	fmt.Println(brine.Explain(in[0]))
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := brine.Map(ctx, pool, naive, in); err != nil {
		return err
	}
	return reports(pool, html, timeline)
}

// keepAsState has each worker make a converter of its own: only integers and their digits cross.
func keepAsState(ctx context.Context, ns []int, html, timeline string) error {
	pool, err := brine.Open(ctx, converters, entries, &brine.Options{Workers: 2})
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := brine.Map(ctx, pool, convert, slices.Collect(slices.Chunk(ns, items/chunks))); err != nil {
		return err
	}
	return reports(pool, html, timeline)
}

// reporter is a pool of any kind of worker.
type reporter interface {
	Report(w io.Writer) error
	ReportHTML(w io.Writer) error
	Timeline(w io.Writer) error
}

func reports(pool reporter, html, timeline string) error {
	return errors.Join(pool.Report(os.Stdout), toFile(html, pool.ReportHTML), toFile(timeline, pool.Timeline))
}

func toFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
