//go:build linux

package serve

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/link"
)

// idle returns a connection that nobody serves, to a peer that reads what comes, with a pool whose workers never start.
func idle(b *testing.B) (c *connection, p *pool) {
	b.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 1<<20)
		for {
			if n, err := unix.Read(fds[1], buf); n <= 0 && err != unix.EINTR {
				return
			}
		}
	}()
	c = &connection{greeted: true, fd: fds[0], out: newOutbox(fds[0]), pools: make(map[uint32]*pool), jobs: make(map[uint64]*job)}
	stop := make(chan struct{})
	p = &pool{c: c, number: 1, e: engine.Start(engine.Config{
		Workers: 1, Stderr: io.Discard, Logger: slog.New(slog.DiscardHandler),
		Launch: func(l *link.Parent, _ []int) (engine.Process, error) {
			<-stop
			link.CloseAll([]int{l.CrashFD()})
			return nil, errGone
		},
	})}
	c.pools[1] = p
	b.Cleanup(func() {
		close(stop)
		p.e.Kill()
		c.out.close()
		c.out.wait()
		<-read
		link.CloseAll(fds[:])
	})
	return c, p
}

// BenchmarkSubmit takes submit frames of so many small tasks: ns/op are for one task.
func BenchmarkSubmit(b *testing.B) {
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, _ := idle(b)
			var args []string
			for range n {
				args = append(args, "a small argument")
			}
			payload := appendString(nil, "do")
			payload = append(payload, make([]byte, 8+4+4+8+4)...)
			payload = append(payload, bodies(args)...)
			number := uint64(0)
			for i := 0; i < b.N; i += n {
				number++
				if err := c.take(header{typ: typeSubmit, pool: 1, job: number, count: uint32(n)}, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkResults passes on so many small results that came together: ns/op are for one, with all system calls.
func BenchmarkResults(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, p := idle(b)
			j := &job{c: c, number: 1, e: p.e, first: &block{ends: make([]uint32, b.N+n)}}
			j.j = engine.NewJob(context.Background(), p.e.Function("do"), j, 0)
			j.left.Store(int64(b.N + n))
			j.first.left.Store(int64(b.N + n))
			items := make([]link.Item, n)
			for i := range items {
				items[i].Body = []byte("a small result..")
			}
			b.ResetTimer()
			for i := 0; i < b.N; i += n {
				j.Forward(i, items, 1)
				j.Flushed()
			}
		})
	}
}

// BenchmarkCall takes one task from a client through the engine and a worker and back.
func BenchmarkCall(b *testing.B) {
	c := connect(b)
	c.open(1, setting{})
	job := uint64(0)
	b.ResetTimer()
	for range b.N {
		job++
		c.submit(1, job, submission{}, "echo x")
		c.results(job, 1)
	}
}

// BenchmarkTasks has many tasks run that take no time.
func BenchmarkTasks(b *testing.B) {
	c := connect(b)
	c.open(1, setting{workers: 2})
	args := make([]string, 256)
	for i := range args {
		args[i] = "echo x"
	}
	b.ResetTimer()
	job := uint64(0)
	for i := 0; i < b.N; i += len(args) {
		job++
		c.submit(1, job, submission{}, args...)
	}
	for ; job > 0; job-- {
		c.results(job, len(args))
	}
}
