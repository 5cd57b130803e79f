package brine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

type (
	sample struct {
		T  int64
		OK bool
		V  [2]float32
	}
	// parcel has all that arenas carry past the codec, and what they don't.
	parcel struct {
		Name    string
		Bytes   []byte
		Tag     byte
		Ints    []int64
		Small   []int16
		Floats  []float64
		Samples []sample
		Text    string
		Bools   []bool
		Lists   [][]byte
		ByName  map[string][]byte
		Words   []string
		Inner   **parcel
		Any     any
	}
	// hoard is a worker state that keeps arguments.
	hoard struct {
		kept []parcel
		sums []uint32
	}
	marshals struct {
		Bytes  []byte
		Poison poison
	}
)

// fill makes n bytes that depend on seed and place.
func fill(n, seed int) []byte {
	const block = 4096
	b := make([]byte, max(n, block)+8)
	x := uint64(seed)*0x9E3779B97F4A7C15 + 1
	for i := 0; i < min(n, block); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	for i := block; i < n; i += block {
		copy(b[i:n], b[:block])
		binary.LittleEndian.PutUint64(b[i:], uint64(i)^x)
	}
	return b[:n:n]
}

func fillInts(n, seed int) []int64 {
	ints := make([]int64, n)
	for i := range ints {
		ints[i] = int64(i*seed) - int64(seed)<<40
	}
	return ints
}

// pack makes a parcel whose parts have about n bytes each.
func pack(n, seed int) parcel {
	p := parcel{
		Name: fmt.Sprint("parcel ", seed), Bytes: fill(n, seed), Tag: byte(seed), Ints: fillInts(n/8, seed), Text: string(fill(n+1, seed+1)),
		Small: make([]int16, n/2+1), Floats: make([]float64, n/8+1), Samples: make([]sample, n/16+1), Bools: make([]bool, n),
		Lists: [][]byte{fill(n/2, seed+2), nil, {}, fill(n, seed+3)}, ByName: map[string][]byte{"a": fill(n, seed+4), string(fill(n, 5)): fill(3, 6)},
		Words: []string{"", string(fill(n, seed+7)), "x"}, Any: fill(n, seed+8),
	}
	for i := range p.Floats {
		p.Floats[i], p.Small[i], p.Samples[i/2] = float64(i)/3, int16(i), sample{int64(i), i%3 == 0, [2]float32{float32(seed), 2}}
	}
	for i := range p.Bools {
		p.Bools[i] = (i+seed)%3 == 0
	}
	if seed%2 == 0 {
		inner := &parcel{Bytes: fill(n, seed+9)}
		p.Inner = &inner
	}
	return p
}

// flip changes all that can be changed in place.
func (p *parcel) flip() {
	lists := append(slices.Clone(p.Lists), p.Bytes, p.ByName["a"])
	if p.Inner != nil {
		lists = append(lists, (*p.Inner).Bytes)
	}
	if b, ok := p.Any.([]byte); ok {
		lists = append(lists, b)
	}
	for _, list := range lists {
		for i := range list {
			list[i] ^= 0xff
		}
	}
	for i := range p.Ints {
		p.Ints[i] = -p.Ints[i]
	}
	for i := range p.Floats {
		p.Floats[i] = -p.Floats[i]
	}
	for i := range p.Small {
		p.Small[i] = -p.Small[i]
	}
	for i := range p.Samples {
		p.Samples[i].OK = !p.Samples[i].OK
	}
	for i := range p.Bools {
		p.Bools[i] = !p.Bools[i]
	}
}

// keep changes its argument and keeps it; all that was kept earlier must be as it was.
func (h *hoard) keep(_ context.Context, p parcel) (int, error) {
	for i, kept := range h.kept {
		if sum := kept.sum(); sum != h.sums[i] {
			return 0, fmt.Errorf("argument %d of %d was changed: %s", i, len(h.kept), kept.Name)
		}
	}
	p.flip()
	h.kept, h.sums = append(h.kept, p), append(h.sums, p.sum())
	return len(h.kept), nil
}

