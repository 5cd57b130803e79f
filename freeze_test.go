package brine_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

type (
	places    = brine.FrozenMap[string, int]
	colours   string
	height    int32
	blob      []byte
	certain   bool
	frozenBag struct {
		Places, Nil *places
		List        []*places
		Any         any
		Inner       struct {
			ByName map[string]*brine.FrozenMap[int, []byte]
		}
		Dwell string // how the value is treated
		Key   string
	}
	frozenState struct{ frozenBag }
)

func init() { brine.RegisterType((*places)(nil)) }

func (b frozenBag) find(k string) ([]int, error) {
	v, ok := b.Places.Get(k)
	found := []int{v, b.Places.Len(), b.Nil.Len()}
	if !ok {
		found[0] = -1
	}
	for _, m := range b.List {
		v, _ := m.Get(k)
		found = append(found, v)
	}
	if m, ok := b.Any.(*places); ok {
		v, _ := m.Get(k)
		found = append(found, v)
	}
	bs := b.Inner.ByName["x"]
	v2, _ := bs.Get(7)
	switch b.Dwell {
	case "write":
		v2[0] = 'X'
	case "append":
		v2 = append(v2, "more"...)
		v2[0] = 'X'
	}
	return append(found, len(v2)), nil
}

var (
	frozens    = brine.DefineNamed("frozens", func(_ context.Context, b frozenBag) (*frozenState, error) { return &frozenState{b}, nil })
	findConfig = brine.MethodNamed("find in config", frozens, func(s *frozenState, _ context.Context, k string) ([]int, error) { return s.find(k) })
	findIn     = brine.MethodNamed("find in argument", frozens, func(_ *frozenState, _ context.Context, b frozenBag) ([]int, error) { return b.find(b.Key) })
	findBound  = brine.MethodBoundNamed("find in bound", frozens, func(_ *frozenState, _ context.Context, b frozenBag, k string) ([]int, error) { return b.find(k) })
	getBound   = brine.MethodBoundNamed("get in bound", frozens, func(_ *frozenState, _ context.Context, m *places, k string) (int, error) {
		v, _ := m.Get(k)
		return v, nil
	})
	getAwaited = brine.MethodNamed("get, awaited", frozens, func(_ *frozenState, ctx context.Context, a struct {
		M   *places
		Log string
	},
	) (int, error) {
		mark(a.Log)
		_, err := doDeed(ctx, deed{How: "await", Log: a.Log + ".go"})
		v, _ := a.M.Get("key 5")
		return v, err
	})
	findNested = brine.MethodNamed("find in a nested pool", frozens, func(s *frozenState, ctx context.Context, m *places) (int, error) {
		pool, err := brine.Open(ctx, frozens, frozenBag{Places: m}, nil)
		if err != nil {
			return 0, err
		}
		defer pool.Close()
		return brine.Call(ctx, pool, brine.Bind(getBound, m), "key 5")
	})
)

