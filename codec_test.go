package brine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

type (
	celsius  float64
	colour   uint8
	pair     struct{ A, B int }
	Exported struct{ E int }
	embeds   struct {
		Exported
		N int
	}
	tree struct {
		Value       int
		Left, Right *tree
	}
	list struct {
		Value int
		Next  *list
	}
	everything struct {
		Bool                 bool
		I                    int
		I8                   int8
		I16                  int16
		I32                  int32
		I64                  int64
		U                    uint
		U8                   uint8
		U16                  uint16
		U32                  uint32
		U64                  uint64
		F32                  float32
		F64                  float64
		S                    string
		Bytes                []byte
		Ints                 []int
		Strings              []string
		Pairs                []pair
		Nested               [][]string
		Array                [3]int16
		Empty                struct{}
		Map                  map[string]int
		MapOfMaps            map[int]map[string][]bool
		ByPair               map[string]pair
		Pointer, Nil         *int
		PointerToPointer     **string
		Struct               *pair
		Time                 time.Time
		Duration             time.Duration
		Celsius              celsius
		Colours              []colour
		Colour               colour
		Tree                 *tree
		Address              netip.Addr
		URL                  *url.URL
		Function, Channel    int
		Matrix               [2][2]float64
		Rune                 rune
		Times                []time.Time
		ArrayOfStrings       [2]string
		SliceOfArrays        [][2]uint16
		MapOfPointers        map[string]*pair
		SliceOfPointers      []*pair
		PointerToSlice       *[]int
		PointerToMap         *map[string]string
		StructOfAnon         struct{ X, Y int }
		Floats               []float64
		Bools                []bool
		SliceOfSliceOfSlices [][][]int
	}
)

// echoKinds is a kind of its own for the codec's types.
var echoKinds = brine.DefineNamed("echoes", func(context.Context, int) (struct{}, error) { return struct{}{}, nil })

// echo registers a function that answers with what it gets, and returns a check that does so with values.
func echo[T any](name string) func(t *testing.T, pool *brine.Pool[struct{}], values ...T) {
	f := brine.MethodNamed("echo of "+name, echoKinds, func(_ struct{}, ctx context.Context, v T) (T, error) { return v, nil })
	return func(t *testing.T, pool *brine.Pool[struct{}], values ...T) {
		t.Helper()
		outs, err := brine.Map(t.Context(), pool, f, values)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		for i, out := range outs {
			if !reflect.DeepEqual(out, values[i]) && fmt.Sprintf("%#v", out) != fmt.Sprintf("%#v", values[i]) {
				t.Errorf("%s: %#v came back as %#v", name, values[i], out)
			}
		}
	}
}

func init() {
	brine.RegisterType(pair{})
	brine.RegisterType(map[string]any(nil))
	brine.RegisterType([]any(nil))
}

var (
	echoEverything = echo[everything]("everything")
	echoInt        = echo[int]("int")
	echoI8         = echo[int8]("int8")
	echoU64        = echo[uint64]("uint64")
	echoUintptr    = echo[uintptr]("uintptr")
	echoF32        = echo[float32]("float32")
	echoF64        = echo[float64]("float64")
	echoC64        = echo[complex64]("complex64")
	echoC128       = echo[complex128]("complex128")
	echoBool       = echo[bool]("bool")
	echoText       = echo[string]("string")
	echoRaw        = echo[[]byte]("bytes")
	echoInts       = echo[[]int]("ints")
	echoEmptySlice = echo[[]struct{}]("slice of nothing")
	echoStruct     = echo[struct{}]("struct{}")
	echoMap        = echo[map[string]int]("map")
	echoPairs      = echo[map[pair]string]("map by struct")
	echoArrays     = echo[map[[2]int8][]string]("map by array")
	echoFloats     = echo[map[float64]int]("map by float")
	echoPtr        = echo[*int]("pointer")
	echoPtrPtr     = echo[**int]("pointer to pointer")
	echoTree       = echo[*tree]("tree")
	echoTime       = echo[time.Time]("time")
	echoBig        = echo[*big.Int]("big.Int")
	echoAny        = echo[any]("any")
	echoAnys       = echo[[]any]("anys")
	echoEmbeds     = echo[embeds]("embeds")
	echoBigArray   = echo[[1 << 14]uint16]("array")
	echoIface      = echo[fmt.Stringer]("interface")
	echoErr        = echo[error]("error")
	doSharing      = brine.MethodNamed("shared", echoKinds, func(_ struct{}, _ context.Context, ps []*pair) (bool, error) {
		return ps[0] == ps[1] && ps[0] != ps[2], nil
	})
)