func (p parcel) sum() uint32 {
	sum := crc32.ChecksumIEEE(p.Bytes)
	for _, part := range append(slices.Clone(p.Lists), p.ByName["a"], []byte(p.Text), []byte(p.Words[1])) {
		sum = crc32.Update(sum, crc32.IEEETable, part)
	}
	for _, n := range p.Ints {
		sum = 3*sum + uint32(n)
	}
	for _, f := range p.Floats {
		sum = 3*sum + uint32(math.Float64bits(f)>>32)
	}
	return sum
}

var (
	hoards     = brine.DefineNamed("hoards", func(context.Context, int) (*hoard, error) { return &hoard{}, nil })
	keepParcel = brine.MethodNamed("keep parcel", hoards, (*hoard).keep)
	flipParcel = brine.MethodNamed("flip parcel", hoards, func(_ *hoard, _ context.Context, p parcel) (parcel, error) { p.flip(); return p, nil })
	parcels    = echoOf[parcel]("parcel")
	raws       = echoOf[[]byte]("[]byte")
	texts      = echoOf[string]("string")
	longs      = echoOf[[]int64]("[]int64")
	reals      = echoOf[[]float64]("[]float64")
	samples    = echoOf[[]sample]("[]sample")
	lists      = echoOf[[][]byte]("[][]byte")
	dicts      = echoOf[map[string]string]("map")
	carrying   = brine.MethodNamed("carry", hoards, func(_ *hoard, ctx context.Context, c cargo) ([]byte, error) { return carry(ctx, c) })
	makeBytes  = brine.MethodNamed("make bytes", hoards, func(_ *hoard, _ context.Context, n int) ([]byte, error) { return fill(n, n), nil })
	doMarshals = brine.MethodNamed("marshals", hoards, func(_ *hoard, _ context.Context, m marshals) (marshals, error) {
		if m.Poison.how == "result" {
			m.Poison.how = "marshal error"
		}
		return m, nil
	})
	anyResult = brine.MethodNamed("any, late", hoards, func(_ *hoard, _ context.Context, b []byte) ([]any, error) { return []any{b, unregistered{}}, nil })
)

func echoOf[T any](name string) brine.Func[*hoard, T, T] {
	return brine.MethodNamed("arena echo of "+name, hoards, func(_ *hoard, _ context.Context, v T) (T, error) { return v, nil })
}

var thresholds = []int{0, 1, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537, 1<<20 - 1, 1 << 20, 1<<20 + 1}

// equal is DeepEqual, fast, and but for what is nil and what is empty, as not all codecs tell them apart.
func equal[T any](a, b T) bool {
	switch a := any(a).(type) {
	case []byte:
		return bytes.Equal(a, any(b).([]byte))
	case []int64:
		return slices.Equal(a, any(b).([]int64))
	case []float64:
		return slices.Equal(a, any(b).([]float64))
	case []sample:
		return slices.Equal(a, any(b).([]sample))
	case parcel:
		return a.equal(any(b).(parcel))
	}
	return reflect.DeepEqual(a, b)
}

func (p parcel) equal(q parcel) bool {
	big := slices.Equal(p.Ints, q.Ints) && slices.Equal(p.Floats, q.Floats) && slices.Equal(p.Samples, q.Samples) &&
		slices.Equal(p.Small, q.Small) && slices.Equal(p.Bools, q.Bools)
	for _, r := range []*parcel{&p, &q} {
		r.Ints, r.Floats, r.Samples, r.Small, r.Bools = nil, nil, nil, nil, nil
	}
	return big && reflect.DeepEqual(p, q)
}

// there sends values there and back in all ways.
func there[T any](t *testing.T, pool *brine.Pool[*hoard], f brine.Func[*hoard, T, T], values []T) {
	t.Helper()
	ctx := t.Context()
	check := func(way string, i int, v T, err error) {
		t.Helper()
		if err != nil || !equal(v, values[i]) {
			t.Errorf("%s, %s: %d is not what was sent: %v", f.Name(), way, i, err)
		}
	}
	within(t, 2*time.Minute, f.Name(), func() {
		futures := make([]*brine.Future[T], len(values))
		for i, v := range values {
			out, err := brine.Call(ctx, pool, f, v)
			check("Call", i, out, err)
			futures[i] = brine.Go(ctx, pool, f, v)
		}
		for i, future := range futures {
			out, err := future.Wait(ctx)
			check("Go", i, out, err)
		}
		outs, err := brine.Map(ctx, pool, f.With(brine.Limits{Chunk: 8}), values)
		for i := range values {
			check("Map", i, outs[i], err)
		}
		n := 0
		for out, err := range brine.All(ctx, pool, f, slices.Values(values)) {
			check("All", n, out, err)
			n++
		}
		for r := range brine.Unordered(ctx, pool, f, slices.Values(values)) {
			check("Unordered", r.Index, r.Out, r.Err)
			n++
		}
		err = brine.Each(ctx, pool, f, values, func(i int, out T) error {
			check("Each", i, out, nil)
			n++
			return nil
		})
		if n != 3*len(values) || err != nil {
			t.Errorf("%s: %d of %d results, %v", f.Name(), n, 3*len(values), err)
		}
	})
}

