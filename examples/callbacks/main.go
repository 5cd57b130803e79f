// Callbacks routes the results of functions that are chosen and bound at run time.
//
// "Multiprocessing and pickling functions" needed a callback that knows which function its result comes from, and could
// have none: functions made at run time can't be pickled, so they had to be planted into a module under made-up names.
// Here the worker's function is named when the program is compiled, its further arguments are bound at run time, and
// a callback is a closure that never leaves the parent.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/brinepool/brine"
)

// functions are what can be chosen, by the name that a user types: each takes a number that is bound, and an element.
var functions = map[string]brine.BoundFunc[struct{}, int, int, int]{
	"power":  brine.MethodBound(brine.Stateless, power),
	"times":  brine.MethodBound(brine.Stateless, times),
	"modulo": brine.MethodBound(brine.Stateless, modulo),
}

func power(_ struct{}, _ context.Context, exponent, x int) (int, error) {
	if exponent < 0 {
		return 0, errors.New("a negative power is no integer")
	}
	y := 1
	for range exponent {
		y *= x
	}
	return y, nil
}

func times(_ struct{}, _ context.Context, factor, x int) (int, error) { return factor * x, nil }

func modulo(_ struct{}, _ context.Context, divisor, x int) (int, error) { return x % divisor, nil }

func main() {
	brine.Main()
	chosen := os.Args[1:]
	if len(chosen) == 0 {
		chosen = []string{"power 2", "power 3", "times 10", "modulo 0"}
	}
	if err := run(context.Background(), os.Stdout, chosen); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, stdout io.Writer, chosen []string) error {
	fs, err := bind(chosen)
	if err != nil {
		return err
	}
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, &brine.Options{Logger: logger(stdout)})
	if err != nil {
		return err
	}
	defer pool.Close()
	results := &board{values: make(map[string][]int), errs: make(map[string]error)}
	for name, f := range fs {
		for x := range 10 {
			brine.Go(ctx, pool, f, x).Then(func(y int, err error) { results.add(name, x, y, err) })
		}
	}
	// A callback may fail as well. Nobody else notices.
	brine.Go(ctx, pool, fs[chosen[0]], 1).Then(func(int, error) { panic("a mistake in a callback") })
	if err := pool.Close(); err != nil { // waits for the callbacks
		return err
	}
	results.print(stdout)
	return nil
}

// bind makes functions of texts such as "power 2".
func bind(chosen []string) (map[string]brine.Func[struct{}, int, int], error) {
	fs := make(map[string]brine.Func[struct{}, int, int])
	for _, text := range chosen {
		name, arg, _ := strings.Cut(text, " ")
		f, known := functions[name]
		n, err := strconv.Atoi(arg)
		if !known || err != nil {
			return nil, fmt.Errorf("%q is not one of %q with a number, such as \"power 2\"", text, slices.Sorted(maps.Keys(functions)))
		}
		fs[text] = brine.Bind(f, n)
	}
	return fs, nil
}

// board gathers results by function. Callbacks run at the same time, so it has a lock.
type board struct {
	mu     sync.Mutex
	values map[string][]int
	errs   map[string]error // the last of each
}

func (b *board) add(name string, x, y int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.errs[name] = err
		return
	}
	if b.values[name] == nil {
		b.values[name] = make([]int, 10)
	}
	b.values[name][x] = y
}

func (b *board) print(w io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(b.values)) {
		fmt.Fprintf(w, "%-9s %d\n", name, b.values[name])
	}
	for _, name := range slices.Sorted(maps.Keys(b.errs)) {
		fmt.Fprintf(w, "%-9s %v\n", name, b.errs[name])
	}
}

// logger writes what the pool has to say without time and stack.
func logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "stack" {
			return slog.Attr{}
		}
		return a
	}}))
}
