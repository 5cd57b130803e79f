package brine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

// cargo is what a task is sent in the tests of deaths.
type cargo struct {
	How   string
	Log   string
	Bytes []byte
	Ints  []int64
	Back  int // bytes of the result
}

func carry(_ context.Context, c cargo) ([]byte, error) {
	sum := crc32.ChecksumIEEE(c.Bytes)
	if c.How != "" {
		if _, err := doDeed(context.Background(), deed{How: c.How, Log: c.Log, N: 1}); err != nil {
			return nil, err
		}
	}
	if again := crc32.ChecksumIEEE(c.Bytes); again != sum {
		return nil, errors.New("the argument has changed under way")
	}
	return append(fill(c.Back, int(c.Ints[0])), binary.LittleEndian.AppendUint32(nil, sum)...), nil
}

// delivered checks what carry returned.
func (c cargo) delivered(out []byte) bool {
	want := append(fill(c.Back, int(c.Ints[0])), binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(c.Bytes))...)
	return bytes.Equal(out, want)
}

func cargoes(n, size int) []cargo {
	cs := make([]cargo, n)
	for i := range cs {
		cs[i] = cargo{Bytes: fill(size+i, i), Ints: fillInts(size/8, i+1), Back: size - i}
	}
	return cs
}

// Each death with large values under way is one task's, or is run again.
func TestPayloadsAndDeaths(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"panic", "exit", "kill", "error", "goexit", "goroutine"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			pool := open(t, hoards, 0, &brine.Options{Workers: 2, Stderr: io.Discard})
			cs := cargoes(24, 200_000)
			for i := range cs {
				if i%6 == 3 {
					cs[i].How = how
				}
			}
			for range 2 {
				outs, err := brine.Map(t.Context(), pool, carrying.With(brine.Limits{Chunk: 4}), cs)
				if task := as[*brine.TaskError](t, err); task.Index != 3 {
					t.Errorf("the first error: %v", err)
				}
				for i, c := range cs {
					if c.How == "" && !c.delivered(outs[i]) || c.How != "" && outs[i] != nil {
						t.Errorf("%d, %q: a result of %d bytes", i, c.How, len(outs[i]))
					}
				}
			}
		})
	}
	t.Run("retried", func(t *testing.T) {
		t.Parallel()
		pool := open(t, hoards, 0, &brine.Options{Workers: 2, Stderr: io.Discard})
		cs, dir := cargoes(16, 300_000), t.TempDir()
		for i := range cs {
			if i%4 == 1 {
				cs[i].How, cs[i].Log = "once", markPath(dir, i)
			}
		}
		err := brine.Each(t.Context(), pool, carrying.With(brine.Limits{Retries: 2, Chunk: 4}), cs, func(i int, out []byte) error {
			if !cs[i].delivered(out) {
				t.Errorf("%d: wrong", i)
			}
			return nil
		})
		if s := pool.Stats(); err != nil || s.Deaths != 4 || s.Done != 16 {
			t.Errorf("%v; %d deaths, %d done", err, s.Deaths, s.Done)
		}
	})
	t.Run("killed from outside", func(t *testing.T) {
		t.Parallel()
		pool := open(t, hoards, 0, &brine.Options{Workers: 2, Stderr: io.Discard})
		cs, done := cargoes(150, 400_000), make(chan struct{})
		go func() {
			defer close(done)
			for killed := range int64(12) { // one each time a few more are done
				for s := pool.Stats(); s.Done < 10*killed; s = pool.Stats() {
					if t.Context().Err() != nil {
						return
					}
					time.Sleep(100 * time.Microsecond)
				}
				if pids := workerPIDs(pool.Stats()); len(pids) > 0 {
					_ = syscall.Kill(pids[int(killed)%len(pids)], syscall.SIGKILL)
				}
			}
		}()
		within(t, time.Minute, "Map", func() {
			outs, err := brine.Map(t.Context(), pool, carrying.With(brine.Limits{Retries: 1000}), cs)
			if err != nil {
				t.Error(err)
			}
			for i, out := range outs {
				if !cs[i].delivered(out) {
					t.Errorf("%d: wrong, %d bytes", i, len(out))
				}
			}
		})
		<-done
		if deaths := pool.Stats().Deaths; deaths < 6 {
			t.Errorf("only %d deaths", deaths)
		}
	})
}

// Tasks that are ended by force, or never begin, take their memory with them.
func TestPayloadsAndCancellation(t *testing.T) {
	t.Parallel()
	pool := open(t, hoards, 0, &brine.Options{Workers: 1, Grace: 50 * time.Millisecond, Stderr: io.Discard, ArenaMemory: 16 << 20})
	cs, dir := cargoes(12, 500_000), t.TempDir()
	for round := range 3 {
		stuck := cs[round]
		stuck.How = []string{"loop", "hang", "loop"}[round]
		_, err := brine.Call(t.Context(), pool, carrying.With(brine.Limits{Timeout: 100 * time.Millisecond}), stuck)
		is(brine.ErrTimeout)(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		stuck.Log = markPath(dir, round)
		first := brine.Go(ctx, pool, carrying, stuck)
		waits := brine.Go(ctx, pool, carrying, cs[3])
		eventually(t, 20*time.Second, "a task that runs", func() bool { return marks(t, stuck.Log) > 0 })
		cancel()
		within(t, time.Minute, "what was cancelled", func() {
			for _, f := range []*brine.Future[[]byte]{first, waits} {
				if _, err := f.Wait(context.Background()); !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled: %v", err)
				}
			}
		})
		outs, err := brine.Map(t.Context(), pool, carrying, cs)
		for i, out := range outs {
			if !cs[i].delivered(out) {
				t.Errorf("round %d, %d: wrong afterwards: %v", round, i, err)
			}
		}
	}
}