func freeze[K comparable, V any](t testing.TB, m map[K]V) *brine.FrozenMap[K, V] {
	t.Helper()
	f, err := brine.Freeze(m)
	if err != nil {
		t.Fatalf("freeze %T: %v", m, err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// keyed are "key 0" and so on, with their numbers and what is added.
func keyed(n, add int) map[string]int {
	m := make(map[string]int, n)
	for i := range n {
		m[fmt.Sprint("key ", i)] = i + add
	}
	return m
}

// thawing checks a map of some type, here and in a worker, against the Go map of which it was made.
func thawing[K comparable, V any](name string) func(t *testing.T, pool *brine.Pool[*frozenState], m map[K]V, missing ...K) {
	type question struct {
		M    *brine.FrozenMap[K, V]
		Want map[K]V
		Not  []K
	}
	check := func(q question) error {
		if q.M.Len() != len(q.Want) {
			return fmt.Errorf("%d entries, not %d", q.M.Len(), len(q.Want))
		}
		same := func(v, want V) bool {
			return reflect.DeepEqual(v, want) || fmt.Sprint(v) == fmt.Sprint(want) // NaN; nil as empty
		}
		for k, want := range q.Want {
			if v, ok := q.M.Get(k); !ok || !same(v, want) {
				return fmt.Errorf("%v: %v, %v; want %v", k, v, ok, want)
			}
		}
		for _, k := range q.Not {
			if v, ok := q.M.Get(k); ok || !reflect.ValueOf(&v).Elem().IsZero() {
				return fmt.Errorf("%v, which is not there: %v, %v", k, v, ok)
			}
		}
		var order []K
		for k, v := range q.M.All() {
			if want, ok := q.Want[k]; !ok || !same(v, want) {
				return fmt.Errorf("All yields %v: %v", k, v)
			}
			order = append(order, k)
		}
		if seen := maps.Collect(q.M.All()); len(seen) != len(q.Want) || len(order) != len(q.Want) {
			return fmt.Errorf("All yields %d entries, %d keys", len(order), len(seen))
		}
		for k := range q.M.All() {
			if k != order[0] {
				return fmt.Errorf("All begins with %v, then with %v", order[0], k)
			}
			break
		}
		return nil
	}
	f := brine.MethodNamed("thaw "+name, frozens, func(_ *frozenState, _ context.Context, q question) (int, error) { return q.M.Len(), check(q) })
	return func(t *testing.T, pool *brine.Pool[*frozenState], m map[K]V, missing ...K) {
		t.Helper()
		q := question{freeze(t, m), m, missing}
		if err := check(q); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n, err := brine.Call(t.Context(), pool, f, q); n != len(m) || err != nil {
			t.Errorf("%s, in a worker: %d, %v", name, n, err)
		}
	}
}

var (
	thawInts     = thawing[string, int]("string int")
	thawStrings  = thawing[string, string]("string string")
	thawBytes    = thawing[string, []byte]("string bytes")
	thawBlobs    = thawing[colours, blob]("named string, named bytes")
	thawHeights  = thawing[height, celsius]("named int32, named float64")
	thawInt8     = thawing[int8, uint8]("int8 uint8")
	thawInt64    = thawing[int64, string]("int64 string")
	thawUint64   = thawing[uint64, int16]("uint64 int16")
	thawUint16   = thawing[uint16, float32]("uint16 float32")
	thawBools    = thawing[int, bool]("int bool")
	thawCertain  = thawing[uint, certain]("uint named bool")
	thawNamed    = thawing[int, colours]("int named string")
	thawDuration = thawing[time.Duration, time.Month]("duration month")
)

func TestFrozenKinds(t *testing.T) {
	t.Parallel()
	pool := open(t, frozens, frozenBag{}, &brine.Options{Workers: 2})
	thawInts(t, pool, nil, "", "x")
	thawInts(t, pool, map[string]int{"": math.MinInt}, "\x00", "x")
	thawInts(t, pool, map[string]int{"\x00": 1, "\x00\x00": 2, "a": 3, "a\x00": 4, "\xff": 5}, "", "aa", "\x00\x00\x00", "\xff\xff")
	thawInts(t, pool, keyed(20_000, 1), "", "key", "key ", "key 20000", "key 1 ", strings.Repeat("key 1", 10_000))
	long := strings.Repeat("0123456789abcdef", 5000)
	thawStrings(t, pool, map[string]string{long: "x", long + "0": "", long[1:]: long, "e": ""}, long[:len(long)-1], long+"1")
	thawBytes(t, pool, map[string][]byte{"nil": nil, "empty": {}, "x": {0, 255}, "long": []byte(long)}, "X")
	thawBlobs(t, pool, map[colours]blob{"red": blob("rot"), "green": nil}, "blue")
	thawHeights(t, pool, map[height]celsius{-5: 1.5, math.MinInt32: celsius(math.Inf(1)), math.MaxInt32: celsius(math.NaN()), 0: celsius(math.Copysign(0, -1))}, 5, 1)
	small, missing := map[int8]uint8{}, []int8{}
	for i := math.MinInt8; i <= math.MaxInt8; i++ {
		if i%3 == 0 {
			small[int8(i)] = uint8(i)
		} else {
			missing = append(missing, int8(i))
		}
	}
	thawInt8(t, pool, small, missing...)
	thawInt64(t, pool, map[int64]string{math.MinInt64: "min", math.MaxInt64: "max", 0: "", -1: "minus", 1 << 32: "high"}, 1, -2, 1<<33)
	random, strides := rand.New(rand.NewPCG(1, 2)), map[uint64]int16{}
	for i := range uint64(3000) { // keys that hashes may take for each other
		strides[i<<48], strides[i], strides[i*0x9E3779B97F4A7C15], strides[random.Uint64()] = int16(i), -int16(i), 3, 4
	}
	thawUint64(t, pool, strides, 1<<47, math.MaxUint64, 5000)
	thawUint16(t, pool, map[uint16]float32{0: 1, 65535: float32(math.Inf(-1))}, 1, 255, 256)
	thawBools(t, pool, map[int]bool{1: true, 2: false}, 3, 0)
	thawCertain(t, pool, map[uint]certain{1: true, 2: false}, 3)
	thawNamed(t, pool, map[int]colours{1: "red", 2: ""}, 3)
	thawDuration(t, pool, map[time.Duration]time.Month{time.Hour: time.May}, time.Minute)
}

// Random maps of all sizes around powers of two, against Go's.
func TestFrozenRandom(t *testing.T) {
	t.Parallel()
	pool := open(t, frozens, frozenBag{}, &brine.Options{Workers: 1})
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for n := range 40 {
		n = max(0, 1<<(n/4)+n%4-2)
		m, missing := map[string]string{}, []string{}
		for len(m) < n {
			m[strings.Repeat(string(rune('a'+random.IntN(3))), random.IntN(40))+fmt.Sprint(random.IntN(2*n))] = fmt.Sprint(random.Uint64())
		}
		for range 20 {
			if k := fmt.Sprint(random.IntN(2*n + 1)); m[k] == "" {
				missing = append(missing, k)
			}
		}
		thawStrings(t, pool, m, missing...)
	}
}

func pairsOf[K, V any](keys []K, values ...V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for i, k := range keys {
			if !yield(k, values[i]) {
				return
			}
		}
	}
}

func TestFreezeSeq(t *testing.T) {
	t.Parallel()
	m, err := brine.FreezeSeq(pairsOf([][]byte{[]byte("a"), {}, {0}, []byte("bc")}, 1, 2, 3, 4))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for k, want := range map[string]int{"a": 1, "": 2, "\x00": 3, "bc": 4, "b": 0, "c": 0, "abc": 0} {
		if v, ok := m.Get([]byte(k)); v != want || ok != (want > 0) {
			t.Errorf("%q: %d, %v", k, v, ok)
		}
	}
	if v, ok := m.Get(nil); v != 2 || !ok || m.Len() != 4 {
		t.Errorf("nil as an empty key: %d, %v of %d", v, ok, m.Len())
	}
	pool := open(t, frozens, frozenBag{}, &brine.Options{Workers: 1})
	if s, err := brine.Call(t.Context(), pool, byteKeys, m); s != "4 [  a bc] 4" && s != "4 [ \x00 a bc] 4" || err != nil {
		t.Errorf("in a worker: %q, %v", s, err)
	}
	checkReadOnly(t, "a frozen map's", firstKey(m))
	for name, err := range map[string]error{
		"string": second(brine.FreezeSeq(pairsOf([]string{"a", "b", "a"}, 1, 2, 1))),
		"bytes":  second(brine.FreezeSeq(pairsOf([][]byte{{}, {1}, nil}, 1, 2, 3))),
		"int":    second(brine.FreezeSeq(pairsOf(append(numbers(5000), 4321), make([]string, 5001)...))),
	} {
		if text := errorText(err); !strings.Contains(text, "twice") {
			t.Errorf("%s: a key that comes twice: %s", name, text)
		}
	}
	none, err := brine.FreezeSeq(pairsOf[[]byte, []byte](nil))
	if _, ok := none.Get(nil); ok || none.Len() != 0 || err != nil || none.Close() != nil {
		t.Errorf("nothing: %v, %v", ok, err)
	}
	calls := 0
	shrinking := func(yield func(int, string) bool) { // it may be refused, but must do no harm
		calls++
		for i := range 1000 / calls {
			if !yield(i*calls, strings.Repeat("x", 10*calls)) {
				return
			}
		}
	}
	if m, err := brine.FreezeSeq(shrinking); err == nil {
		t.Error("a sequence that changes is no error")
		m.Close()
	}
	calls = 1
	growing := func(yield func(int, string) bool) {
		for i := range calls * 1000 {
			if !yield(i, strings.Repeat("x", 10*calls)) {
				return
			}
		}
		calls++
	}
	if m, err := brine.FreezeSeq(growing); err == nil {
		t.Error("a sequence that grows is no error")
		m.Close()
	}
	func() {
		defer func() {
			if v := recover(); v != "of the sequence" {
				t.Errorf("a panic of the sequence: %v", v)
			}
		}()
		_, _ = brine.FreezeSeq(func(yield func(int, int) bool) { yield(1, 1); panic("of the sequence") })
	}()
}

// errorText survives an error whose text lies in memory that is gone.
func errorText(err error) (text string) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprint("an error whose text can't be had: ", v)
		}
	}()
	return fmt.Sprint(err)
}

