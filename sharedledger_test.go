package brine_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/brinepool/brine"
)

type (
	// wrapped has a part that repeats, beside one that doesn't.
	wrapped[T any] struct {
		N      int
		Object struct{ Part T }
	}
	tags struct{ Name, Text string }
)

// sizes registers functions that take a T: as it is, as a part, and bound.
func sizes[T any](name string) (whole brine.Func[struct{}, T, int], part brine.Func[struct{}, wrapped[T], int], bound brine.BoundFunc[struct{}, T, int, int]) {
	whole = brine.MethodNamed(name+" whole", lone, func(struct{}, context.Context, T) (int, error) { return 1, nil })
	part = brine.MethodNamed(name+" part", lone, func(_ struct{}, _ context.Context, w wrapped[T]) (int, error) { return w.N, nil })
	bound = brine.MethodBoundNamed(name+" bound", lone, func(_ struct{}, _ context.Context, _ T, n int) (int, error) { return n, nil })
	return whole, part, bound
}

var (
	ledgerKind = brine.DefineNamed("ledgers", func(_ context.Context, s *int64s) (struct{}, error) { return struct{}{}, nil })
	sumPair    = brine.MethodNamed("sum a pair", ledgerKind, func(_ struct{}, _ context.Context, p [2]*int64s) (int64, error) { return sum(p[0]) + sum(p[1]), nil })
	sumOnce    = brine.MethodBoundNamed("sum bound once", ledgerKind, func(_ struct{}, _ context.Context, s *int64s, n int) (int64, error) { return sum(s), nil })
	killsIt    = brine.MethodNamed("kills its worker", ledgerKind, func(_ struct{}, ctx context.Context, d deed) (int, error) { return doDeed(ctx, d) })

	longsWhole, longsPart, longsBound       = sizes[[]int64]("longs")
	bytesWhole, bytesPart, bytesBound       = sizes[[]byte]("bytes")
	textWhole, textPart, textBound          = sizes[string]("text")
	samplesWhole, samplesPart, samplesBound = sizes[[]sample]("samples")
	dictWhole, dictPart, dictBound          = sizes[map[string]string]("dict")
	countsWhole, countsPart, countsBound    = sizes[map[int]float64]("counts")
	wordsWhole, wordsPart, wordsBound       = sizes[[]string]("words")
	tagsWhole, tagsPart, tagsBound          = sizes[map[string]tags]("tags")
	indexWhole, indexPart, indexBound       = sizes[map[string][]int]("index")
	pairsWhole, pairsPart, pairsBound       = sizes[map[pair]string]("pairs")
)

// remedied sends a value in all ways until it is pointed out, and checks the advice.
func remedied[T any](t *testing.T, codec brine.Codec, v T, whole brine.Func[struct{}, T, int], part brine.Func[struct{}, wrapped[T], int], bound brine.BoundFunc[struct{}, T, int, int], says, saysNot []string) {
	t.Helper()
	pool := open(t, lone, 0, &brine.Options{Workers: 1, Codec: codec})
	ctx, w := t.Context(), wrapped[T]{}
	w.Object.Part = v
	for w.N = range 3 {
		_, err1 := brine.Call(ctx, pool, whole, v)
		_, err2 := brine.Call(ctx, pool, part, w)
		_, err3 := brine.Call(ctx, pool, brine.Bind(bound, v), 1)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
	}
	var report strings.Builder
	if err := pool.Report(&report); err != nil {
		t.Error(err)
	}
	repeats := pool.Stats().Repeats
	find := func(f, class, path string) {
		t.Helper()
		i := slices.IndexFunc(repeats, func(r brine.Repeat) bool { return r.Func == f && r.Class == class })
		if i < 0 {
			t.Errorf("%T: %s, %s: not pointed out", v, f, class)
			return
		}
		r := repeats[i]
		if r.Path != path || r.Count != 3 || r.Bytes < 1<<20 {
			t.Errorf("%T: %s, %s: path %q, not %q; %d of %d bytes", v, f, class, r.Path, path, r.Count, r.Bytes)
		}
		for _, text := range says {
			if !strings.Contains(r.Remedy, text) {
				t.Errorf("%T: %s, %s: the advice does not name %s: %s", v, f, class, text, r.Remedy)
			}
		}
		for _, text := range saysNot {
			if strings.Contains(r.Remedy, text) {
				t.Errorf("%T: %s, %s: the advice names %s: %s", v, f, class, text, r.Remedy)
			}
		}
		if flat := strings.Join(strings.Fields(report.String()), " "); r.Remedy == "" || !strings.Contains(flat, strings.Join(strings.Fields(r.Remedy), " ")) {
			t.Errorf("%T: the report does not give the advice %q", v, r.Remedy)
		}
	}
	find(whole.Name(), "argument", "")
	find(brine.Bind(bound, v).Name(), "bound", "")
	if codec == nil {
		find(part.Name(), "argument", ".Object.Part")
	}
}

