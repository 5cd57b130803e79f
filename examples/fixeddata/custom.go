package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// customPool is a pool of processes as one makes it by hand: this program again, with a pipe in and a pipe out. Each
// process is sent the fixed data once, and then lists. The lists are equally long, so that each gets an equal part.
type customPool struct{ workers []*customWorker }

type customWorker struct {
	cmd   *exec.Cmd
	stdin io.Closer
	to    *bufio.Writer
	from  *bufio.Reader
}

func openCustom(ctx context.Context, data []int64) (pool, error) {
	p := &customPool{}
	for range workers {
		w, err := startCustomWorker(ctx)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.workers = append(p.workers, w)
	}
	err := p.each(func(_ int, w *customWorker) error {
		if err := writeInts(w.to, data); err != nil {
			return err
		}
		return w.to.Flush()
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func startCustomWorker(ctx context.Context) (*customWorker, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, customFlag)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	if err := cmd.Start(); err != nil { // which closes the pipes when it fails
		return nil, err
	}
	return &customWorker{cmd, in, bufio.NewWriter(in), bufio.NewReader(out)}, nil
}

// Sums has each worker sum up its part of the lists.
func (p *customPool) Sums(_ context.Context, lists [][]int64) ([]int64, error) {
	sums := make([]int64, len(lists))
	err := p.each(func(i int, w *customWorker) error {
		from, to := i*len(lists)/len(p.workers), (i+1)*len(lists)/len(p.workers)
		return w.sums(lists[from:to], sums[from:to])
	})
	return sums, err
}

// sums writes and reads at the same time. Whoever writes everything first stands still for ever once both pipes are full.
func (w *customWorker) sums(lists [][]int64, sums []int64) error {
	written := make(chan error, 1)
	go func() {
		for _, list := range lists {
			if err := writeInts(w.to, list); err != nil {
				written <- err
				return
			}
		}
		written <- w.to.Flush()
	}()
	var read error
	for i := range sums {
		if sums[i], read = readInt(w.from); read != nil {
			if errors.Is(read, io.EOF) {
				read = io.ErrUnexpectedEOF
			}
			break
		}
	}
	return cmp.Or(read, <-written)
}

// each does something with all workers at once.
func (p *customPool) each(do func(i int, w *customWorker) error) error {
	errs := make([]error, len(p.workers))
	var group sync.WaitGroup
	for i, w := range p.workers {
		group.Go(func() {
			if err := do(i, w); err != nil {
				errs[i] = fmt.Errorf("worker %d: %w", w.cmd.Process.Pid, err)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// PIDs returns the numbers of the worker processes.
func (p *customPool) PIDs() (pids []int) {
	for _, w := range p.workers {
		pids = append(pids, w.cmd.Process.Pid)
	}
	return pids
}

// Close ends the workers: each exits at the end of its input. It waits for them, and returns what went wrong with any.
func (p *customPool) Close() error {
	return p.each(func(_ int, w *customWorker) error {
		closed := w.stdin.Close()
		_, read := io.Copy(io.Discard, w.from) // Wait closes the pipe, so what is in it comes first
		return errors.Join(closed, read, w.cmd.Wait())
	})
}
