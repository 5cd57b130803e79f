package brine_test

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

func upTo(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	}
}

func TestAll(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	for _, n := range []int{0, 1, 2, 63, 64, 65, 5000, 50_000} {
		results := brine.All(t.Context(), pool, odd, upTo(n))
		for range 2 { // it may be run again, as any sequence
			i := 0
			for out, err := range results {
				var task *brine.TaskError
				switch {
				case i%2 == 0 && (err != nil || out != i+1):
					t.Fatalf("%d of %d: %d, %v", i, n, out, err)
				case i%2 == 1 && (!errors.As(err, &task) || task.Index != i):
					t.Fatalf("%d of %d: %d, %v", i, n, out, err)
				}
				i++
			}
			if i != n {
				t.Fatalf("%d results of %d", i, n)
			}
		}
	}
}

func TestUnordered(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	for _, n := range []int{0, 1, 2, 64, 50_000} {
		seen := make([]bool, n)
		for r := range brine.Unordered(t.Context(), pool, odd, upTo(n)) {
			if r.Index < 0 || r.Index >= n || seen[r.Index] {
				t.Fatalf("index %d twice, or out of range: %v", r.Index, r.Err)
			}
			seen[r.Index] = true
			var task *brine.TaskError
			failed := errors.As(r.Err, &task) && task.Index == r.Index
			if r.In != r.Index || r.In%2 == 0 && (r.Err != nil || r.Out != r.In+1) || r.In%2 == 1 && !failed {
				t.Fatalf("%+v", r)
			}
		}
		for i, ok := range seen {
			if !ok {
				t.Fatalf("no result of %d", i)
			}
		}
	}
}

// The first task waits for a file that is made when the second has been yielded.
func TestUnorderedOvertakes(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	file := t.TempDir() + "/go"
	seq := func(yield func(deed) bool) { _ = yield(deed{How: "await", Log: file}) && yield(deed{}) }
	var order []int
	within(t, 20*time.Second, "Unordered", func() {
		for r := range brine.Unordered(t.Context(), pool, do.With(brine.Limits{Chunk: 1}), seq) {
			order = append(order, r.Index)
			mark(file)
		}
	})
	if len(order) != 2 || order[0] != 1 {
		t.Errorf("results came as %v", order)
	}
}

// A result is yielded as soon as it is there, although the sequence has not gone on.
func TestStreamFromBlockedSequence(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	for _, chunk := range []int{0, 1, 64} {
		next := make(chan int, 1)
		seq := func(yield func(int) bool) {
			for n := range next {
				if !yield(n) {
					return
				}
			}
		}
		f := double.With(brine.Limits{Chunk: chunk})
		within(t, 20*time.Second, "a conversation by All", func() {
			next <- 1
			for n, err := range brine.All(t.Context(), pool, f, seq) {
				if err != nil {
					t.Errorf("%v", err)
				}
				if n > 1000 {
					close(next)
					return
				}
				next <- n
			}
		})
		next = make(chan int, 1)
		within(t, 20*time.Second, "a conversation by Unordered", func() {
			next <- 1
			for r := range brine.Unordered(t.Context(), pool, f, seq) {
				if r.Err != nil || r.Out > 1000 {
					break
				}
				next <- r.Out
			}
		})
		close(next)
	}
}

func TestStreamEndsWithItsContext(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, InFlight: 100})
	blocked := func(yield func(int) bool) {
		for i := 0; i < 20 && yield(i); i++ {
		}
		<-t.Context().Done()
	}
	for name, seq := range map[string]iter.Seq[int]{"endless": endless, "blocked": blocked} {
		ctx, cancel := context.WithCancel(t.Context())
		var last error
		i, after := 0, 0
		within(t, 20*time.Second, "All, "+name, func() {
			for n, err := range brine.All(ctx, pool, double, seq) {
				if last != nil {
					after++
				}
				if last = err; err == nil && n != 2*i {
					t.Errorf("%d is %d", i, n)
				}
				if i++; i == 10 {
					cancel()
				}
			}
		})
		if last != ctx.Err() || after != 0 { //nolint:errorlint // it is to be this very error
			t.Errorf("All, %s: the last error is %v, want ctx.Err(); %d after it", name, last, after)
		}
		if i > 10_000 {
			t.Errorf("All, %s: %d results after the context's end", name, i)
		}

		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		var result brine.Result[int, int]
		within(t, 20*time.Second, "Unordered, "+name, func() {
			for result = range brine.Unordered(ctx, pool, double, seq) {
				continue
			}
		})
		cancel()
		if result.Err != context.DeadlineExceeded || result.Index != -1 { //nolint:errorlint // this very error
			t.Errorf("Unordered, %s: the last result is %+v", name, result)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs []error
	for _, err := range brine.All(ctx, pool, double, func(func(int) bool) { t.Error("the sequence was started") }) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || errs[0] != context.Canceled { //nolint:errorlint // this very error
		t.Errorf("All with a context already done yielded %v", errs)
	}
}

// The elements that were pulled and not yielded never exceed InFlight.
func TestInFlight(t *testing.T) {
	t.Parallel()
	for _, bound := range []int{1, 2, 3, 16, 100} {
		pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, InFlight: bound})
		var pulled, yielded, most atomic.Int64
		seq := func(yield func(int) bool) {
			for i := 0; ; i++ {
				now := pulled.Add(1) - yielded.Load()
				most.Store(max(most.Load(), now))
				if !yield(i) {
					return
				}
			}
		}
		check := func(verb string) {
			if most.Load() > int64(bound) {
				t.Errorf("%s with InFlight %d had %d in flight", verb, bound, most.Load())
			}
			pulled.Store(0)
			yielded.Store(0)
			most.Store(0)
		}
		within(t, 30*time.Second, "streams", func() {
			for range brine.All(t.Context(), pool, double, seq) {
				if yielded.Add(1) == 1000 {
					break
				}
			}
			check("All")
			for range brine.Unordered(t.Context(), pool, double, seq) {
				if yielded.Add(1) == 1000 {
					break
				}
			}
			check("Unordered")
			// A slow consumer: what can be pulled is pulled, and no more.
			for range brine.All(t.Context(), pool, double, seq) {
				yielded.Add(1)
				if bound > 1 {
					eventually(t, 10*time.Second, "the sequence is read ahead", func() bool { return pulled.Load() > yielded.Load() })
				}
				if yielded.Load() == 20 {
					break
				}
			}
			check("slow All")
		})
	}
}

