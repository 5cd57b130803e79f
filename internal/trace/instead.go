package trace

import (
	"fmt"
	"strings"

	"github.com/brinepool/brine/internal/bill"
)

// call is one call of a pool's method: all tasks of a job.
type call struct {
	pid int
	job uint64
}

// saving is what was sent more often than `brine run` does.
type saving struct {
	count, bytes int64 // as it was
	calls, once  int64 // with `brine run`
}

// instead knows what `brine run` would have sent.
type instead struct {
	seen         map[call]bool
	functions    saving
	initializers saving
	places       map[lineKey]bool // of pools with an initializer that was sent
	executors    bool
}

const maxCalls = 100_000

// called counts the function of a task: with `brine run`, it would go once per call.
func (n *instead) called(pid int, f *frame, shares []share) {
	if f.shape != bare && f.shape != chunk {
		n.executors = true
		return
	}
	if len(shares) < 2 {
		return
	}
	n.functions.count++
	n.functions.bytes += shares[0].bytes
	key := call{pid, f.job}
	if n.seen[key] {
		return
	}
	if n.seen == nil || len(n.seen) >= maxCalls {
		n.seen = make(map[call]bool)
	}
	n.seen[key] = true
	n.functions.calls++
	n.functions.once += shares[0].bytes
}

// initialised counts an initializer and its arguments: with `brine run`, they would go once per pool.
func (n *instead) initialised(f *frame, shares []share) {
	if len(shares) < 2 || f.flags&ofExecutor != 0 {
		return
	}
	n.initializers.count++
	n.initializers.bytes += shares[0].bytes
	key := lineKey{function: f.string(0), site: f.string(1)}
	if n.places[key] {
		return
	}
	if n.places == nil || len(n.places) >= maxCalls {
		n.places = make(map[lineKey]bool)
	}
	n.places[key] = true
	n.initializers.calls++
	n.initializers.once += shares[0].bytes
}

// text says what `brine run` would have sent, in whole sentences.
func (n *instead) text() string {
	var out []string
	if s := n.functions; s.count > 0 {
		switch {
		case s.calls == s.count:
			out = append(out, fmt.Sprintf("`brine run` would have pickled functions as often, once per call: %s, %s.", bill.Times(s.calls), bill.Size(s.once)))
		default:
			out = append(out, fmt.Sprintf("`brine run` would have pickled functions once per call: %s in place of %s, and %s in place of %s.",
				bill.Times(s.calls), bill.Number(s.count), bill.Size(s.once), bill.Size(s.bytes)))
		}
	}
	if s := n.initializers; s.count > 0 {
		out = append(out, fmt.Sprintf("It would have pickled initializers and their arguments once per pool: %s in place of %s, and %s in place of %s.",
			bill.Times(s.calls), bill.Number(s.count), bill.Size(s.once), bill.Size(s.bytes)))
	}
	if len(out) > 0 {
		out = append(out, "Arguments and results would have been the same.")
	}
	if n.executors {
		out = append(out, "What a ProcessPoolExecutor sends, it would have left as it is: brine.Pool has to be used in its place.")
	}
	return strings.Join(out, " ")
}