func second[T any](_ T, err error) error { return err }

func firstKey[V any](m *brine.FrozenMap[[]byte, V]) []byte {
	for k := range m.All() {
		if len(k) > 0 {
			return k
		}
	}
	return nil
}

var byteKeys = brine.MethodNamed("byte keys", frozens, func(_ *frozenState, _ context.Context, m *brine.FrozenMap[[]byte, int]) (string, error) {
	keys := [][]byte{}
	for k := range m.All() {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, bytes.Compare)
	v, _ := m.Get([]byte("bc"))
	return fmt.Sprintf("%d %s %d", m.Len(), keys, v), nil
})

func TestFreezeRefuses(t *testing.T) {
	t.Parallel()
	for text, err := range map[string]error{
		"float64":      second(brine.Freeze(map[float64]int{1: 1})),
		"bool":         second(brine.Freeze(map[bool]int{true: 1})),
		"pair":         second(brine.Freeze(map[pair]int{{}: 1})),
		"[2]int":       second(brine.Freeze(map[[2]int]int{{}: 1})),
		"interface":    second(brine.Freeze(map[any]int{1: 1})),
		"*int":         second(brine.Freeze(map[*int]int{nil: 1})),
		"brine_test.p": second(brine.Freeze(map[string]pair{})),
		"[]int":        second(brine.Freeze(map[string][]int{"": {1}})),
		"map[int]int":  second(brine.Freeze(map[string]map[int]int{})),
		"*string":      second(brine.Freeze(map[string]*string{})),
		"complex128":   second(brine.Freeze(map[string]complex128{})),
		"chan int":     second(brine.Freeze(map[int]chan int{})),
		"Shared":       second(brine.Freeze(map[int]*int64s{})),
		"[]string":     second(brine.FreezeSeq(pairsOf([][]string{{"x"}}, 1))),
		"func()":       second(brine.FreezeSeq(pairsOf([]int{1}, func() {}))),
	} {
		if err == nil || !strings.Contains(err.Error(), text) || !strings.HasPrefix(err.Error(), "brine: ") {
			t.Errorf("the error does not name %s: %v", text, err)
		}
	}
	m := freeze(t, keyed(10, 0))
	for _, codec := range []brine.Codec{brine.Gob, brine.JSON, own} {
		pool, err := brine.Open(t.Context(), frozens, frozenBag{Places: m}, &brine.Options{Workers: 1, Codec: codec})
		if err == nil {
			pool.Close()
			t.Errorf("%s carries a frozen map", codec.Name())
		} else if !strings.Contains(err.Error(), "shared") || !strings.Contains(err.Error(), codec.Name()) {
			t.Errorf("%s: not clear: %v", codec.Name(), err)
		}
	}
}

