package brine_test

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

// What is written is that task's panic, which says so; its worker and its neighbours go on.
func TestSharedIsReadOnly(t *testing.T) {
	t.Parallel()
	s := ramp(t, 1, 10_000)
	pool := open(t, sharers, bag{P: s}, &brine.Options{Workers: 1, Stderr: io.Discard})
	hows := []string{"", "write", "", "copy", "recover", "append", "write", ""}
	ins := make([]poke, len(hows))
	for i, how := range hows {
		ins[i] = poke{How: how, S: s}
	}
	pid := workerPIDs(pool.Stats())[0]
	for range 3 {
		outs, err := brine.Map(t.Context(), pool, pokes.With(brine.Limits{Chunk: 8}), ins)
		if task := as[*brine.TaskError](t, err); task.Index != 1 {
			t.Errorf("the first error is that of %d: %v", task.Index, err)
		}
		for i, how := range hows {
			if ok := how != "write" && how != "copy"; ok && outs[i] != sum(s) || !ok && outs[i] != 0 {
				t.Errorf("%d, %q: %d, want %d", i, how, outs[i], sum(s))
			}
		}
	}
	for _, how := range []string{"write", "copy"} {
		_, err := brine.Call(t.Context(), pool, pokes, poke{How: how, S: s})
		p := as[*brine.PanicError](t, err)
		if !strings.Contains(p.Value, "read-only") || !strings.Contains(p.Value, "shared") || !strings.Contains(p.Stack, "share_test.go:") {
			t.Errorf("%s: the panic does not say what is wrong: %q\n%s", how, p.Value, p.Stack)
		}
	}
	if pids, stats := workerPIDs(pool.Stats()), pool.Stats(); len(pids) != 1 || pids[0] != pid || stats.Deaths != 0 {
		t.Errorf("the worker did not survive: %d deaths, %v is not %d", stats.Deaths, pids, pid)
	}
	_, err := brine.Call(t.Context(), pool, pokes, poke{How: "goroutine", S: s})
	if c := as[*brine.CrashError](t, err); !strings.Contains(err.Error(), "fault") || !strings.Contains(string(c.Report)+string(c.Stderr), "sharer).poke") {
		t.Errorf("written by another goroutine: %v", err)
	}
	if n, err := brine.Call(t.Context(), pool, pokes, poke{S: s}); n != sum(s) || err != nil {
		t.Errorf("afterwards: %d, %v", n, err)
	}
	checkReadOnly(t, "the maker's", s.Slice())
}

// checkReadOnly fails unless a write to s is a fault, in this process.
func checkReadOnly[T any](t *testing.T, whose string, s []T) {
	t.Helper()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() == nil {
			t.Errorf("%s elements could be written", whose)
		}
	}()
	s[len(s)/2] = s[0]
}

func TestNewShared(t *testing.T) {
	t.Parallel()
	pool := open(t, sharers, bag{}, &brine.Options{Workers: 2})
	for _, how := range []string{"sent", "sealed", "bound", "both"} {
		s, err := brine.NewShared[int64](100_000)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		slice := s.Slice()
		if len(slice) != 100_000 || s.Len() != 100_000 || slices.Max(slice) != 0 || slices.Min(slice) != 0 {
			t.Fatalf("not %d zeros", len(slice))
		}
		for i := range slice {
			slice[i] = int64(i)
		}
		s.Slice()[5] = 50 // again the same memory
		want := sum(s)
		if how == "sealed" || how == "both" {
			if err, again := s.Seal(), s.Seal(); err != nil || again != nil {
				t.Error(err, again)
			}
			checkReadOnly(t, how, slice)
		}
		if n, err := brine.Call(t.Context(), pool, brine.Bind(sumBound, s), 1); how != "sent" && (n != want+1 || err != nil) {
			t.Errorf("%s: bound: %d, %v", how, n, err)
		}
		for range 4 {
			if n, err := brine.Call(t.Context(), pool, sumArgument, s); n != want || err != nil {
				t.Errorf("%s: %d, %v; want %d", how, n, err, want)
			}
		}
		checkReadOnly(t, how, slice)
		if slice[5] != 50 || slice[99_999] != 99_999 || sum(s) != want || &s.Slice()[0] != &slice[0] {
			t.Errorf("%s: what Slice returned earlier is no good any more", how)
		}
	}
	sealed := ramp(t, 1, 10)
	if err := sealed.Seal(); err != nil {
		t.Errorf("what Share made is sealed already: %v", err)
	}
	if s, err := brine.NewShared[int64](0); err != nil || s.Len() != 0 || s.Slice() != nil || s.Seal() != nil || s.Close() != nil {
		t.Errorf("none: %v", err)
	}
}

var smapsHeader = regexp.MustCompile(`^[0-9a-f]+-[0-9a-f]+ `)

