package brine_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/brinepool/brine"
)

type int64s = brine.Shared[int64]

// bag has shared data in all places in which it may be.
type bag struct {
	Log       string
	P, Again  *int64s
	Nil       *int64s
	Empty     *int64s
	Slice     []*int64s
	Array     [2]*int64s
	ByName    map[string]*int64s
	PP        **int64s
	Any, Bag  any
	Anys      []any
	unsent    *int64s `brine:"-"`
	private   *int64s `brine:"send"`
	Exclusive *int64s `brine:"-"`
}

type innerBag struct{ Inner struct{ P *int64s } }

func init() {
	brine.RegisterType((*int64s)(nil))
	brine.RegisterType(innerBag{})
}

// sum is a sum that depends on the order; -1 for nil.
func sum(s *int64s) int64 {
	if s == nil {
		return -1
	}
	total := int64(s.Len())
	for _, v := range s.Slice() {
		total = 3*total + v
	}
	return total
}

// survey reads all that the bag has.
func (b bag) survey() map[string]int64 {
	sums := map[string]int64{"P": sum(b.P), "Nil": sum(b.Nil), "Empty": sum(b.Empty), "private": sum(b.private)}
	for i, s := range b.Slice {
		sums[fmt.Sprint("Slice.", i)] = sum(s)
	}
	for i, s := range b.Array {
		sums[fmt.Sprint("Array.", i)] = sum(s)
	}
	for name, s := range b.ByName {
		sums["ByName."+name] = sum(s)
	}
	for i, v := range append(b.Anys, b.Any) {
		s, _ := v.(*int64s)
		sums[fmt.Sprint("Any.", i)] = sum(s)
	}
	if b.PP != nil {
		sums["PP"] = sum(*b.PP)
	}
	if inner, ok := b.Bag.(innerBag); ok {
		sums["Bag"] = sum(inner.Inner.P)
	}
	if b.P != nil && unsafe.SliceData(b.P.Slice()) == unsafe.SliceData(b.Again.Slice()) {
		sums["same"] = 1
	}
	return sums
}

// sharer is the state of workers that read shared data.
type sharer struct {
	bag
	kept []*int64s
}

func openSharer(_ context.Context, b bag) (*sharer, error) {
	mark(b.Log)
	if b.P != nil && sum(b.P) == math.MinInt64 { // it is read at the start
		return nil, io.EOF
	}
	return &sharer{bag: b}, nil
}

// poke says what a task does to shared data.
type poke struct {
	How string
	Log string
	S   *int64s
}

func (w *sharer) poke(_ context.Context, p poke) (int64, error) {
	mark(p.Log)
	switch s := p.S.Slice(); p.How {
	case "write":
		s[len(s)/2] = 42
	case "copy":
		copy(s, []int64{1, 2, 3})
	case "recover":
		func() {
			defer func() { _ = recover() }()
			s[0] = 42
		}()
	case "goroutine":
		go func() { s[0] = 42 }()
		select {}
	case "append":
		s = append(s, 42)
		s[0]++
	case "keep":
		w.kept = append(w.kept, p.S)
	case "kept":
		total := int64(0)
		for _, s := range w.kept {
			total += sum(s)
		}
		return total, nil
	case "close":
		if err := w.P.Close(); err != nil {
			return 0, err
		}
		return sum(w.P), nil
	case "config":
		return sum(w.P), nil
	case "once":
		if info, err := os.Stat(p.Log); err != nil || info.Size() < 3 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "await": // until there is a file, then what it had from the start is read
		for {
			if _, err := os.Stat(p.Log + ".go"); err == nil {
				total := int64(len(s))
				for _, v := range s {
					total = 3*total + v
				}
				return total, nil
			}
			time.Sleep(time.Millisecond)
		}
	}
	return sum(p.S), nil
}

