package brine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/brinepool/brine"
)

var errEnough = errors.New("enough")

// order is what a task of the tests of Each is to do.
type order struct {
	N   int // bytes of the result
	How string
	Log string
}

var (
	eachBytes   = brine.PlainNamed("each bytes", func(_ context.Context, n int) ([]byte, error) { return fill(n, n), nil })
	eachParcel  = brine.PlainNamed("each parcel", func(_ context.Context, n int) (parcel, error) { return pack(n, n), nil })
	eachText    = brine.PlainNamed("each string", func(_ context.Context, n int) (string, error) { return string(fill(n, n)), nil })
	eachInts    = brine.PlainNamed("each int64s", func(_ context.Context, n int) ([]int64, error) { return fillInts(n, n), nil })
	eachSamples = brine.PlainNamed("each samples", func(_ context.Context, n int) ([]sample, error) { return pack(16*n, n).Samples, nil })
	eachMap     = brine.PlainNamed("each map", func(_ context.Context, n int) (map[string][]byte, error) {
		return map[string][]byte{"a": fill(n, n), string(fill(n/2, 1)): nil}, nil
	})
	eachOrder = brine.PlainNamed("each order", func(ctx context.Context, o order) ([]byte, error) {
		n, err := doDeed(ctx, deed{How: o.How, Log: o.Log, N: o.N})
		return fill(n, n), err
	})
	eachBound = brine.MethodBoundNamed("each bound", brine.Stateless, func(_ struct{}, _ context.Context, seed, n int) ([]byte, error) { return fill(n, seed), nil })
)

// eachOf checks the results of Each of one type, one after the other, each index once.
func eachOf[T any](t *testing.T, pool *brine.Pool[struct{}], f brine.Func[struct{}, int, T], sizes []int, want func(n int) T) {
	t.Helper()
	seen := make([]int, len(sizes))
	within(t, time.Minute, f.Name(), func() {
		if err := brine.Each(t.Context(), pool, f, sizes, func(i int, out T) error {
			seen[i]++
			if !equal(out, want(sizes[i])) {
				t.Errorf("%s: the result of %d is wrong", f.Name(), i)
			}
			return nil
		}); err != nil {
			t.Errorf("%s: %v", f.Name(), err)
		}
	})
	if slices.ContainsFunc(seen, func(n int) bool { return n != 1 }) {
		t.Errorf("%s: called %v times", f.Name(), seen)
	}
}

func TestEach(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]*brine.Options{
		"default": {Workers: 2}, "pipes": {Workers: 2, ArenaMemory: 1}, "tight": {Workers: 1, ArenaMemory: 2 << 20}, "gob": {Workers: 2, Codec: brine.Gob},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := open(t, brine.Stateless, struct{}{}, opts)
			mixed := slices.Concat(thresholds[1:], numbers(50)[1:], thresholds[1:])
			eachOf(t, pool, eachBytes, mixed, func(n int) []byte { return fill(n, n) })
			eachOf(t, pool, eachBytes, []int{3 << 20}, func(n int) []byte { return fill(n, n) })
			eachOf(t, pool, eachBytes, nil, nil)
			eachOf(t, pool, eachText, append(mixed, 0), func(n int) string { return string(fill(n, n)) })
			eachOf(t, pool, eachInts, []int{1, 2047, 2048, 2049, 200_000, 3}, func(n int) []int64 { return fillInts(n, n) })
			eachOf(t, pool, brine.Bind(eachBound, 9), mixed, func(n int) []byte { return fill(n, 9) })
			if opts.Codec == nil {
				eachOf(t, pool, eachParcel, []int{8, 1000, 9000, 100_001, 16384}, func(n int) parcel { return pack(n, n) })
				eachOf(t, pool, eachSamples, []int{8, 1000, 9000, 100_001}, func(n int) []sample { return pack(16*n, n).Samples })
				eachOf(t, pool, eachMap, mixed, func(n int) map[string][]byte { return map[string][]byte{"a": fill(n, n), string(fill(n/2, 1)): nil} })
			}
			if deaths := pool.Stats().Deaths; deaths != 0 {
				t.Errorf("%d deaths", deaths)
			}
		})
	}
}

// mappedAs is the line of this process's maps for an address.
func mappedAs(t *testing.T, p unsafe.Pointer) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var low, high uintptr
		if _, err := fmt.Sscanf(line, "%x-%x", &low, &high); err == nil && low <= uintptr(p) && uintptr(p) < high {
			return line
		}
	}
	return ""
}