// shareMappings are the mappings of memfds in a process with that many bytes: how many, their sizes and proportional shares.
func shareMappings(t testing.TB, pid int, least, most int64) (n int, size, pss int64) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	smaps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		t.Fatal(err)
	}
	memfd, counts := false, false
	for line := range strings.Lines(string(smaps)) {
		if smapsHeader.MatchString(line) {
			memfd = strings.Contains(line, "memfd:")
			continue
		}
		fields := strings.Fields(line)
		if !memfd || len(fields) < 2 {
			continue
		}
		kb, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "Size:":
			if counts = kb<<10 >= least && kb<<10 <= most; counts {
				n, size = n+1, size+kb<<10
			}
		case "Pss:":
			if counts {
				pss += kb << 10
			}
		}
	}
	return n, size, pss
}

func descriptors(pid int) int {
	entries, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return len(entries)
}

// All workers together hold fixed data once.
func TestSharedCostsOneCopy(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	s, err := brine.NewShared[int64](size / 8)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range s.Slice() {
		s.Slice()[i] = int64(i)
	}
	pool := open(t, sharers, bag{P: s}, &brine.Options{Workers: 4}) // whose initializer reads all of it
	if n, err := brine.Call(t.Context(), pool, pokes, poke{How: "config"}); n != sum(s) || err != nil {
		t.Fatal(n, err)
	}
	pids := workerPIDs(pool.Stats())
	total := int64(0)
	for _, pid := range append(pids, os.Getpid()) {
		n, _, pss := shareMappings(t, pid, size, size+1<<20)
		if n != 1 && pid != os.Getpid() {
			t.Errorf("worker %d has %d mappings of it", pid, n)
		}
		total += pss
	}
	if len(pids) != 4 || total < size*9/10 || total > size*11/10 {
		t.Errorf("%d workers: %d bytes take %d", len(pids), size, total)
	}
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "RssAnon:")
		if kb, err := strconv.Atoi(strings.Fields(rest)[0]); err != nil || kb<<10 > size*3/4 {
			t.Errorf("worker %d has %d KB of its own, as if it had a copy: %v", pid, kb, err)
		}
	}
}

// One after the other leave nothing, here or in the workers, while the pool goes on. Not parallel: it counts.
func TestSharedDoesNotAccumulate(t *testing.T) {
	four := sumArgument.With(brine.Limits{Chunk: 1})
	accumulate(t, "argument", 8, func(pool *brine.Pool[*sharer], s *int64s) ([]int64, error) {
		return brine.Map(t.Context(), pool, four, []*int64s{s, s, s, s})
	})
	accumulate(t, "bound", 64+8, func(pool *brine.Pool[*sharer], s *int64s) ([]int64, error) { // workers keep 64 bindings
		return brine.Map(t.Context(), pool, brine.Bind(sumBound, s).With(brine.Limits{Chunk: 1}), make([]int64, 4))
	})
}