// lone is a kind with nothing shared, so that any codec can carry what its functions take.
var lone = brine.DefineNamed("ledgers, any codec", func(context.Context, int) (struct{}, error) { return struct{}{}, nil })

func TestRemedies(t *testing.T) {
	t.Parallel()
	const n = 1 << 17
	dict, counts, tagged := map[string]string{}, map[int]float64{}, map[string]tags{}
	index, pairs := map[string][]int{}, map[pair]string{}
	words, long := make([]string, 2000), strings.Repeat("a long value ", 50)
	for i := range words {
		k := fmt.Sprint("some key ", i)
		dict[k], words[i], tagged[k], index[k], pairs[pair{i, 1}] = long, long+k, tags{k, long}, slices.Repeat([]int{1<<40 + i}, 100), long
	}
	for i := range n {
		counts[i<<30] = 1 / float64(i+3)
	}
	share, freeze, other := []string{"Share"}, []string{"Freeze"}, []string{"Share", "Freeze"}
	state := []string{"ind", "state"} // Bind, or binding, and worker state
	remedied(t, nil, fillInts(n*2, 3), longsWhole, longsPart, longsBound, share, freeze)
	remedied(t, nil, fill(n*10, 3), bytesWhole, bytesPart, bytesBound, share, freeze)
	remedied(t, nil, string(fill(n*10, 3)), textWhole, textPart, textBound, share, freeze)
	remedied(t, nil, pack(n*16, 3).Samples, samplesWhole, samplesPart, samplesBound, share, freeze)
	remedied(t, nil, dict, dictWhole, dictPart, dictBound, freeze, share)
	remedied(t, nil, counts, countsWhole, countsPart, countsBound, freeze, share)
	remedied(t, nil, words, wordsWhole, wordsPart, wordsBound, state, other)
	remedied(t, nil, tagged, tagsWhole, tagsPart, tagsBound, state, other)
	remedied(t, nil, index, indexWhole, indexPart, indexBound, state, other)
	remedied(t, nil, pairs, pairsWhole, pairsPart, pairsBound, state, other)
	// What another codec can't carry is no advice for its users.
	remedied(t, brine.Gob, fill(n*10, 3), bytesWhole, bytesPart, bytesBound, state, other)
	remedied(t, brine.Gob, dict, dictWhole, dictPart, dictBound, state, other)
}

