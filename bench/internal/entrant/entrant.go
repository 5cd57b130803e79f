// Package entrant is the child's side of a benchmark: an entrant is one way of doing the work of a row (Brine, a floor, a peer), and each
// runs in a process of its own, so that no entrant shares a heap, a scheduler or a garbage collection with another.
//
// The harness starts the process with two pipes, commands on descriptor 3 and answers on descriptor 4, and asks for one sample at a
// time. That is what lets it go round the entrants of a row in turn. stdout and stderr are the entrant's own.
package entrant

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Descriptors of an entrant process.
const (
	commandFD = 3 // lines: "sample"; end of file means: close and exit
	answerFD  = 4 // lines: "ready", "ok 1.5 2.25", `err "text"`
)

// Config says how much an entrant is to measure.
type Config struct {
	Short  bool          // smaller sizes: a look, not a figure
	Window time.Duration // how long one sample of repeated calls lasts
}

// NewConfig returns the sizes of a full run, or those of a short one.
func NewConfig(short bool) Config {
	if short {
		return Config{Short: true, Window: 60 * time.Millisecond}
	}
	return Config{Window: 250 * time.Millisecond}
}

// Entrant is one way of doing the work of a row, ready to be measured.
type Entrant struct {
	// Sample measures once and returns the values that the row's lines refer to by index, always the same number of them.
	Sample func(ctx context.Context) ([]float64, error)
	// Close ends what the entrant started. Nil means that there is nothing to end.
	Close func() error
}

// Maker prepares an entrant: it starts what has to be running before the clock does.
type Maker func(ctx context.Context, c Config) (Entrant, error)

// Serve makes the entrant and answers the harness until it closes the command pipe. It returns the exit code of the process.
func Serve(mk Maker, c Config) int {
	syscall.CloseOnExec(commandFD) // or the entrant's own children would keep the harness waiting
	syscall.CloseOnExec(answerFD)
	in := bufio.NewScanner(os.NewFile(commandFD, "commands"))
	out := os.NewFile(answerFD, "answers")
	ctx := context.Background()

	e, err := mk(ctx, c)
	if err != nil {
		fmt.Fprintf(out, "err %q\n", err.Error())
		return 1
	}
	fmt.Fprintln(out, "ready")
	for in.Scan() {
		values, err := e.Sample(ctx)
		if err != nil {
			fmt.Fprintf(out, "err %q\n", err.Error())
			continue
		}
		fmt.Fprintln(out, "ok", formatValues(values))
	}
	if e.Close != nil {
		if err := e.Close(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: closing: %v\n", err)
			return 1
		}
	}
	return 0
}

// ParseAnswer reads one line that Serve wrote. A "ready" has no values.
func ParseAnswer(line string) ([]float64, error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch kind {
	case "ready":
		return nil, nil
	case "ok":
		var values []float64
		for f := range strings.FieldsSeq(rest) {
			v, err := strconv.ParseFloat(f, 64)
			if err != nil {
				return nil, fmt.Errorf("answer of an entrant: %w", err)
			}
			values = append(values, v)
		}
		return values, nil
	case "err":
		text, err := strconv.Unquote(rest)
		if err != nil {
			text = rest
		}
		return nil, fmt.Errorf("%s", text)
	}
	return nil, fmt.Errorf("answer of an entrant: %q", line)
}

func formatValues(values []float64) string {
	s := make([]string, len(values))
	for i, v := range values {
		s[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strings.Join(s, " ")
}