func TestKindsOfValues(t *testing.T) {
	t.Parallel()
	pool := open(t, echoKinds, 0, &brine.Options{Workers: 2})
	n, s := 42, "forty-two"
	ps := &s
	full := everything{
		true, math.MinInt, math.MinInt8, math.MinInt16, math.MinInt32, math.MinInt64,
		math.MaxUint, math.MaxUint8, math.MaxUint16, math.MaxUint32, math.MaxUint64,
		math.SmallestNonzeroFloat32, math.MaxFloat64, "héllo\x00\xff",
		[]byte{0, 255},
		[]int{1, -1, 1 << 40},
		[]string{"", "a"},
		[]pair{{1, 2}, {3, 4}},
		[][]string{nil, {}, {"x"}},
		[3]int16{-1, 0, 1},
		struct{}{},
		map[string]int{"": 0, "b": -2},
		map[int]map[string][]bool{1: {"x": {true, false}}, 2: nil},
		map[string]pair{"p": {5, 6}},
		&n, nil, &ps, &pair{7, 8},
		time.Date(2026, 11, 20, 13, 0, 0, 123456789, time.UTC), time.Hour, 36.6,
		[]colour{1, 2},
		3,
		&tree{1, &tree{2, nil, nil}, &tree{3, &tree{4, nil, nil}, nil}}, netip.MustParseAddr("::1"),
		&url.URL{Scheme: "https", Host: "example.org", Path: "/a b"}, 1, 2,
		[2][2]float64{{1, 2}, {3, math.Inf(-1)}},
		'界',
		[]time.Time{time.Unix(0, 0).UTC(), {}},
		[2]string{"a", "b"},
		[][2]uint16{{1, 2}},
		map[string]*pair{"a": {1, 1}, "nil": nil},
		[]*pair{{1, 2}, nil},
		&[]int{1}, &map[string]string{"k": "v"},
		struct{ X, Y int }{1, 2},
		[]float64{0, math.Copysign(0, -1)},
		[]bool{true, false},
		[][][]int{{{1}, nil}, nil},
	}
	echoEverything(t, pool, full, everything{})
	echoInt(t, pool, 0, 1, -1, 63, 64, -64, -65, 127, 128, math.MaxInt, math.MinInt)
	echoI8(t, pool, math.MinInt8, math.MaxInt8)
	echoU64(t, pool, 0, math.MaxUint64)
	echoUintptr(t, pool, 0, ^uintptr(0))
	echoF32(t, pool, 0, math.MaxFloat32, float32(math.Inf(1)), float32(math.NaN()))
	echoF64(t, pool, 0, math.Copysign(0, -1), math.SmallestNonzeroFloat64, math.Inf(1), math.NaN())
	echoC64(t, pool, 1+2i)
	echoC128(t, pool, complex(math.Inf(1), -0.5))
	echoBool(t, pool, true, false)
	echoText(t, pool, "", "a", "\x00", "\xff\xfe", strings.Repeat("界", 100_000))
	echoRaw(t, pool, nil, []byte{}, []byte{0}, make([]byte, 1<<20))
	echoInts(t, pool, nil, []int{}, numbers(100_000))
	echoEmptySlice(t, pool, nil, make([]struct{}, 1000))
	echoStruct(t, pool, struct{}{}, struct{}{})
	echoMap(t, pool, nil, map[string]int{}, map[string]int{"a": 1})
	echoPairs(t, pool, map[pair]string{{1, 2}: "x", {}: ""})
	echoArrays(t, pool, map[[2]int8][]string{{-1, 1}: {"x"}, {}: nil})
	echoFloats(t, pool, map[float64]int{math.Inf(1): 1, 0.1: 2})
	p := &n
	echoPtr(t, pool, nil, &n)
	var none *int
	echoPtrPtr(t, pool, nil, &none, &p)
	echoTree(t, pool, nil, full.Tree)
	echoTime(t, pool, time.Time{}, full.Time, time.Unix(1, 1), time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600)))
	echoBig(t, pool, big.NewInt(-5), new(big.Int).Exp(big.NewInt(3), big.NewInt(1000), nil))
	echoAny(t, pool, nil, 1, "s", 1.5, true, pair{1, 2}, map[string]any{"a": []any{1, "x", nil}}, uint8(3), []byte("b"))
	echoAnys(t, pool, nil, []any{1, nil, "x", pair{3, 4}})
	echoEmbeds(t, pool, embeds{Exported{1}, 2})
	var array [1 << 14]uint16
	array[9], array[1<<14-1] = 7, 8
	echoBigArray(t, pool, array)
	echoIface(t, pool, nil)
	echoErr(t, pool, nil)
	shared := &pair{1, 2}
	if same, err := brine.Call(t.Context(), pool, doSharing, []*pair{shared, shared, {1, 2}}); !same || err != nil {
		t.Errorf("pointers to one value came as such: %v, %v", same, err)
	}
}

