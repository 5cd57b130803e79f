//go:build linux

package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestKillsUnderLoad kills the workers of a pool at random instants while large arguments are read and large results are
// written, in all the ways in which tasks go there and results are used. Each task ends once, and right; nothing is left.
func TestKillsUnderLoad(t *testing.T) {
	t.Parallel()
	kills := 300
	if testing.Short() || raceDetector {
		kills = 30
	}
	cfg := config("good", 2)
	cfg.Arena = 8 << 20 // little enough to be full now and then
	e := open(t, cfg)
	shared := segments(t, 4)
	stop := make(chan struct{})
	var over atomic.Bool
	held := make(chan func(), 1000)
	var users sync.WaitGroup
	users.Go(func() { (&keepers{held: held}).letGo(6, stop) })
	var jobs, tasks atomic.Int64
	ways := []func(b *blobs) *Job{
		func(b *blobs) *Job { return NewJob(context.Background(), e.Function("decoded"), b, 0) },
		func(b *blobs) *Job { return NewJob(context.Background(), e.Function("kept"), &keepers{b, held}, 4) },
		nil, // calls
	}
	var load sync.WaitGroup
	for way, job := range ways {
		load.Go(func() {
			for round := uint64(0); !over.Load(); round++ {
				b := &blobs{work: new(work), seed: round<<8 | uint64(way), least: 64 << 10, most: 1 << 20, shared: shared}
				n := 12
				if job == nil {
					n = 1
					j := NewJob(context.Background(), e.Function("called"), b, 0)
					j.Retries, j.Sized = 1<<20, true
					if err := e.Call(j); err != nil {
						t.Error(err)
						return
					}
				} else {
					j := job(b)
					j.Retries, j.Sized = 1<<20, true
					if err := e.Submit(j, n, false); err != nil {
						t.Error(err)
						return
					}
					b.await(t, j, n)
				}
				b.mu.Lock()
				err := errors.Join(b.errs(n)...)
				if len(b.ended) != n || len(b.twice) > 0 || err != nil {
					t.Errorf("%d of %d tasks have ended, these twice: %v; %v", len(b.ended), n, b.twice, err)
				}
				b.mu.Unlock()
				jobs.Add(1)
				tasks.Add(int64(n))
			}
		})
	}
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 8))
	for done := int64(0); e.Counts().Deaths < int64(kills) && !t.Failed(); {
		// Workers that never answer anything are started ever more slowly.
		for deadline := time.Now().Add(patience); e.Counts().Done < done+2; time.Sleep(50 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatalf("nothing is done any more, after %d deaths", e.Counts().Deaths)
			}
		}
		time.Sleep(time.Duration(random.Int64N(int64(3 * time.Millisecond))))
		done = e.Counts().Done
		e.mu.Lock()
		if w := e.slots[random.IntN(len(e.slots))].w; w != nil {
			_ = syscall.Kill(w.proc.Pid(), syscall.SIGKILL)
		}
		e.mu.Unlock()
	}
	over.Store(true)
	load.Wait()
	if err := closed(t, e); err != nil && !t.Failed() {
		t.Log(err) // a worker that was killed as the last did not close its state
	}
	close(stop)
	users.Wait()
	released(t, shared)
	c := e.Counts()
	t.Logf("%d jobs of %d tasks in all; %+v", jobs.Load(), tasks.Load(), c)
	if c.Failed > 0 || c.Done != tasks.Load() {
		t.Errorf("counts %+v", c)
	}
}
