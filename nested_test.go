package brine_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

func countBytes(_ context.Context, b []byte) (int, error) { return len(b), nil }

type nesting struct {
	Depth int    // of pools below this one
	Bad   string // what the deepest does
	Log   string // gets the pids of all workers
}

// nest is registered in an init, since it runs itself.
var nest brine.Func[struct{}, nesting, string]

func init() { nest = brine.Plain(openNested) }

func openNested(ctx context.Context, n nesting) (string, error) {
	if n.Log != "" {
		f, err := os.OpenFile(n.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return "", err
		}
		_, err = fmt.Fprintln(f, os.Getpid())
		f.Close()
		if err != nil {
			return "", err
		}
	}
	if n.Depth == 0 {
		v, err := doDeed(ctx, deed{How: n.Bad, N: 7})
		return fmt.Sprint(v), err
	}
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, nil)
	if err != nil {
		return "", fmt.Errorf("at depth %d: %w", n.Depth, err)
	}
	defer pool.Close()
	n.Depth--
	outs, err := brine.Map(ctx, pool, nest, []nesting{n, n})
	return strings.Join(append(outs, fmt.Sprint(pool.Stats().Workers)), " "), err
}

func TestNested(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	within(t, time.Minute, "nested pools", func() {
		if s, err := brine.Call(t.Context(), pool, nest, nesting{Depth: 1}); s != "7 7 1" || err != nil {
			t.Errorf("one level: %q, %v; want results of two tasks and 1 worker", s, err)
		}
		if s, err := brine.Call(t.Context(), pool, nest, nesting{Depth: 2}); s != "7 7 1 7 7 1 1" || err != nil {
			t.Errorf("two levels: %q, %v", s, err)
		}
		_, err := brine.Call(t.Context(), pool, nest, nesting{Depth: 6})
		t.Log(err)
		if err == nil || !strings.Contains(err.Error(), "deep") {
			t.Errorf("six levels: %v", err)
		}
		_, err = brine.Call(t.Context(), pool, nest, nesting{Depth: 2, Bad: "panic"})
		if err == nil || !strings.Contains(err.Error(), "a panic of its own") {
			t.Errorf("a panic two levels down: %v", err)
		}
		_, err = brine.Call(t.Context(), pool, nest, nesting{Depth: 1, Bad: "sentinel"})
		is(errTaken)(t, err)
	})
	if s := pool.Stats(); s.Deaths != 0 {
		t.Errorf("%d deaths", s.Deaths)
	}
}

// However the outer pool ends, its workers' workers end with it.
func TestNestedEnds(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"kill pool", "kill worker", "timeout", "cancel"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, Grace: 200 * time.Millisecond})
			log := t.TempDir() + "/pids"
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			limits := brine.Limits{}
			if how == "timeout" {
				limits.Timeout = 2 * time.Second
			}
			f := brine.Go(ctx, pool, nest.With(limits), nesting{Depth: 2, Bad: "loop", Log: log})
			var pids []int
			eventually(t, 20*time.Second, "three workers, one below the other", func() bool {
				pids = nil
				b, _ := os.ReadFile(log)
				for field := range strings.FieldsSeq(string(b)) {
					pid, err := strconv.Atoi(field)
					if err != nil {
						return false
					}
					pids = append(pids, pid)
				}
				return len(pids) == 3
			})
			switch how {
			case "kill pool":
				pool.Kill()
			case "kill worker":
				syscall.Kill(pids[0], syscall.SIGKILL)
			case "cancel":
				cancel()
			}
			within(t, 20*time.Second, "the task", func() {
				if _, err := f.Wait(context.Background()); err == nil {
					t.Error("it succeeded")
				}
			})
			eventually(t, 4*time.Second, "the end of all nested workers", func() bool {
				return !slices.ContainsFunc(pids[1:], alive)
			})
		})
	}
}
