package brine_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

// killer kills a random worker whenever it is let, until it has killed n or is stopped; it returns how many.
func killer(pool interface{ Stats() brine.Stats }, random *rand.Rand, n int, pause time.Duration, stop <-chan struct{}) int {
	killed := 0
	for killed < n {
		select {
		case <-stop:
			return killed
		case <-time.After(time.Duration(random.Int64N(int64(pause)))):
		}
		pids := workerPIDs(pool.Stats())
		if len(pids) == 0 {
			continue
		}
		if syscall.Kill(pids[random.IntN(len(pids))], syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}

func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("BRINE_TEST_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed: BRINE_TEST_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// 300 workers are killed under load: every result is right and comes exactly once, and nothing hangs.
func TestKills(t *testing.T) {
	checkLeaks(t)
	random := seed(t)
	pool := open(t, counters, 7, &brine.Options{Workers: 4})
	f := add.With(brine.Limits{Retries: 1000})
	stop, failed := make(chan struct{}), make(chan struct{})
	fail := sync.OnceFunc(func() { close(failed) })
	var group sync.WaitGroup
	var tasks atomic.Int64
	load := func(what string, run func() (int, error)) {
		group.Go(func() {
			for {
				n, err := run()
				if err != nil {
					t.Errorf("%s: %v", what, err)
					fail()
					return
				}
				tasks.Add(int64(n))
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for _, n := range []int{1000, 30_000} {
		load("Map", func() (int, error) {
			outs, err := brine.Map(t.Context(), pool, f, numbers(n))
			for i, out := range outs {
				if out != i+7 && err == nil {
					return 0, fmt.Errorf("result %d is %d", i, out)
				}
			}
			return n, err
		})
	}
	load("All", func() (int, error) {
		i := 0
		for out, err := range brine.All(t.Context(), pool, f, upTo(5000)) {
			if err != nil || out != i+7 {
				return 0, fmt.Errorf("result %d is %d, %w", i, out, err)
			}
			i++
		}
		if i != 5000 {
			return 0, fmt.Errorf("%d results of 5000", i)
		}
		return i, nil
	})
	load("Unordered", func() (int, error) {
		seen := make([]int, 5000)
		for r := range brine.Unordered(t.Context(), pool, f.With(brine.Limits{Retries: 1000, Chunk: 64}), upTo(5000)) {
			if r.Err != nil || r.Out != r.In+7 || r.In != r.Index {
				return 0, fmt.Errorf("%+v", r)
			}
			seen[r.Index]++
		}
		for i, n := range seen {
			if n != 1 {
				return 0, fmt.Errorf("result %d came %d times", i, n)
			}
		}
		return len(seen), nil
	})
	for range 8 {
		load("Call", func() (int, error) {
			n := int(tasks.Load())
			if out, err := brine.Call(t.Context(), pool, f, n); err != nil || out != n+7 {
				return 0, fmt.Errorf("%d is %d, %w", n, out, err)
			}
			return 1, nil
		})
	}
	within(t, 90*time.Second, "300 kills", func() {
		if n := killer(pool, random, 300, 20*time.Millisecond, failed); n != 300 {
			t.Errorf("%d kills", n)
		}
		close(stop)
		group.Wait()
	})
	s := pool.Stats()
	t.Logf("%d tasks, %d started, %d deaths, %d retried", tasks.Load(), s.Started, s.Deaths, s.Retried)
	if s.Failed != 0 || s.Done != tasks.Load() {
		t.Errorf("Done %d, Failed %d, want %d and 0", s.Done, s.Failed, tasks.Load())
	}
	if s.Deaths < 100 {
		t.Errorf("only %d deaths", s.Deaths)
	}
}

// Kills with large payloads, which travel otherwise than small ones.
func TestKillsWithPayloads(t *testing.T) {
	t.Parallel()
	random := seed(t)
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 3})
	stop, killed := make(chan struct{}), make(chan int)
	// So many and no more: on a busy machine a worker may be killed each time before it has done anything.
	go func() { killed <- killer(pool, random, 100, 40*time.Millisecond, stop) }()
	defer func() {
		close(stop)
		t.Logf("%d kills", <-killed)
	}()
	within(t, 3*time.Minute, "payloads", func() {
		for round := range 15 {
			ins := make([]string, 60)
			for i := range ins {
				ins[i] = string(make([]byte, 1<<uint(i%20))) + fmt.Sprint(round, i)
			}
			outs, err := brine.Map(t.Context(), pool, echoString.With(brine.Limits{Retries: 100}), ins)
			if err != nil {
				t.Fatal(err)
			}
			for i := range outs {
				if outs[i] != ins[i] {
					t.Fatalf("round %d: result %d differs", round, i)
				}
			}
		}
	})
}
