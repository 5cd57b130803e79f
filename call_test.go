package brine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

type scale struct{ Factor, Offset int }

func (c *counter) Weigh(_ context.Context, s scale, n int) (int, error) {
	return c.base + s.Factor*n + s.Offset, nil
}

// Change changes its bound argument, which is the worker's own.
func (c *counter) Change(_ context.Context, table map[int]int, n int) (int, error) {
	table[n]++
	return len(table), nil
}

func identity[T any](_ context.Context, v T) (T, error) { return v, nil }

var (
	weigh      = brine.MethodBound(counters, (*counter).Weigh)
	change     = brine.MethodBoundNamed("change a table", counters, (*counter).Change)
	double     = brine.PlainNamed("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	echoBytes  = brine.PlainNamed("echo bytes", identity[[]byte])
	echoString = brine.PlainNamed("echo string", identity[string])
	named      = brine.MethodNamed("añadir · 加", counters, (*counter).Fail)
	fail       = brine.Method(counters, (*counter).FailToo)
	appendOne  = brine.Plain(appendToArgument)
)

func (c *counter) Fail(context.Context, int) (int, error)    { return 0, errors.New("failed") }
func (c *counter) FailToo(context.Context, int) (int, error) { return 0, errors.New("failed too") }

// appendToArgument keeps and changes the slice that it was given.
func appendToArgument(_ context.Context, b []byte) ([]byte, error) {
	for i := range b {
		b[i]++
	}
	kept = append(kept, b)
	return append(b, byte(len(kept))), nil
}

var kept [][]byte

func TestCall(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := open(t, counters, 100, &brine.Options{Workers: 2})
	tests := []struct {
		name string
		f    brine.Func[*counter, int, int]
		in   int
		want int
	}{
		{"method", add, 7, 107},
		{"method, negative", add, -101, -1},
		{"bound", brine.Bind(weigh, scale{3, 1}), 5, 116},
		{"bound otherwise", brine.Bind(weigh, scale{0, 1}), 5, 101},
		{"bound to zero", brine.Bind(weigh, scale{}), 5, 100},
		{"with limits", add.With(brine.Limits{Timeout: time.Minute, Retries: 3, Chunk: 64}), 1, 101},
		{"bound with limits", brine.Bind(weigh, scale{3, 1}).With(brine.Limits{Timeout: time.Minute}), 1, 104},
	}
	for _, test := range tests {
		for range 3 {
			if got, err := brine.Call(ctx, pool, test.f, test.in); got != test.want || err != nil {
				t.Errorf("%s: Call(%d) = %d, %v, want %d", test.name, test.in, got, err, test.want)
			}
		}
	}
}

func TestCallFromManyGoroutines(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 1000, &brine.Options{Workers: 2})
	var group sync.WaitGroup
	for g := range 64 {
		group.Go(func() {
			for i := range 100 {
				in := g*1000 + i
				if got, err := brine.Call(t.Context(), pool, add, in); got != in+1000 || err != nil {
					t.Errorf("Call(%d) = %d, %v", in, got, err)
					return
				}
			}
		})
	}
	within(t, time.Minute, "64 goroutines", group.Wait)
	if done := pool.Stats().Done; done != 6400 {
		t.Errorf("Stats().Done = %d, want 6400", done)
	}
}

// A handler that serves requests while others end the pool must see an answer or ErrClosed, never something else.
func TestCallWhileClosing(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"Close", "Kill"} {
		pool := open(t, counters, 0, &brine.Options{Workers: 2})
		var group sync.WaitGroup
		var once sync.Once
		begun := make(chan struct{})
		for range 16 {
			group.Go(func() {
				for i := 0; ; i++ {
					got, err := brine.Call(t.Context(), pool, add, i)
					once.Do(func() { close(begun) })
					if err == nil && got == i {
						continue
					}
					if !errors.Is(err, brine.ErrClosed) {
						t.Errorf("%s: Call(%d) = %d, %v", end, i, got, err)
					}
					return
				}
			})
		}
		<-begun
		within(t, time.Minute, end, func() {
			if end == "Kill" {
				pool.Kill()
			} else if err := pool.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			group.Wait()
		})
	}
}

func TestCallRunsInAnotherProcess(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 0, &brine.Options{Workers: 1})
	pid, err := brine.Call(t.Context(), pool, who, 0)
	if err != nil || pid == os.Getpid() {
		t.Fatalf("ran in %d, %v; the test is %d", pid, err, os.Getpid())
	}
	if pids := workerPIDs(pool.Stats()); !slices.Equal(pids, []int{pid}) {
		t.Errorf("Stats has workers %v, the task ran in %d", pids, pid)
	}
	for want := 1; want < 5; want++ {
		if n, err := brine.Call(t.Context(), pool, calls, struct{}{}); n != want || err != nil {
			t.Errorf("the state counted %d, %v, want %d", n, err, want)
		}
	}
}