var (
	sharers      = brine.DefineNamed("sharers", openSharer)
	surveyConfig = brine.MethodNamed("survey the config", sharers, func(w *sharer, _ context.Context, _ int) (map[string]int64, error) { return w.survey(), nil })
	surveyBag    = brine.MethodNamed("survey a bag", sharers, func(_ *sharer, _ context.Context, b bag) (map[string]int64, error) { return b.survey(), nil })
	surveyBound  = brine.MethodBoundNamed("survey what is bound", sharers, func(_ *sharer, _ context.Context, b bag, _ int) (map[string]int64, error) { return b.survey(), nil })
	sumArgument  = brine.MethodNamed("sum the argument", sharers, func(_ *sharer, _ context.Context, s *int64s) (int64, error) { return sum(s), nil })
	sumBound     = brine.MethodBoundNamed("sum what is bound", sharers, func(_ *sharer, _ context.Context, s *int64s, n int64) (int64, error) { return sum(s) + n, nil })
	pokes        = brine.MethodNamed("poke", sharers, (*sharer).poke)
	sumMany      = brine.MethodNamed("sum many", sharers, func(_ *sharer, _ context.Context, many []*int64s) (int64, error) {
		total := int64(0)
		for _, s := range many {
			total += sum(s)
		}
		return total, nil
	})
	returnsAny = brine.MethodNamed("returns shared data in any", sharers, func(_ *sharer, _ context.Context, s *int64s) (any, error) { return s, nil })
	relays     = brine.MethodNamed("relay", sharers, relay) // in nested pools

	sharedKind = brine.DefineNamed("shared config", func(_ context.Context, s *int64s) (*int64s, error) { return s, nil })
	sumState   = brine.MethodNamed("sum the state", sharedKind, func(s *int64s, _ context.Context, n int64) (int64, error) { return sum(s) + n, nil })
)

// relay passes what it got, and something of its own, on to a nested pool.
func relay(_ *sharer, ctx context.Context, s *int64s) ([]int64, error) {
	own, err := brine.Share([]int64{5, 6, 7})
	if err != nil {
		return nil, err
	}
	defer own.Close()
	pool, err := brine.Open(ctx, sharers, bag{P: s, Again: own}, nil)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	outs, err := brine.Map(ctx, pool, sumArgument, []*int64s{s, own, s})
	if err != nil {
		return nil, err
	}
	n, err := brine.Call(ctx, pool, pokes, poke{How: "config"})
	return append(outs, n), err
}

func share[T any](t testing.TB, s []T) *brine.Shared[T] {
	t.Helper()
	shared, err := brine.Share(s)
	if err != nil {
		t.Fatalf("share %T: %v", s, err)
	}
	t.Cleanup(func() { shared.Close() })
	return shared
}

// ramp shares n numbers from first on.
func ramp(t testing.TB, first, n int) *int64s {
	t.Helper()
	s := make([]int64, n)
	for i := range s {
		s[i] = int64(first + i)
	}
	return share(t, s)
}

func newBag(t testing.TB) bag {
	p, inner := ramp(t, 1, 1000), innerBag{}
	inner.Inner.P = ramp(t, 5, 5)
	pp := ramp(t, 10, 10)
	return bag{
		P: p, Again: p, Empty: share(t, []int64{}), Slice: []*int64s{ramp(t, 20, 20), nil, p, ramp(t, 30, 100_000)},
		Array: [2]*int64s{nil, ramp(t, 40, 40)}, ByName: map[string]*int64s{"a": ramp(t, 50, 50), "b": nil}, PP: &pp,
		Any: ramp(t, 60, 60), Bag: inner, Anys: []any{ramp(t, 70, 70), 1, p}, private: ramp(t, 80, 80), unsent: p, Exclusive: p,
	}
}

func TestSharedIsEverywhere(t *testing.T) {
	t.Parallel()
	b := newBag(t)
	want := b.survey()
	if len(want) != 19 || want["same"] != 1 || want["Bag"] == want["PP"] || want["Any.0"] < 0 {
		t.Fatalf("the test itself is wrong: %v", want)
	}
	pool := open(t, sharers, b, &brine.Options{Workers: 2})
	check := func(where string, got map[string]int64, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v; want %v", where, got, err, want)
		}
	}
	got, err := brine.Call(t.Context(), pool, surveyConfig, 0)
	check("config", got, err)
	got, err = brine.Call(t.Context(), pool, surveyBag, b)
	check("argument", got, err)
	outs, err := brine.Map(t.Context(), pool, surveyBag, slices.Repeat([]bag{b}, 40))
	for _, got := range outs {
		check("argument of Map", got, err)
	}
	bound := brine.Bind(surveyBound, b)
	for i := range 10 {
		got, err = brine.Call(t.Context(), pool, bound, i)
		check("bound", got, err)
	}
	if n, err := brine.Call(t.Context(), pool, brine.Bind(sumBound, b.P), 5); n != sum(b.P)+5 || err != nil {
		t.Errorf("as what is bound: %d, %v", n, err)
	}
	sums, err := brine.Map(t.Context(), pool, sumArgument, []*int64s{nil, b.P, b.Empty, b.P})
	if !slices.Equal(sums, []int64{-1, sum(b.P), 0, sum(b.P)}) || err != nil {
		t.Errorf("as argument: %v, %v", sums, err)
	}
	direct := open(t, sharedKind, b.P, &brine.Options{Workers: 1})
	if n, err := brine.Call(t.Context(), direct, sumState, 7); n != sum(b.P)+7 || err != nil {
		t.Errorf("as config: %d, %v", n, err)
	}
	none := open(t, sharedKind, nil, &brine.Options{Workers: 1})
	if n, err := brine.Call(t.Context(), none, sumState, 7); n != 6 || err != nil {
		t.Errorf("nil as config: %d, %v", n, err)
	}
}