// Values without end are their task's error, in bounded time, and hurt nobody.
func TestDeepAndCyclicValues(t *testing.T) {
	t.Parallel()
	pool := open(t, echoKinds, 0, &brine.Options{Workers: 1})
	f := func(v *list) error {
		var err error
		within(t, 30*time.Second, "a list", func() { _, err = brine.Call(t.Context(), pool, listLength, v) })
		return err
	}
	ring := &list{Value: 1}
	ring.Next = &list{Value: 2, Next: ring}
	t.Log("ring: ", f(ring)) // carried as it is, or refused
	for _, depth := range []int{100, 1000, 100_000, 5_000_000} {
		var long *list
		for i := range depth {
			long = &list{i, long}
		}
		if err := f(long); err == nil {
			t.Logf("a list of %d crossed", depth)
		} else if _, ok := errors.AsType[*brine.TaskError](err); !ok || depth <= 100 {
			t.Errorf("a list of %d: %v", depth, err)
		} else {
			t.Logf("a list of %d: %v", depth, err)
		}
	}
	if err := f(&list{Value: 3}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if s := pool.Stats(); s.Deaths != 0 {
		t.Errorf("%d deaths", s.Deaths)
	}
}

var listLength = brine.MethodNamed("list length", echoKinds, func(_ struct{}, _ context.Context, l *list) (int, error) {
	n := 0
	for first := l; l != nil; l = l.Next {
		if n++; l.Next == first {
			break
		}
	}
	return n, nil
})

// ownCodec writes ints its own way, and refuses what it does not know.
type ownCodec struct{ brine.Codec }

func (ownCodec) Name() string { return "own" }

func init() { brine.RegisterCodec(own) }

var own = ownCodec{brine.JSON}

type record struct {
	ID    int
	Name  string
	Tags  []string
	Score map[string]float64
	Next  *record
	At    time.Time
}

var records = brine.DefineNamed("records", func(_ context.Context, first record) (record, error) { return first, nil })

var relabel = brine.MethodNamed("relabel", records, func(first record, _ context.Context, r record) (record, error) {
	if r.ID < 0 {
		return r, fmt.Errorf("negative: %w", errTaken)
	}
	r.Name += first.Name
	return r, nil
})

var relabelBound = brine.MethodBoundNamed("relabel, bound", records, func(_ record, _ context.Context, suffix record, r record) (record, error) {
	r.Name += suffix.Name
	return r, nil
})

func TestCodecs(t *testing.T) {
	t.Parallel()
	for name, codec := range map[string]brine.Codec{"compiled": nil, "gob": brine.Gob, "json": brine.JSON, "own": own} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := open(t, records, record{Name: "-first"}, &brine.Options{Workers: 2, Codec: codec})
			ins := make([]record, 3000)
			for i := range ins {
				ins[i] = record{i, fmt.Sprint("r", i), []string{"a", "b"}, map[string]float64{"x": float64(i) / 3}, &record{ID: -i}, time.Unix(int64(i), 5).UTC()}
			}
			ins[0] = record{}
			ins[100].ID = -1
			outs, err := brine.Map(t.Context(), pool, relabel, ins)
			if task, ok := errors.AsType[*brine.TaskError](err); !ok || task.Index != 100 || !errors.Is(err, errTaken) {
				t.Errorf("the failed one: %v", err)
			}
			for i := range outs {
				want := ins[i]
				want.Name += "-first"
				if i != 100 && !reflect.DeepEqual(outs[i], want) {
					t.Fatalf("%d: %+v, want %+v", i, outs[i], want)
				}
			}
			if r, err := brine.Call(t.Context(), pool, brine.Bind(relabelBound, record{Name: "!"}), ins[5]); r.Name != "r5!" || err != nil {
				t.Errorf("bound: %+v, %v", r, err)
			}
			_, err = brine.Call(t.Context(), pool, relabel, record{Score: map[string]float64{"nan": math.NaN()}})
			if name == "json" || name == "own" {
				if _, ok := errors.AsType[*brine.TaskError](err); !ok || !strings.Contains(err.Error(), "NaN") {
					t.Errorf("a NaN, which JSON can't carry: %v", err)
				}
			} else if err != nil {
				t.Errorf("a NaN: %v", err)
			}
		})
	}
}