func TestBindIsTheWorkersOwn(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 0, &brine.Options{Workers: 1})
	table := map[int]int{1: 1}
	one, other := brine.Bind(change, table), brine.Bind(change, map[int]int{})
	for i := range 5 {
		if n, err := brine.Call(t.Context(), pool, one, 10+i); n != 2+i || err != nil {
			t.Errorf("call %d of the first binding: %d, %v", i, n, err)
		}
		if n, err := brine.Call(t.Context(), pool, other, 10+i); n != 1+i || err != nil {
			t.Errorf("call %d of the second binding: %d, %v", i, n, err)
		}
	}
	if len(table) != 1 {
		t.Errorf("the caller's own argument has changed: %v", table)
	}
}

// More bindings than a worker keeps, used in turn and at once.
func TestBindMany(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 0, &brine.Options{Workers: 2})
	fs := make([]brine.Func[*counter, int, int], 200)
	for i := range fs {
		fs[i] = brine.Bind(weigh, scale{1, 1000 * i})
	}
	within(t, time.Minute, "200 bindings", func() {
		for range 2 {
			var group sync.WaitGroup
			for i, f := range fs {
				group.Go(func() {
					outs, err := brine.Map(t.Context(), pool, f, numbers(20))
					for j, out := range outs {
						if out != 1000*i+j {
							t.Errorf("binding %d of %d: %d", i, j, out)
						}
					}
					if err != nil {
						t.Errorf("binding %d: %v", i, err)
					}
				})
			}
			group.Wait()
		}
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 0, &brine.Options{Workers: 1})
	var task *brine.TaskError
	if _, err := brine.Call(t.Context(), pool, named, 1); !errors.As(err, &task) || task.Func != "añadir · 加" {
		t.Errorf("TaskError.Func is not the explicit name: %#v", err)
	}
	if got := named.Name(); got != "añadir · 加" {
		t.Errorf("Name() = %q", got)
	}
	if _, err := brine.Call(t.Context(), pool, fail, 1); !errors.As(err, &task) || !strings.Contains(task.Func, "FailToo") {
		t.Errorf("TaskError.Func is not the method's name: %#v", err)
	} else if !strings.Contains(err.Error(), "FailToo") || !strings.Contains(err.Error(), "failed too") {
		t.Errorf("the text does not say what failed and how: %v", err)
	}
}

func TestTaskKeepsAndChangesItsArgument(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	for _, size := range []int{0, 1, 100, 4096, 5000, 1 << 20} {
		for i := range 3 {
			in := slices.Repeat([]byte{byte(i)}, size)
			out, err := brine.Call(t.Context(), pool, appendOne, in)
			if err != nil || len(out) != size+1 || size > 0 && (out[0] != byte(i+1) || out[size-1] != byte(i+1)) {
				t.Fatalf("%d bytes: %d back, %v", size, len(out), err)
			}
			if size > 0 && in[0] != byte(i) {
				t.Fatal("the caller's argument has changed")
			}
			out[0]++ // the caller's own
		}
	}
}

func TestPayloadSizes(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	var sizes []int
	for _, around := range []int{0, 128, 1024, 2048, 4096, 8192, 1 << 15, 1 << 16, 1 << 17, 1 << 20, 1 << 22} {
		for d := -40; d <= 2; d++ {
			if n := around + d; n >= 0 {
				sizes = append(sizes, n)
			}
			if around > 1<<17 && d < 0 {
				d += 6
			}
		}
	}
	within(t, time.Minute, "payloads", func() {
		ins := make([]string, len(sizes))
		for i, n := range sizes {
			ins[i] = strings.Repeat(string(rune('a'+i%26)), n)
		}
		outs, err := brine.Map(t.Context(), pool, echoString, ins)
		if err != nil {
			t.Fatal(err)
		}
		for i := range outs {
			if outs[i] != ins[i] {
				t.Fatalf("%d bytes came back as %d others", len(ins[i]), len(outs[i]))
			}
		}
		big := make([]byte, 64<<20)
		for i := range big {
			big[i] = byte(i * i >> 8)
		}
		out, err := brine.Call(t.Context(), pool, echoBytes, big)
		if err != nil || !slices.Equal(out, big) {
			t.Fatal(fmt.Errorf("64 MB: %d back, %w", len(out), err))
		}
	})
}