func TestStreamPanics(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	seq := func(yield func(int) bool) {
		for i := range 5 {
			yield(i)
		}
		panic("of the sequence")
	}
	tests := map[string]func(){
		"of the sequence": func() {
			for range brine.All(t.Context(), pool, double, seq) {
				continue
			}
		},
		"of the loop": func() {
			for range brine.All(t.Context(), pool, double, endless) {
				panic("of the loop")
			}
		},
	}
	for want, loop := range tests {
		within(t, 20*time.Second, want, func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("recovered %v, want the panic %q", got, want)
				}
			}()
			loop()
		})
	}
	within(t, 20*time.Second, "panic of the sequence in Unordered", func() {
		defer func() {
			if got := recover(); got != "of the sequence" {
				t.Errorf("recovered %v", got)
			}
		}()
		for range brine.Unordered(t.Context(), pool, double, seq) {
			continue
		}
	})
	// t.FailNow in the body of a loop is a Goexit.
	within(t, 20*time.Second, "Goexit in the loop", func() {
		for range brine.All(t.Context(), pool, double, endless) {
			runtime.Goexit()
		}
	})
	within(t, 20*time.Second, "Goexit in the sequence", func() {
		for range brine.All(t.Context(), pool, double, func(yield func(int) bool) { yield(1); runtime.Goexit() }) {
			continue
		}
	})
	if n, err := brine.Call(t.Context(), pool, double, 4); n != 8 || err != nil {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}

func TestStreamsInAStream(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, InFlight: 8})
	within(t, 30*time.Second, "a pipeline on one pool", func() {
		first := brine.All(t.Context(), pool, double, upTo(2000))
		i := 0
		for n, err := range brine.All(t.Context(), pool, double, func(yield func(int) bool) {
			for n, err := range first {
				if err != nil || !yield(n) {
					return
				}
			}
		}) {
			if n != 4*i || err != nil {
				t.Fatalf("%d: %d, %v", i, n, err)
			}
			if got, err := brine.Call(t.Context(), pool, double, n); got != 2*n || err != nil {
				t.Fatal(got, err)
			}
			i++
		}
		if i != 2000 {
			t.Errorf("%d results", i)
		}
	})
	next, stop := iter.Pull2(brine.All(t.Context(), pool, double, endless))
	for i := range 10 {
		if n, err, ok := next(); n != 2*i || err != nil || !ok {
			t.Errorf("pulled %d, %v, %v", n, err, ok)
		}
	}
	within(t, 20*time.Second, "stop", stop)
}

func TestStreamOfAPoolThatEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*brine.Pool[struct{}]){
		"Close": func(p *brine.Pool[struct{}]) { p.Close() }, "Kill": func(p *brine.Pool[struct{}]) { p.Kill() },
	} {
		for _, where := range []string{"in the loop", "beside the loop"} {
			pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
			within(t, 30*time.Second, name+" "+where, func() {
				var last error
				i := 0
				ended := make(chan struct{})
				for n, err := range brine.All(t.Context(), pool, double, endless) {
					if last = err; err == nil && n != 2*i {
						t.Errorf("%d is %d", i, n)
					}
					if i++; i == 100 {
						if where == "in the loop" {
							end(pool)
							close(ended)
						} else {
							go func() { defer close(ended); end(pool) }()
						}
					}
				}
				<-ended
				if !errors.Is(last, brine.ErrClosed) {
					t.Errorf("%s %s: the last error is %v, want ErrClosed", name, where, last)
				}
			})
		}
		pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
		end(pool)
		count := 0
		for _, err := range brine.All(t.Context(), pool, double, endless) {
			if count++; !errors.Is(err, brine.ErrClosed) {
				t.Errorf("All after %s: %v", name, err)
			}
		}
		for r := range brine.Unordered(t.Context(), pool, double, endless) {
			if count++; !errors.Is(r.Err, brine.ErrClosed) || r.Index != -1 {
				t.Errorf("Unordered after %s: %+v", name, r)
			}
		}
		if count != 2 {
			t.Errorf("after %s: %d errors of two streams", name, count)
		}
	}
}

// A stream over very many elements takes constant memory.
func TestStreamMemory(t *testing.T) {
	checkLeaks(t)
	pool := open(t, counters, 1, &brine.Options{Workers: 2})
	peak := watchHeap(t, func() {
		i := 0
		for n, err := range brine.All(t.Context(), pool, add, endless) {
			if n != i+1 || err != nil {
				t.Errorf("%d: %d, %v", i, n, err)
				break
			}
			if i++; i == 500_000 {
				break
			}
		}
	})
	if peak > 32<<20 {
		t.Errorf("the heap had %d MB", peak>>20)
	}
}