// Large results are read where they are, by the goroutine that called; a write to one is a panic.
func TestEachInPlace(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	sizes, whole := slices.Repeat([]int{1 << 20}, 4), pack(1<<20, 1<<20)
	me := goroutine()
	debug.SetPanicOnFault(false)
	caught := 0
	err := brine.Each(t.Context(), pool, eachParcel, sizes, func(i int, out parcel) error {
		if goroutine() != me {
			t.Error("another goroutine calls")
		}
		for name, p := range map[string]unsafe.Pointer{
			"Bytes": unsafe.Pointer(&out.Bytes[0]), "Text": unsafe.Pointer(unsafe.StringData(out.Text)), "list": unsafe.Pointer(&out.Lists[3][0]), "word": unsafe.Pointer(unsafe.StringData(out.Words[1])),
		} {
			if line := mappedAs(t, p); !strings.Contains(line, "memfd:") {
				t.Errorf("%s is a copy, in %q", name, line)
			}
		}
		func() {
			defer func() {
				if recover() != nil { // it is the runtime's own, which knows of an address only
					caught++
				}
			}()
			out.Bytes[100]++
		}()
		if !out.equal(whole) {
			t.Errorf("%d: wrong after the write", i)
		}
		out.Bytes = append(out.Bytes, "more"...) // makes a copy
		out.Bytes[0]++
		return nil
	})
	if err != nil || caught != len(sizes) {
		t.Errorf("%d of %d writes were caught, %v", caught, len(sizes), err)
	}
	if debug.SetPanicOnFault(false) {
		t.Error("faults are still panics in the goroutine that called Each")
	}
	if err := brine.Each(t.Context(), pool, eachInts, sizes[:2], func(_ int, out []int64) error { // nothing before it puts it out of line
		if line := mappedAs(t, unsafe.Pointer(&out[0])); !strings.Contains(line, "memfd:") {
			t.Errorf("numbers are a copy, in %q", line)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	// The panic of a write that nobody recovers in the callback is one of Each.
	func() {
		defer func() {
			if text := strings.ToLower(fmt.Sprint(recover())); !strings.Contains(text, "read-only") || !strings.Contains(text, "result") && !strings.Contains(text, "each") {
				t.Errorf("a write: %s", text)
			}
		}()
		_ = brine.Each(t.Context(), pool, eachBytes, sizes, func(_ int, out []byte) error { out[5] = 1; return nil })
	}()
	if debug.SetPanicOnFault(false) {
		t.Error("faults are still panics after a panic of Each")
	}
	// Inside another Each it is no different, nor after that.
	err = brine.Each(t.Context(), pool, eachBytes, sizes[:2], func(_ int, out []byte) error {
		if err := brine.Each(t.Context(), pool, eachBytes, sizes[:2], func(_ int, inner []byte) error { checkWrite(t, inner); return nil }); err != nil {
			return err
		}
		checkWrite(t, out)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if deaths := pool.Stats().Deaths; deaths != 0 {
		t.Errorf("%d deaths", deaths)
	}
}

func checkWrite(t *testing.T, b []byte) {
	t.Helper()
	if debug.SetPanicOnFault(true) == false { // else the write ends the tests
		t.Error("a write would end the program")
	}
	defer func() {
		if recover() == nil {
			t.Error("a result in place could be written")
		}
	}()
	b[len(b)-1]++
}

func goroutine() string {
	b := make([]byte, 64)
	m := goroutineHeader.FindSubmatch(b[:runtime.Stack(b, false)])
	return string(m[1])
}

// What use returns is what Each returns; nothing is begun, and use not called, after it.
func TestEachStops(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	for _, size := range []int{5, 300_000} {
		log := fmt.Sprint(t.TempDir(), "/", size)
		orders := slices.Repeat([]order{{How: "sleep", N: 5, Log: log}}, 6000) // which would take half a minute
		orders[0] = order{N: size, Log: log}
		calls := 0
		within(t, time.Minute, "Each", func() {
			err := brine.Each(t.Context(), pool, eachOrder.With(brine.Limits{Chunk: 4}), orders, func(int, []byte) error { calls++; return errEnough })
			if err != errEnough { //nolint:errorlint // that very one
				t.Errorf("Each returned %v", err)
			}
		})
		if n := marks(t, log); calls != 1 || n == 0 || n == len(orders) {
			t.Errorf("%d bytes: use was called %d times, %d tasks ran", size, calls, n)
		}
	}
	// Its error counts, also where tasks have failed.
	err := brine.Each(t.Context(), pool, eachOrder, []order{{How: "error"}, {N: 1}, {How: "error"}}, func(int, []byte) error { return errEnough })
	if err != errEnough { //nolint:errorlint // that very one
		t.Errorf("beside failed tasks: %v", err)
	}
	eachOf(t, pool, eachBytes, thresholds[1:], func(n int) []byte { return fill(n, n) })
}

func TestEachTaskErrors(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2, Stderr: io.Discard})
	for _, how := range []string{"error", "panic", "kill", "exit"} {
		orders := slices.Repeat([]order{{N: 50_000}}, 60)
		for _, i := range []int{41, 13, 27} {
			orders[i].How = how
		}
		seen := map[int]bool{}
		err := brine.Each(t.Context(), pool, eachOrder, orders, func(i int, out []byte) error {
			if !bytes.Equal(out, fill(50_000, 50_000)) || seen[i] || orders[i].How != "" {
				t.Errorf("%s: result %d is wrong", how, i)
			}
			seen[i] = true
			return nil
		})
		if task := as[*brine.TaskError](t, err); task.Index != 13 || task.Func != "each order" || len(seen) != 57 {
			t.Errorf("%s: %d results, %v", how, len(seen), err)
		}
	}
}

func TestEachAndContext(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1})
	for _, size := range []int{5, 300_000} {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		orders := slices.Repeat([]order{{How: "sleep", N: 5}}, 6000) // which would take half a minute
		orders[0], orders[1] = order{N: size}, order{N: size}
		calls := 0
		within(t, time.Minute, "Each", func() {
			err := brine.Each(ctx, pool, eachOrder.With(brine.Limits{Chunk: 2}), orders, func(i int, out []byte) error {
				if calls++; calls == 2 {
					cancel()
				}
				if n := orders[i].N; !bytes.Equal(out, fill(n, n)) {
					t.Error("wrong after cancel")
				}
				return nil
			})
			if !errors.Is(err, context.Canceled) || calls < 2 || calls == len(orders) {
				t.Errorf("cancelled: %v, %d calls", err, calls)
			}
		})
		if err := brine.Each(ctx, pool, eachBytes, []int{1, 2}, func(int, []byte) error { t.Error("called"); return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled already: %v", err)
		}
	}
	if n, err := brine.Call(t.Context(), pool, double, 2); n != 4 || err != nil {
		t.Error(n, err)
	}
	pool.Close()
	if err := brine.Each(t.Context(), pool, eachBytes, []int{1, 2}, func(int, []byte) error { t.Error("called"); return nil }); !errors.Is(err, brine.ErrClosed) {
		t.Errorf("a closed pool: %v", err)
	}
}

// However use ends, nothing stays mapped and the pool is as good as new. Not parallel: it counts.
func TestEachUseEnds(t *testing.T) {
	checkLeaks(t)
	pool, err := brine.Open(t.Context(), brine.Stateless, struct{}{}, &brine.Options{Workers: 1, ArenaMemory: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, size := range []int{10, 1 << 20} {
		sizes := slices.Repeat([]int{size}, 30)
		for range 20 { // as often as would use up the memory
			ended, value := make(chan struct{}), any(nil)
			go func() {
				defer close(ended)
				defer func() { value = recover() }()
				_ = brine.Each(t.Context(), pool, eachBytes, sizes, func(int, []byte) error { panic(errEnough) })
			}()
			within(t, time.Minute, "a panic of use", func() { <-ended })
			if value != errEnough { //nolint:errorlint // that very one
				t.Errorf("%d: recovered %v", size, value)
			}
			ended = make(chan struct{})
			go func() {
				defer close(ended)
				_ = brine.Each(t.Context(), pool, eachBytes, sizes, func(int, []byte) error { runtime.Goexit(); return nil })
				t.Error("Goexit of use did not end the goroutine")
			}()
			within(t, time.Minute, "a Goexit of use", func() { <-ended })
		}
		eachOf(t, pool, eachBytes, sizes, func(n int) []byte { return fill(n, n) })
	}
	if s := pool.Stats(); s.Deaths != 0 {
		t.Errorf("%d deaths", s.Deaths)
	}
	inPlace := false // there is room again
	if err := brine.Each(t.Context(), pool, eachBytes, []int{1 << 20}, func(_ int, out []byte) error {
		inPlace = strings.Contains(mappedAs(t, unsafe.Pointer(&out[0])), "memfd:")
		return nil
	}); err != nil || !inPlace {
		t.Errorf("the memory of results whose use panicked is not free again: %v", err)
	}
}

// Use may use the pool, which has one worker, and its out stays what it is meanwhile.
func TestEachUsesItsPool(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for _, memory := range []int64{0, 3 << 20} {
		t.Run(fmt.Sprint(memory), func(t *testing.T) {
			t.Parallel()
			pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, ArenaMemory: memory})
			ctx, calls, want := t.Context(), 0, fill(size, size)
			within(t, time.Minute, "Each", func() {
				err := brine.Each(ctx, pool, eachBytes, slices.Repeat([]int{size}, 40), func(i int, out []byte) error {
					calls++
					if n, err := brine.Call(ctx, pool, double, i); n != 2*i || err != nil {
						return fmt.Errorf("Call: %d, %w", n, err)
					}
					switch i {
					case 1:
						outs, err := brine.Map(ctx, pool, eachBytes, slices.Repeat([]int{size - 1}, 20))
						if err != nil || !bytes.Equal(outs[19], fill(size-1, size-1)) {
							return fmt.Errorf("Map: %w", err)
						}
					case 2:
						if b, err := brine.Call(ctx, pool, echoBytes, out); err != nil || !bytes.Equal(b, out) { // sends what lies in shared memory
							return fmt.Errorf("echo: %w", err)
						}
					case 3:
						return brine.Each(ctx, pool, eachBytes, []int{size, size + 1, 5}, func(i int, inner []byte) error {
							if n := []int{size, size + 1, 5}[i]; !bytes.Equal(inner, fill(n, n)) || !bytes.Equal(out, want) {
								return errors.New("wrong in an inner Each")
							}
							return nil
						})
					case 4:
						_, err := brine.Go(ctx, pool, eachBytes, size).Wait(ctx)
						return err
					}
					if !bytes.Equal(out, want) {
						return fmt.Errorf("result %d has changed", i)
					}
					return nil
				})
				if err != nil || calls != 40 {
					t.Errorf("%d calls, %v", calls, err)
				}
			})
		})
	}
}

// What comes in place is good until use returns, even when its worker, or the pool, ends meanwhile.
func TestEachOutlivesItsPool(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	want := fill(size, size)
	for _, how := range []string{"worker", "pool"} {
		pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, Stderr: io.Discard})
		calls := 0
		within(t, time.Minute, "Each", func() {
			err := brine.Each(t.Context(), pool, eachBytes.With(brine.Limits{Retries: 3}), slices.Repeat([]int{size}, 10), func(_ int, out []byte) error {
				if calls++; calls > 1 {
					return nil
				}
				if how == "pool" {
					pool.Kill()
				} else if pids := workerPIDs(pool.Stats()); len(pids) == 1 {
					_ = syscall.Kill(pids[0], syscall.SIGKILL)
					eventually(t, 20*time.Second, "the end of the worker", func() bool { return !alive(pids[0]) })
					if b, err := brine.Call(t.Context(), pool, eachBytes, size-1); err != nil || !bytes.Equal(b, fill(size-1, size-1)) {
						t.Errorf("the next worker: %v", err)
					}
				}
				if !bytes.Equal(out, want) {
					t.Errorf("%s: the result is gone", how)
				}
				return nil
			})
			if how == "pool" && !errors.Is(err, brine.ErrClosed) || how == "worker" && (err != nil || calls != 10) {
				t.Errorf("%s: %v, %d calls", how, err, calls)
			}
		})
	}
}