func TestFrozenIsEverywhere(t *testing.T) {
	t.Parallel()
	m, list := freeze(t, keyed(50_000, 1)), []*places{freeze(t, keyed(10, 2)), nil, freeze(t, keyed(10, 3))}
	value := []byte("a value")
	b := frozenBag{Places: m, List: list, Any: freeze(t, keyed(10, 4))}
	b.Inner.ByName = map[string]*brine.FrozenMap[int, []byte]{"x": freeze(t, map[int][]byte{7: value, 8: value})}
	pool := open(t, frozens, b, &brine.Options{Workers: 2, MaxTasks: 20})
	want := map[string][]int{"key 5": {6, 50_000, 0, 7, 0, 8, 9, 7}, "key 49999": {50_000, 50_000, 0, 0, 0, 0, 0, 7}, "key 50000": {-1, 50_000, 0, 0, 0, 0, 0, 7}}
	for k, want := range want {
		b.Key = k
		got, err := brine.Call(t.Context(), pool, findConfig, k)
		if !slices.Equal(got, want) || err != nil {
			t.Errorf("%s: config: %v, %v; want %v", k, got, err, want)
		}
		for range 20 {
			if got, err = brine.Call(t.Context(), pool, findIn, b); !slices.Equal(got, want) || err != nil {
				t.Errorf("%s: argument: %v, %v; want %v", k, got, err, want)
			}
		}
		bound := brine.Bind(findBound, b)
		if got, err = brine.Call(t.Context(), pool, bound, k); !slices.Equal(got, want) || err != nil {
			t.Errorf("%s: bound: %v, %v; want %v", k, got, err, want)
		}
	}
	if n, err := brine.Call(t.Context(), pool, findNested, m); n != 6 || err != nil {
		t.Errorf("nested: %d, %v", n, err)
	}
	// Nothing of a megabyte of entries is encoded, sent or decoded.
	s := pool.Stats()
	for _, f := range s.Functions {
		for what, tally := range map[string]brine.Tally{
			"config encode": f.ConfigEncode, "config decode": f.ConfigDecode, "bound encode": f.BoundEncode,
			"bound decode": f.BoundDecode, "argument encode": f.ArgumentEncode, "argument decode": f.ArgumentDecode,
		} {
			if tally.Largest > 1000 {
				t.Errorf("%s: %s: %+v", f.Name, what, tally)
			}
		}
	}
	if f := functionStats(t, s, findIn.Name()); f.ArgumentDecode.Count != 60 {
		t.Errorf("%+v", f.ArgumentDecode)
	}
	b.Dwell = "write"
	_, err := brine.Call(t.Context(), pool, findIn, b)
	if p := as[*brine.PanicError](t, err); !strings.Contains(p.Value, "read-only") || !strings.Contains(p.Stack, "freeze_test.go:") {
		t.Errorf("a value that is written to: %q\n%s", p.Value, p.Stack)
	}
	b.Dwell = "append" // makes a copy
	if _, err := brine.Call(t.Context(), pool, findIn, b); err != nil {
		t.Error(err)
	}
	if v, ok := b.Inner.ByName["x"].Get(7); string(v) != "a value" || !ok {
		t.Errorf("afterwards: %q", v)
	} else {
		checkReadOnly(t, "a frozen map's", v)
	}
	if deaths := pool.Stats().Deaths; deaths != 0 {
		t.Errorf("%d deaths", deaths)
	}
}