// What can't cross is refused by Open, with the path to it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	refusal(t, refusedChan, "Inner.Deep", "chan")
	refusal(t, refusedFunc, "Callback", "func")
	refusal(t, refusedMap, "ByName", "chan")
	refusal(t, refusedResult, "Out", "chan")
	refusal(t, refusedBound, "Done", "chan")
	refusal(t, refusedPointer, "Unsafe", "Inner.Deep", "chan")
	within(t, 10*time.Second, "Open", func() {
		_, err := brine.Open(t.Context(), refusedConfig, hasChan{}, nil)
		if err == nil || !strings.Contains(err.Error(), "Inner.Deep") {
			t.Errorf("a config with a chan: %v", err)
		}
	})
}

func refusal(t *testing.T, kind *brine.Kind[int, int], texts ...string) {
	t.Helper()
	within(t, 10*time.Second, "Open", func() {
		pool, err := brine.Open(t.Context(), kind, 1, nil)
		if err == nil {
			pool.Close()
			t.Errorf("%s: Open returned no error", kind.Name())
			return
		}
		t.Log(err)
		for _, text := range texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: the error does not mention %q: %v", kind.Name(), text, err)
			}
		}
	})
}

type (
	hasChan    struct{ Inner struct{ Deep []chan int } }
	hasFunc    struct{ Callback func() }
	hasMap     struct{ ByName map[string]chan int }
	hasOut     struct{ Out *chan bool }
	hasDone    struct{ Done <-chan struct{} }
	hasPointer struct{ P [1]struct{ Unsafe *hasChan } }
)

func refusing1[In, Out any](name string) *brine.Kind[int, int] {
	kind := brine.DefineNamed(name, func(_ context.Context, n int) (int, error) { return n, nil })
	brine.MethodNamed(name+" function", kind, func(int, context.Context, In) (out Out, err error) { return out, nil })
	return kind
}

var (
	refusedChan    = refusing1[hasChan, int]("refused chan")
	refusedFunc    = refusing1[hasFunc, int]("refused func")
	refusedMap     = refusing1[hasMap, int]("refused map")
	refusedResult  = refusing1[int, hasOut]("refused result")
	refusedPointer = refusing1[int, hasPointer]("refused pointer")
	refusedBound   = func() *brine.Kind[int, int] {
		kind := brine.DefineNamed("refused bound", func(_ context.Context, n int) (int, error) { return n, nil })
		brine.MethodBoundNamed("refused bound function", kind, func(int, context.Context, hasDone, int) (int, error) { return 0, nil })
		return kind
	}()
	refusedFunction = brine.MethodNamed("refused function", refusedChan, func(int, context.Context, hasChan) (int, error) { return 0, nil })
	refusedConfig   = brine.DefineNamed("refused config", func(context.Context, hasChan) (int, error) { return 0, nil })
)