func accumulate(t *testing.T, name string, most int, send func(*brine.Pool[*sharer], *int64s) ([]int64, error)) {
	t.Run(name, func(t *testing.T) {
		checkLeaks(t)
		pool, err := brine.Open(t.Context(), sharers, bag{}, &brine.Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		pids := append(workerPIDs(pool.Stats()), os.Getpid())
		count := func() (mappings, fds []int) {
			for _, pid := range pids {
				n, _, _ := shareMappings(t, pid, 0, math.MaxInt64)
				mappings, fds = append(mappings, n), append(fds, descriptors(pid))
			}
			return mappings, fds
		}
		round := func(i int) {
			s, err := brine.Share(slices.Repeat([]int64{int64(i)}, 10_000))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if outs, err := send(pool, s); err != nil || outs[0] != sum(s) || outs[3] != sum(s) {
				t.Fatalf("%d: %v, %v; want %d", i, outs, err, sum(s))
			}
		}
		within(t, time.Minute, "200 rounds", func() {
			for i := range 5 {
				round(i)
			}
			mappings, fds := count()
			for i := range 200 {
				round(i)
			}
			more := func() string {
				nowMappings, nowFDs := count()
				for i := range pids {
					if nowMappings[i] > mappings[i]+most || nowFDs[i] > fds[i]+most {
						return fmt.Sprintf("mappings of workers and parent: %v were %v, descriptors: %v were %v", nowMappings, mappings, nowFDs, fds)
					}
				}
				return ""
			}
			for deadline := time.Now().Add(20 * time.Second); more() != ""; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal(more())
				}
				if _, err := brine.Map(t.Context(), pool, sumArgument, make([]*int64s, 10)); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

// Close waits for those who use it, or leaves it to them; afterwards it can't be sent.
func TestSharedClose(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/log"
	s, state := ramp(t, 1, 100_000), ramp(t, 7, 100_000)
	want, wantState := sum(s), sum(state)
	pool := open(t, sharers, bag{}, &brine.Options{Workers: 2})
	other := open(t, sharers, bag{P: state, Log: file + ".starts"}, &brine.Options{Workers: 1})
	keeper := open(t, sharers, bag{}, &brine.Options{Workers: 1})
	if n, err := brine.Call(t.Context(), keeper, pokes, poke{How: "keep", S: s}); n != want || err != nil {
		t.Fatal(n, err)
	}
	running := []*brine.Future[int64]{
		brine.Go(t.Context(), pool, pokes, poke{How: "await", S: s, Log: file}),
		brine.Go(t.Context(), pool, pokes, poke{How: "await", S: s, Log: file}),
	}
	eventually(t, 20*time.Second, "two tasks that run", func() bool { return marks(t, file) == 2 })
	queued := brine.Go(t.Context(), pool, pokes, poke{How: "await", S: s, Log: file})
	var closing sync.WaitGroup
	closing.Go(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	closing.Go(func() {
		if err := state.Close(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 20*time.Second, "Len to be 0", func() bool { return s.Len() == 0 && state.Len() == 0 })
	if s.Slice() != nil {
		t.Error("a closed Shared has a slice")
	}
	for range 50 { // other work goes on, and other memory comes where this might have been
		if n, err := brine.Call(t.Context(), keeper, sumArgument, ramp(t, 5, 100_000)); n == 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	mark(file + ".go")
	within(t, time.Minute, "the tasks and Close", func() {
		if n, err := queued.Wait(t.Context()); (n != want || err != nil) && (err == nil || !strings.Contains(err.Error(), "closed")) {
			t.Errorf("a task that had not begun: %d, %v; want %d, or that it is closed", n, err, want)
		}
		for _, f := range running {
			if n, err := f.Wait(t.Context()); n != want || err != nil {
				t.Errorf("a task that was given it before: %d, %v; want %d", n, err, want)
			}
		}
		closing.Wait()
	})
	if n, err := brine.Call(t.Context(), keeper, pokes, poke{How: "kept", S: nil}); n != want || err != nil {
		t.Errorf("a worker kept it: %d, %v; want %d", n, err, want)
	}
	if err := s.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	closed := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "closed") || !strings.Contains(strings.ToLower(err.Error()), "shared") {
			t.Errorf("%s: no clear error: %v", what, err)
		}
	}
	outs, err := brine.Map(t.Context(), pool, sumArgument, []*int64s{ramp(t, 1, 3), s, ramp(t, 1, 3)})
	closed("argument", err)
	if task := as[*brine.TaskError](t, err); task.Index != 1 || outs[0] == 0 || outs[2] != outs[0] {
		t.Errorf("a closed one among others: %v, %v", outs, err)
	}
	_, err = brine.Call(t.Context(), pool, surveyBag, bag{Slice: []*int64s{s}})
	closed("field of argument", err)
	_, err = brine.Call(t.Context(), pool, brine.Bind(sumBound, s), 1)
	closed("bound", err)
	_, err = brine.Open(t.Context(), sharedKind, s, &brine.Options{Workers: 1})
	closed("config", err)
	// A pool that has it in its configuration starts workers with it as ever.
	for i := range 3 {
		_, _ = brine.Call(t.Context(), other, pokes, poke{How: "kill"})
		if n, err := brine.Call(t.Context(), other, pokes, poke{How: "config"}); n != wantState || err != nil {
			t.Errorf("replacement %d: %d, %v; want %d", i, n, err, wantState)
		}
	}
	if s := other.Stats(); s.Started < 4 || marks(t, file+".starts") != int(s.Started) {
		t.Errorf("%d workers started, %d initializers ran", s.Started, marks(t, file+".starts"))
	}
}

func TestSharedZero(t *testing.T) {
	t.Parallel()
	pool := open(t, sharers, bag{}, &brine.Options{Workers: 1})
	for name, s := range map[string]*int64s{"zero": {}, "nil": nil} {
		if s.Len() != 0 || s.Slice() != nil || s.Close() != nil {
			t.Errorf("%s: Len %d, Slice %v, Close %v", name, s.Len(), s.Slice(), s.Close())
		}
		_ = s.Seal() // may be an error
		n, err := brine.Call(t.Context(), pool, sumArgument, s)
		if name == "nil" && (n != -1 || err != nil) || err == nil && n > 0 || err != nil && !strings.Contains(err.Error(), "shared") {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if n, err := brine.Call(t.Context(), pool, sumArgument, ramp(t, 1, 1)); n != 4 || err != nil {
		t.Error(n, err)
	}
}

// Several pools have the same, whatever becomes of one of them, and pass it on to pools of their workers.
func TestSharedByPools(t *testing.T) {
	t.Parallel()
	s := ramp(t, 1, 100_000)
	first, err := brine.Open(t.Context(), sharers, bag{P: s}, &brine.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	second := open(t, sharers, bag{P: s}, &brine.Options{Workers: 2})
	third := open(t, sharedKind, s, &brine.Options{Workers: 1})
	check := func() {
		t.Helper()
		for _, how := range []string{"config", "close", "config"} { // a worker's Close does no harm
			if n, err := brine.Call(t.Context(), second, pokes, poke{How: how, S: s}); n != sum(s) || err != nil {
				t.Errorf("%s: %d, %v", how, n, err)
			}
		}
		if n, err := brine.Call(t.Context(), third, sumState, 1); n != sum(s)+1 || err != nil {
			t.Error(n, err)
		}
	}
	check()
	if n, err := brine.Call(t.Context(), first, sumArgument, s); n != sum(s) || err != nil {
		t.Error(n, err)
	}
	within(t, time.Minute, "Kill", func() { first.Kill() })
	check()
	within(t, time.Minute, "nested pools", func() {
		outs, err := brine.Map(t.Context(), second, relays, []*int64s{s, s, s})
		own := int64(3*(3*(3*3+5)+6) + 7)
		for i, out := range outs {
			if !slices.Equal(out, []int64{sum(s), own, sum(s), sum(s)}) {
				t.Errorf("%d: nested: %v, want %d and %d", i, out, sum(s), own)
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
	check()
	if deaths := second.Stats().Deaths; deaths != 0 {
		t.Errorf("%d deaths", deaths)
	}
}

// Workers that come later get it as the first did, with the config, with a task that is run again, and bound.
func TestSharedSurvivesWorkers(t *testing.T) {
	t.Parallel()
	s, file := ramp(t, 1, 100_000), t.TempDir()+"/log"
	pool := open(t, sharers, bag{P: s}, &brine.Options{Workers: 1, MaxTasks: 7, Stderr: io.Discard})
	bound := brine.Bind(sumBound, s)
	if n, err := brine.Call(t.Context(), pool, pokes.With(brine.Limits{Retries: 3}), poke{How: "once", Log: file, S: s}); n != sum(s) || err != nil {
		t.Errorf("run again: %d, %v", n, err)
	}
	if n := marks(t, file); n != 3 {
		t.Errorf("run %d times", n)
	}
	for i := range 30 {
		if n, err := brine.Call(t.Context(), pool, bound, 1); n != sum(s)+1 || err != nil {
			t.Fatalf("%d: bound: %d, %v", i, n, err)
		}
		if n, err := brine.Call(t.Context(), pool, pokes, poke{How: "config"}); n != sum(s) || err != nil {
			t.Fatalf("%d: config: %d, %v", i, n, err)
		}
	}
	if started := pool.Stats().Started; started < 60/7 {
		t.Errorf("%d workers started", started)
	}
}

// More of them at once than a message on a socket carries descriptors.
func TestSharedMany(t *testing.T) {
	t.Parallel()
	many := make([]*int64s, 600)
	want, total := make([]int64, len(many)), int64(0)
	for i := range many {
		many[i] = ramp(t, i, 100)
		want[i] = sum(many[i])
		total += want[i]
	}
	pool := open(t, sharers, bag{Slice: many}, &brine.Options{Workers: 2})
	if n, err := brine.Call(t.Context(), pool, sumMany, many); n != total || err != nil {
		t.Errorf("in one argument: %d, %v; want %d", n, err, total)
	}
	outs, err := brine.Map(t.Context(), pool, sumArgument.With(brine.Limits{Chunk: 300}), many)
	if !slices.Equal(outs, want) || err != nil {
		t.Errorf("in one chunk: %v, %v", outs, err)
	}
	sums, err := brine.Call(t.Context(), pool, surveyConfig, 0)
	if err != nil || sums["Slice.0"] != want[0] || sums["Slice.599"] != want[599] {
		t.Errorf("in the config: %v, %v", sums, err)
	}
}

// Its methods, and sending it, may be called by anyone at any time.
func TestSharedFromManyGoroutines(t *testing.T) {
	t.Parallel()
	pool := open(t, sharers, bag{}, &brine.Options{Workers: 2})
	for range 20 {
		s, err := brine.Share([]int64{1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		want := sum(s)
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				switch n, err := brine.Call(t.Context(), pool, sumArgument, s); {
				case err == nil && n != want:
					t.Errorf("%d, want %d", n, want)
				case err != nil && !strings.Contains(err.Error(), "closed"):
					t.Error(err)
				}
				if n := s.Len(); n != 0 && n != 3 {
					t.Error(n)
				}
				_ = s.Slice()
				if i < 4 {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		within(t, time.Minute, "all of them", group.Wait)
	}
}