func TestFrozenClose(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*places{"nil": nil, "zero": {}} {
		if v, ok := m.Get("x"); v != 0 || ok || m.Len() != 0 || len(maps.Collect(m.All())) != 0 || m.Close() != nil {
			t.Errorf("%s: %d, %v", name, v, ok)
		}
	}
	m, file := freeze(t, keyed(1000, 1)), t.TempDir()+"/log"
	pool := open(t, frozens, frozenBag{}, &brine.Options{Workers: 1})
	ctx := t.Context()
	f := brine.Go(ctx, pool, getAwaited, struct {
		M   *places
		Log string
	}{m, file})
	eventually(t, 20*time.Second, "a task that runs", func() bool { return marks(t, file) == 1 })
	var closing sync.WaitGroup
	closing.Go(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 20*time.Second, "Len to be 0", func() bool { return m.Len() == 0 })
	if v, ok := m.Get("key 5"); v != 0 || ok || len(maps.Collect(m.All())) != 0 {
		t.Errorf("closed: %d, %v", v, ok)
	}
	mark(file + ".go")
	within(t, time.Minute, "the task and Close", func() {
		if v, err := f.Wait(ctx); v != 6 || err != nil {
			t.Errorf("the task that had it: %d, %v", v, err)
		}
		closing.Wait()
	})
	_, err := brine.Call(ctx, pool, findIn, frozenBag{Places: m})
	if _ = as[*brine.TaskError](t, err); !strings.Contains(err.Error(), "closed") || m.Close() != nil {
		t.Errorf("sent after Close: %v", err)
	}
	if v, err := brine.Call(ctx, pool, findIn, frozenBag{Places: freeze(t, keyed(6, 0)), Key: "key 5"}); err != nil || v[0] != 5 {
		t.Errorf("afterwards: %v, %v", v, err)
	}
}