func each[T any](sizes []int, f func(n int) T) []T {
	vs := make([]T, len(sizes))
	for i, n := range sizes {
		vs[i] = f(n)
	}
	return vs
}

func TestPayloads(t *testing.T) {
	t.Parallel()
	pool := open(t, hoards, 0, &brine.Options{Workers: 2})
	there(t, pool, raws, each(append(thresholds, 20_000_000), func(n int) []byte { return fill(n, n) }))
	there(t, pool, texts, each(append(thresholds, 20_000_000), func(n int) string { return string(fill(n, n)) }))
	eighths := each(thresholds, func(n int) int { return (n + 3) / 8 })
	there(t, pool, longs, each(append(eighths, 2047, 2048, 2049, 511, 512, 513), func(n int) []int64 { return fillInts(n, n) }))
	there(t, pool, reals, each(eighths, func(n int) []float64 { return pack(8*n, n).Floats }))
	there(t, pool, samples, each(eighths[:11], func(n int) []sample { return pack(8*n, n).Samples }))
	there(t, pool, lists, each(thresholds, func(n int) [][]byte { return [][]byte{fill(n/3, n), nil, {}, fill(n-n/3, n+1), fill(7, 7)} }))
	there(t, pool, dicts, each(thresholds, func(n int) map[string]string {
		return map[string]string{"a": string(fill(n/2, n)), string(fill(n/4, 3)): "", "b": string(fill(n/4, 4))}
	}))
	there(t, pool, parcels, each(thresholds[:12], func(n int) parcel { return pack(n/4, n) }))
	if s := pool.Stats(); s.Deaths != 0 || s.Failed != 0 {
		t.Errorf("%d deaths, %d failed", s.Deaths, s.Failed)
	}
}