type (
	grain struct {
		A int32
		B bool
		C [2]float32
		D struct{ E uint16 }
		F complex128
	}
)

func elements[T any](name string) func(t *testing.T, pool *brine.Pool[*sharer], want []T) {
	f := brine.MethodNamed("elements of "+name, sharers, func(_ *sharer, _ context.Context, s *brine.Shared[T]) ([]T, error) {
		if slice := s.Slice(); s.Len() != len(slice) || cap(slice) != len(slice) {
			return nil, fmt.Errorf("Len %d, len %d, cap %d", s.Len(), len(slice), cap(slice))
		}
		return slices.Clone(s.Slice()), nil
	})
	return func(t *testing.T, pool *brine.Pool[*sharer], want []T) {
		t.Helper()
		before := slices.Clone(want)
		shared := share(t, want)
		if len(want) > 0 {
			want[0] = want[len(want)-1] // which doesn't matter any more
		}
		got, err := brine.Call(t.Context(), pool, f, shared)
		if err != nil || !slices.EqualFunc(got, before, func(a, b T) bool { return reflect.DeepEqual(a, b) }) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, before)
		}
		if got := shared.Slice(); shared.Len() != len(before) || len(before) > 0 && !reflect.DeepEqual(got, before) || len(before) == 0 && got != nil {
			t.Errorf("%s: the parent has %v of %d", name, got, shared.Len())
		}
	}
}

var (
	boolElements    = elements[bool]("bool")
	byteElements    = elements[byte]("byte")
	int16Elements   = elements[int16]("int16")
	floatElements   = elements[float64]("float64")
	complexElements = elements[complex64]("complex64")
	celsiusElements = elements[celsius]("celsius")
	arrayElements   = elements[[3]uint16]("array")
	grainElements   = elements[grain]("grain")
	matrixElements  = elements[[2][2]grain]("matrix")
	addressElements = elements[uintptr]("uintptr")
	hiddenElements  = brine.MethodNamed("hidden elements", sharers, func(_ *sharer, _ context.Context, s *brine.Shared[hidden]) (int, error) {
		total := 0
		for _, h := range s.Slice() {
			total += int(h.a) * h.b
		}
		return total, nil
	})
)

type hidden struct {
	a byte
	b int
}

func TestSharedElements(t *testing.T) {
	t.Parallel()
	pool := open(t, sharers, bag{}, &brine.Options{Workers: 1})
	boolElements(t, pool, []bool{true, false, true})
	byteElements(t, pool, []byte("some text"))
	byteElements(t, pool, make([]byte, 4096))
	byteElements(t, pool, make([]byte, 4097))
	byteElements(t, pool, nil)
	int16Elements(t, pool, []int16{-1, math.MinInt16, 3})
	int16Elements(t, pool, []int16{})
	floatElements(t, pool, []float64{math.Inf(1), -0.5})
	complexElements(t, pool, []complex64{1 + 2i})
	celsiusElements(t, pool, []celsius{36.6})
	arrayElements(t, pool, [][3]uint16{{1, 2, 3}, {4, 5, 6}})
	grainElements(t, pool, []grain{{1, true, [2]float32{1, 2}, struct{ E uint16 }{3}, 4i}, {A: -1}})
	matrixElements(t, pool, [][2][2]grain{{{{A: 1}, {B: true}}, {}}})
	addressElements(t, pool, []uintptr{^uintptr(0)})
	if n, err := brine.Call(t.Context(), pool, hiddenElements, share(t, []hidden{{2, 3}, {4, 5}})); n != 26 || err != nil {
		t.Errorf("fields that are not exported: %d, %v", n, err)
	}
}