// A hundred results of a megabyte, kept as copies, as callers of Map and Each hold them.
func TestEachKept(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	sizes := each(numbers(100), func(i int) int { return 1<<20 + i })
	kept := make([][]byte, len(sizes))
	if err := brine.Each(t.Context(), pool, eachBytes, sizes, func(i int, out []byte) error { kept[i] = bytes.Clone(out); return nil }); err != nil {
		t.Fatal(err)
	}
	outs, err := brine.Map(t.Context(), pool, eachBytes, sizes)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range sizes {
		if want := fill(n, n); !bytes.Equal(kept[i], want) || !bytes.Equal(outs[i], want) {
			t.Errorf("%d: wrong", i)
		}
		outs[i][n/2]++ // which is the receiver's to change
	}
}

// Results do not pile up while use takes its time: what is in flight bounds the memory, not the length of the input.
func TestEachMemory(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, ArenaMemory: 4 << 20})
	const n, size = 256, 512 << 10
	calls := 0
	if err := brine.Each(t.Context(), pool, eachBytes, slices.Repeat([]int{size}, n), func(int, []byte) error {
		if calls++; calls > 1 {
			return nil
		}
		done := pool.Stats().Done
		for still := 0; still < 100 && done < n; still++ { // until nothing has been done for a second
			time.Sleep(10 * time.Millisecond)
			if now := pool.Stats().Done; now != done {
				done, still = now, 0
			}
		}
		if done == n {
			t.Errorf("all %d results, of %d MB, came while use had the first", done, n*size>>20)
		}
		return nil
	}); err != nil || calls != n {
		t.Errorf("%d calls, %v", calls, err)
	}
}
