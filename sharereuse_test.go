package brine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

type onceShared struct {
	Data *brine.Shared[int64]
	File string // that says that the task was run before
}

var (
	dieOnceShared = brine.PlainNamed("die once with shared data", func(_ context.Context, in onceShared) (int64, error) {
		if _, err := os.Stat(in.File); err != nil {
			if err := os.WriteFile(in.File, nil, 0o600); err != nil {
				return 0, err
			}
			for in.Data != nil { // until it is killed
				time.Sleep(time.Millisecond)
			}
		}
		return in.Data.Slice()[1], nil
	})

	keptShared *brine.Shared[int64] // in a worker
	keepShared = brine.PlainNamed("keep shared data", func(_ context.Context, s *brine.Shared[int64]) (int, error) {
		keptShared = s
		return s.Len(), nil
	})
	sumKept = brine.MethodBoundNamed("read bound shared data", brine.Stateless,
		func(_ struct{}, _ context.Context, s *brine.Shared[int64], i int) (int64, error) {
			return s.Slice()[i], nil
		})
	bindKept = brine.PlainNamed("bind kept shared data", bindKeptShared)
)

// bindKeptShared uses what was kept three times in a pool of its own.
func bindKeptShared(ctx context.Context, _ int) (sum int64, err error) {
	pool, err := brine.Open(ctx, brine.Stateless, struct{}{}, nil)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	f := brine.Bind(sumKept, keptShared)
	for i := range 3 {
		n, e := brine.Call(ctx, pool, f, i)
		sum, err = sum+n, errors.Join(err, e)
		time.Sleep(20 * time.Millisecond) // in which the worker would be told to forget it
	}
	return sum, err
}

// A task that was sent is tried again with its shared data, although that was closed meanwhile.
func TestSharedRetryAfterClose(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	s, err := brine.Share([]int64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ran")
	f := brine.Go(t.Context(), pool, dieOnceShared.With(brine.Limits{Retries: 2}), onceShared{s, file})
	eventually(t, 20*time.Second, "the task to run", func() bool { _, err := os.Stat(file); return err == nil })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range workerPIDs(pool.Stats()) {
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := f.Wait(t.Context()); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// What a worker keeps is good for pools of its own, although its maker has closed it.
func TestSharedKeptAndBound(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	s, err := brine.Share([]int64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := brine.Call(t.Context(), pool, keepShared, s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := brine.Call(t.Context(), pool, bindKept, 0); n != 6 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
}

// What is sealed because it is sent can be read meanwhile.
func TestSharedReadWhileSealed(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	for round := range 30 {
		s, err := brine.NewShared[int64](10_000)
		if err != nil {
			t.Fatal(err)
		}
		data := s.Slice()
		for i := range data {
			data[i] = int64(round)
		}
		stop := make(chan struct{})
		var readers sync.WaitGroup
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for i := 0; i < len(data); i += 512 {
					if data[i] != int64(round) {
						t.Errorf("element %d is %d", i, data[i])
						return
					}
				}
			}
		})
		if _, err := brine.Call(t.Context(), pool, keepShared, s); err != nil {
			t.Error(err)
		}
		close(stop)
		readers.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