func TestSharedRefusesElements(t *testing.T) {
	t.Parallel()
	refuse(t, []string{"x"}, "string")
	refuse(t, []*int{nil}, "*int")
	refuse(t, [][]byte{{1}}, "[]uint8")
	refuse(t, []map[int]int{nil}, "map[int]int")
	refuse(t, []any{1}, "interface {}")
	refuse(t, []error{nil}, "error")
	refuse(t, []chan int{nil}, "chan int")
	refuse(t, []func(){nil}, "func()")
	refuse(t, []unsafe.Pointer{nil}, "unsafe.Pointer")
	refuse(t, []struct {
		A struct{ B [2]struct{ C []string } }
	}{{}}, "A.B", "C", "[]string")
	refuse(t, []struct {
		N int
		P [3]*pair
	}{}, "P", "pair")
	refuse(t, []time.Time{}, "loc")
	refuse(t, []*int64s{nil}, "Shared")
	refuse(t, []struct{}{{}}, "struct {}")
	if s, err := brine.NewShared[string](3); err == nil || s != nil {
		t.Error("NewShared of strings is no error")
	}
	for _, n := range []int{-1, math.MinInt, math.MaxInt, 1 << 60} {
		s, err := brine.NewShared[grain](n)
		if err == nil {
			t.Errorf("NewShared of %d is no error, but has %d", n, s.Len())
		}
	}
	if s, err := brine.NewShared[[1 << 20]int64](1 << 44); err == nil { // overflows to 0 bytes
		t.Errorf("NewShared of more than there is: %d", s.Len())
	}
	if s, err := brine.NewShared[byte](1 << 46); err == nil {
		t.Errorf("NewShared of 64 TB: %d", s.Len())
	}
}

func refuse[T any](t *testing.T, s []T, texts ...string) {
	t.Helper()
	shared, err := brine.Share(s)
	if err == nil || shared != nil {
		t.Errorf("Share of %T: %v, %v", s, shared, err)
		return
	}
	for _, text := range append(texts, "brine: ") {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("Share of %T: the error does not mention %q: %v", s, text, err)
		}
	}
}

type (
	hasShared       struct{ Out struct{ S []*int64s } }
	hasFrozen       struct{ Out *brine.FrozenMap[string, int] }
	hasSharedString struct {
		In struct{ S *brine.Shared[string] }
	}
	hasFrozenChan struct {
		In map[int]*brine.FrozenMap[string, chan int]
	}
)

var (
	refusedSharedResult  = refusing1[int, *int64s]("refused shared result")
	refusedDeepShared    = refusing1[int, hasShared]("refused deep shared result")
	refusedFrozenResult  = refusing1[int, hasFrozen]("refused frozen result")
	refusedSharedStrings = refusing1[hasSharedString, int]("refused shared strings")
	refusedFrozenChans   = refusing1[hasFrozenChan, int]("refused frozen chans")
)

func TestSharedRefusals(t *testing.T) {
	t.Parallel()
	refusal(t, refusedSharedResult, "result", "shared", "refused shared result function")
	refusal(t, refusedDeepShared, "result", "shared", "Out.S")
	refusal(t, refusedFrozenResult, "result", "shared", "Out")
	refusal(t, refusedSharedStrings, "In.S", "string")
	refusal(t, refusedFrozenChans, "In", "chan int")
	pool := open(t, sharers, bag{}, &brine.Options{Workers: 1})
	v, err := brine.Call(t.Context(), pool, returnsAny, ramp(t, 1, 10))
	if _ = as[*brine.TaskError](t, err); !strings.Contains(err.Error(), "shared") || !strings.Contains(err.Error(), "result") {
		t.Errorf("a result in any: %v, %v", v, err)
	}
	if n, err := brine.Call(t.Context(), pool, pokes, poke{}); n != -1 || err != nil {
		t.Error(n, err)
	}
}

// Other codecs can't carry it, and say so.
func TestSharedNeedsTheCompiledCodec(t *testing.T) {
	t.Parallel()
	s := ramp(t, 1, 10)
	refused := func(codec brine.Codec, what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s, %s: no error", codec.Name(), what)
			return
		}
		if text := err.Error(); !strings.Contains(strings.ToLower(text), "shared") || !strings.Contains(text, codec.Name()) || strings.Contains(text, "no exported fields") {
			t.Errorf("%s, %s: not a clear error: %v", codec.Name(), what, err)
		}
	}
	for _, codec := range []brine.Codec{brine.Gob, brine.JSON, own} {
		pool, err := brine.Open(t.Context(), sharedKind, s, &brine.Options{Workers: 1, Codec: codec})
		if err == nil {
			pool.Close()
		}
		refused(codec, "config", err)
		other, err := brine.Open(t.Context(), sharers, bag{}, &brine.Options{Workers: 1, Codec: codec})
		if err != nil {
			refused(codec, "Open", err)
			continue
		}
		_, err = brine.Call(t.Context(), other, sumArgument, s)
		refused(codec, "argument", err)
		_, err = brine.Call(t.Context(), other, surveyBag, bag{Slice: []*int64s{s}})
		refused(codec, "field of argument", err)
		_, err = brine.Call(t.Context(), other, brine.Bind(sumBound, s), 1)
		refused(codec, "bound", err)
		other.Close()
	}
}