// However little memory there may be, and whatever codec there is, all arrives.
func TestPayloadsOtherwise(t *testing.T) {
	t.Parallel()
	sizes := []int{1, 16384, 65537, 300_000, 1 << 20, 5_000_000}
	for name, opts := range map[string]brine.Options{
		"1 byte": {ArenaMemory: 1}, "100 KB": {ArenaMemory: 100 << 10}, "4 MB": {ArenaMemory: 4 << 20}, "recycled": {MaxTasks: 3},
		"gob": {Codec: brine.Gob}, "json": {Codec: brine.JSON}, "own": {Codec: own}, "gob, 100 KB": {Codec: brine.Gob, ArenaMemory: 100 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sizes := sizes
			opts.Workers = 2
			pool := open(t, hoards, 0, &opts)
			if opts.Codec == brine.JSON || opts.Codec == own {
				sizes = sizes[:5]
			}
			there(t, pool, raws, each(sizes, func(n int) []byte { return fill(n, n) }))
			there(t, pool, longs, each(sizes[:4], func(n int) []int64 { return fillInts(n/8, n) }))
			there(t, pool, dicts, each(sizes[:4], func(n int) map[string]string { return map[string]string{"x": strings.Repeat("abc", n/3)} }))
			if opts.Codec == nil {
				there(t, pool, parcels, each(sizes[:4], func(n int) parcel { return pack(n/4, n) }))
			}
		})
	}
	for _, n := range []int64{-1, math.MinInt64} {
		_, err := brine.Open(t.Context(), hoards, 0, &brine.Options{ArenaMemory: n})
		if err == nil || !strings.Contains(err.Error(), "ArenaMemory") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// A task's argument is its own, for as long as it likes; a result is its receiver's.
func TestPayloadsAreCopies(t *testing.T) {
	t.Parallel()
	pool := open(t, hoards, 0, &brine.Options{Workers: 1, ArenaMemory: 8 << 20})
	var results []parcel
	for i := range 24 {
		sent := pack([]int{100, 5000, 20_000, 100_000}[i%4], i)
		want := sent.sum()
		if n, err := brine.Call(t.Context(), pool, keepParcel, sent); n != i+1 || err != nil {
			t.Fatal(n, err)
		}
		outs, err := brine.Map(t.Context(), pool, flipParcel.With(brine.Limits{Chunk: 2}), []parcel{sent, sent})
		if err != nil {
			t.Fatal(err)
		}
		if sent.sum() != want {
			t.Fatalf("%d: what was sent has changed", i)
		}
		sent.flip()
		if !outs[0].equal(sent) || !outs[1].equal(sent) {
			t.Fatalf("%d: a task changed its argument, and returned something else", i)
		}
		outs[0].flip() // which the other result must not see
		results = append(results, outs...)
	}
	pool.Close()
	for i, r := range results {
		want := pack([]int{100, 5000, 20_000, 100_000}[i/2%4], i/2)
		if i%2 == 1 {
			want.flip()
		}
		if !r.equal(want) {
			t.Errorf("result %d was changed while the pool went on", i)
		}
	}
}

// What can't be encoded behind a megabyte that could is that task's error, again and again, and takes no memory.
func TestPayloadsUncodable(t *testing.T) {
	t.Parallel()
	pool := open(t, hoards, 0, &brine.Options{Workers: 1, ArenaMemory: 8 << 20})
	megabyte := fill(1<<20, 1)
	for i := range 30 {
		how := []string{"marshal error", "unmarshal error", "unmarshal panic", "result"}[i%4]
		_, err := brine.Call(t.Context(), pool, doMarshals, marshals{megabyte, poison{how}})
		if task := as[*brine.TaskError](t, err); !strings.Contains(err.Error(), "marshal") || task.Func != "marshals" {
			t.Errorf("%s: %v", how, err)
		}
		if _, err := brine.Call(t.Context(), pool, anyResult, megabyte); err == nil || !strings.Contains(err.Error(), "unregistered") {
			t.Errorf("an unregistered type in the result: %v", err)
		}
		m, err := brine.Call(t.Context(), pool, doMarshals, marshals{megabyte, poison{"fine"}})
		if err != nil || !bytes.Equal(m.Bytes, megabyte) || m.Poison.how != "fine" {
			t.Fatalf("%d: afterwards: %v", i, err)
		}
	}
	if s := pool.Stats(); s.Deaths != 0 || s.Done != 30 {
		t.Errorf("%d deaths, %d done", s.Deaths, s.Done)
	}
}

// The budget bounds what is mapped, and nothing is after Close. Not parallel: it counts.
func TestArenaMemory(t *testing.T) {
	for _, budget := range []int64{1, 16 << 20} {
		t.Run(fmt.Sprint(budget), func(t *testing.T) {
			checkLeaks(t)
			const slack = 2 << 20 // for what else is shared: the account, the workers' calls
			mapped := func(pid int) int64 {
				_, size, _ := shareMappings(t, pid, 0, math.MaxInt64)
				return size
			}
			before := mapped(os.Getpid()) + slack
			pool, err := brine.Open(t.Context(), hoards, 0, &brine.Options{Workers: 2, ArenaMemory: budget})
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			cs := cargoes(60, 1<<20)
			for range 2 {
				outs, err := brine.Map(t.Context(), pool, carrying, cs)
				if err != nil {
					t.Fatal(err)
				}
				for i, out := range outs {
					if !cs[i].delivered(out) {
						t.Errorf("%d: wrong", i)
					}
				}
				if here := mapped(os.Getpid()) - before; here > budget {
					t.Errorf("%d bytes are mapped here, of a budget of %d", here, budget)
				}
				for _, pid := range workerPIDs(pool.Stats()) {
					if there := mapped(pid); there > budget+slack {
						t.Errorf("%d bytes are mapped in a worker, of a budget of %d", there, budget)
					}
				}
			}
			if err := brine.Each(t.Context(), pool, makeBytes, slices.Repeat([]int{3 << 20}, 10), func(_ int, out []byte) error {
				if !bytes.Equal(out, fill(3<<20, 3<<20)) {
					t.Error("wrong")
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			runtime.KeepAlive(cs)
		})
	}
}
