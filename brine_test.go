package brine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

func TestMain(m *testing.M) {
	brine.Main()
	// Workers that are killed while they start, as many are here, would bury the tests' own lines.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	before := takeFootprint()
	code := m.Run()
	removePrograms()
	if left := before.left(10 * time.Second); left != "" {
		fmt.Fprintf(os.Stderr, "the tests left behind:\n%s", left)
		code = max(code, 1)
	}
	os.Exit(code)
}

// counter is the worker state of most tests.
type counter struct{ base, calls int }

func openCounter(_ context.Context, base int) (*counter, error) { return &counter{base: base}, nil }

// Add answers with the base and n.
func (c *counter) Add(_ context.Context, n int) (int, error) {
	c.calls++
	return c.base + n, nil
}

// Calls answers how often this worker was called by Add and Calls.
func (c *counter) Calls(context.Context, struct{}) (int, error) {
	c.calls++
	return c.calls, nil
}

// Who answers with the worker's process.
func (c *counter) Who(context.Context, int) (int, error) { return os.Getpid(), nil }

var (
	counters = brine.Define(openCounter)
	add      = brine.Method(counters, (*counter).Add)
	calls    = brine.Method(counters, (*counter).Calls)
	who      = brine.Method(counters, (*counter).Who)
)

// open opens a pool that the test closes at its end, within bounded time, and whose workers are gone then.
func open[C, S any](t testing.TB, kind *brine.Kind[C, S], config C, opts *brine.Options) *brine.Pool[S] {
	t.Helper()
	var pool *brine.Pool[S]
	within(t, time.Minute, "Open", func() {
		var err error
		if pool, err = brine.Open(t.Context(), kind, config, opts); err != nil {
			t.Fatalf("open: %v", err)
		}
	})
	t.Cleanup(func() {
		within(t, time.Minute, "Close", func() { pool.Close() })
		gone(t, pool.Stats())
	})
	return pool
}

// gone fails when a process of the account is still a child of this one, as it must not be once Close or Kill returned.
func gone(t testing.TB, s brine.Stats) {
	t.Helper()
	children := childProcesses()
	for _, p := range s.Processes {
		if command, ok := children[p.PID]; ok && p.PID != os.Getpid() {
			t.Errorf("worker %d is still there after the end of its pool: %s", p.PID, command)
		}
	}
}

// workerPIDs are the workers that the account says are running.
func workerPIDs(s brine.Stats) []int {
	var pids []int
	for _, p := range s.Processes {
		if p.PID != 0 && p.PID != os.Getpid() && !p.Ended {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// within runs f, and ends the test with the stacks of all goroutines when f does not return in time.
func within(t testing.TB, d time.Duration, what string, f func()) {
	t.Helper()
	done, returned := make(chan struct{}), false
	go func() {
		defer close(done)
		f()
		returned = true
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		if !returned && t.Failed() {
			t.FailNow() // as f did
		}
	case <-timer.C:
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		t.Fatalf("%s: did not return within %v\n%s", what, d, stacks)
	}
}

// eventually polls a condition outside this process, for which no signal exists.
func eventually(t testing.TB, d time.Duration, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// numbers are 0 to n-1.
func numbers(n int) []int {
	ns := make([]int, n)
	for i := range ns {
		ns[i] = i
	}
	return ns
}

// endless is the sequence of all numbers.
func endless(yield func(int) bool) {
	for i := 0; yield(i); i++ {
	}
}

// mark appends a byte to a file: O_APPEND makes it a count that survives whatever comes next.
func mark(file string) {
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte{'x'}); err != nil {
		panic(err)
	}
}

// marks counts what mark wrote.
func marks(t testing.TB, file string) int {
	t.Helper()
	info, err := os.Stat(file)
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size())
}

// markPath is a file for mark, one for each index.
func markPath(dir string, i int) string { return dir + "/" + strconv.Itoa(i) }

// alive says whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	var id int
	var name, state string
	_, err = fmt.Sscanf(string(stat), "%d %s %s", &id, &name, &state)
	return err != nil || state != "Z" && state != "X"
}