// Shared data is in the account apart: published once, mapped once by each worker, never sent.
func TestSharedInTheLedger(t *testing.T) {
	t.Parallel()
	const n = 200_000 // 1.6 MB each
	config, first, second, bound := ramp(t, 1, n), ramp(t, 2, n), ramp(t, 3, n), ramp(t, 4, n)
	pool := open(t, ledgerKind, config, &brine.Options{Workers: 2, Stderr: io.Discard})
	once := brine.Bind(sumOnce, bound)
	for range 20 {
		outs, err := brine.Map(t.Context(), pool, sumPair.With(brine.Limits{Chunk: 1}), [][2]*int64s{{first, second}, {second, first}, {first, first}, {nil, second}})
		if err != nil || outs[0] != outs[1] || outs[0] != sum(first)+sum(second) {
			t.Fatal(outs, err)
		}
		if _, err := brine.Map(t.Context(), pool, once.With(brine.Limits{Chunk: 1}), numbers(8)); err != nil {
			t.Fatal(err)
		}
	}
	const size = 8 * n
	about := func(what string, tally brine.Tally, least, most int64) {
		t.Helper()
		if tally.Count < least || tally.Count > most || tally.Bytes < size*tally.Count || tally.Bytes > (size+8192)*tally.Count ||
			tally.Count > 0 && (tally.Largest < size || tally.Largest > size+8192) {
			t.Errorf("%s: %+v, want %d to %d of %d bytes", what, tally, least, most, size)
		}
	}
	check := func(when string) {
		t.Helper()
		s := pool.Stats()
		kind, pairs, bounds := functionStats(t, s, ledgerKind.Name()), functionStats(t, s, sumPair.Name()), functionStats(t, s, once.Name())
		about(when+": config published", kind.Published, 1, 1)
		about(when+": argument published", pairs.Published, 2, 2)
		about(when+": bound published", bounds.Published, 1, 1)
		about(when+": config mapped", kind.Mapped, 2, 2)
		about(when+": argument mapped", pairs.Mapped, 2, 4)
		about(when+": bound mapped", bounds.Mapped, 1, 2)
		for _, f := range s.Functions {
			for _, tally := range []brine.Tally{f.ConfigEncode, f.ConfigDecode, f.BoundEncode, f.BoundDecode, f.ArgumentEncode, f.ArgumentDecode, f.ResultEncode, f.ResultDecode} {
				if tally.Largest > 100 {
					t.Errorf("%s: %s: shared data was sent: %+v", when, f.Name, tally)
				}
			}
		}
		mapped := int64(0)
		for i, p := range s.Processes {
			if i == 0 {
				about(when+": parent", p.Shared, 4, 4)
			} else {
				about(when+": worker", p.Shared, 1, 4)
				mapped += p.Shared.Count
			}
			if p.Encode.Bytes > 10_000 || p.Decode.Bytes > 10_000 {
				t.Errorf("%s: %s sent %d bytes and received %d", when, p.Name, p.Encode.Bytes, p.Decode.Bytes)
			}
		}
		if want := kind.Mapped.Count + pairs.Mapped.Count + bounds.Mapped.Count; mapped != want {
			t.Errorf("%s: workers mapped %d, by functions %d", when, mapped, want)
		}
		if len(s.Repeats) != 0 {
			t.Errorf("%s: shared data is pointed out as repeated: %+v", when, s.Repeats)
		}
	}
	check("open")
	var report strings.Builder
	if err := pool.Report(&report); err != nil {
		t.Error(err)
	}
	t.Log("\n" + report.String())
	_, table, ok := strings.Cut(report.String(), "shared memory")
	if !ok || !strings.Contains(table, "mapped") || !strings.Contains(table, sumPair.Name()) || !strings.Contains(table, "1.6 MB") || !strings.Contains(table, "3.2 MB") {
		t.Errorf("the report does not have shared memory apart:\n%s", report.String())
	}
	for i, line := range strings.Split(report.String(), "\n") {
		if len([]rune(line)) > 160 || strings.TrimRight(line, " ") != line {
			t.Errorf("line %d is %d wide, or has spaces at its end", i, len(line))
		}
	}
	pids := workerPIDs(pool.Stats())
	pool.Close()
	check("closed")
	// A worker that comes later maps it again; what has nothing shared has no table.
	other := open(t, ledgerKind, config, &brine.Options{Workers: 1, Stderr: io.Discard})
	_, _ = brine.Call(t.Context(), other, killsIt, deed{How: "kill"})
	if _, err := brine.Call(t.Context(), other, killsIt, deed{}); err != nil {
		t.Error(err)
	}
	s := other.Stats()
	about("after a death", functionStats(t, s, ledgerKind.Name()).Mapped, 2, 2)
	about("after a death", functionStats(t, s, ledgerKind.Name()).Published, 1, 1)
	plain := open(t, lone, 0, &brine.Options{Workers: 1})
	report.Reset()
	if err := plain.Report(&report); err != nil || strings.Contains(report.String(), "shared memory") {
		t.Errorf("nothing is shared: %v\n%s", err, report.String())
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err == nil && alive(pid) {
			t.Errorf("%d is still there", pid)
		}
	}
}
