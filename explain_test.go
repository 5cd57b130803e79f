package brine_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/brinepool/brine"
)

type (
	phrasebook struct {
		Language string
		Words    map[string]string
		Sides    [4]float64
	}
	translator struct{}
	unsent     struct {
		N    int
		Done chan int
	}
)

func openTranslator(context.Context, phrasebook) (*translator, error) { return new(translator), nil }

func (*translator) translate(_ context.Context, s []string) (*string, error) { return &s[0], nil }

func (*translator) phrase(_ context.Context, d *phrasebook, word string) (string, error) {
	return d.Words[word], nil
}

func openNothing(context.Context, *unsent) (int, error) { return 0, nil }

func ping(int, context.Context, [3]int32) (struct{}, error) { return struct{}{}, nil }

var (
	translators = brine.Define(openTranslator)
	translate   = brine.Method(translators, (*translator).translate)
	phrase      = brine.MethodBound(translators, (*translator).phrase)
	unsendable  = brine.Define(openNothing)
	pings       = brine.Method(unsendable, ping)
)

// TestExplainRoles explains what crosses with kinds and functions.
func TestExplainRoles(t *testing.T) {
	t.Parallel()
	words := &phrasebook{Language: "de", Words: map[string]string{"word": "Wort"}}
	tests := []struct {
		name string
		v    any
		want string
	}{
		{"kind", translators, `
brine_test.openTranslator kind, 42 B (crosses by its name, once per worker)
  configuration brine_test.phrasebook, 42 B, 100.0 % (sent once per worker; at least)
    .Sides [4]float64, 32 B, 76.2 %
    .Words map[string]string, 6 B, 14.3 % (at least)
    .Language string, 4 B, 9.5 % (at least)
  state *brine_test.translator, 0 B, 0.0 % (never crosses)
`},
		{"method", translate, `
brine_test.(*translator).translate function, 8 B (crosses by its name, once per worker)
  argument []string, 4 B, 50.0 % (with each task; at least)
  result *string, 4 B, 50.0 % (with each task; at least)
  state *brine_test.translator, 0 B, 0.0 % (never crosses)
`},
		{"unbound", phrase, `
brine_test.(*translator).phrase function, 54 B (crosses by its name, once per worker)
  bound *brine_test.phrasebook, 46 B, 85.2 % (sent once per worker; at least, if not nil)
    .Sides [4]float64, 32 B, 59.3 %
    .Words map[string]string, 6 B, 11.1 % (at least)
    .Language string, 4 B, 7.4 % (at least)
  argument string, 4 B, 7.4 % (with each task; at least)
  result string, 4 B, 7.4 % (with each task; at least)
  state *brine_test.translator, 0 B, 0.0 % (never crosses)
`},
		{"bound", brine.Bind(phrase, words), `
brine_test.(*translator).phrase function, 89 B (crosses by its name, once per worker)
  bound *brine_test.phrasebook, 81 B, 91.0 % (sent once per worker)
    .Words map[string]string, 1 entry, 39 B, 43.8 %
      ["word"] string, 16 B, 18.0 %
    .Sides [4]float64, 32 B, 36.0 %
    .Language string, 6 B, 6.7 %
  argument string, 4 B, 4.5 % (with each task; at least)
  result string, 4 B, 4.5 % (with each task; at least)
  state *brine_test.translator, 0 B, 0.0 % (never crosses)
`},
		{"no result", pings, `
brine_test.ping function, 12 B (crosses by its name, once per worker)
  argument [3]int32, 12 B, 100.0 % (with each task)
  state int, 0 B, 0.0 % (never crosses)
`},
		{"number", 3, "\nint, 8 B\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := brine.Explain(test.v)
			if got := "\n" + e.String(); got != test.want {
				t.Errorf("got %swant %s", got, test.want)
			}
			addUp(t, e)
		})
	}
}

func addUp(t *testing.T, e brine.Explanation) {
	t.Helper()
	sum := e.Own
	for _, part := range e.Parts {
		addUp(t, part)
		sum += part.Bytes
	}
	if sum != e.Bytes {
		t.Errorf("%s: %d bytes, the parts have %d", e.Name, e.Bytes, sum)
	}
}

// TestExplainErrors marks what can't be sent.
func TestExplainErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		v    any
		says string
	}{
		{"nil", nil, "nil without a type"},
		{"nil kind", (*brine.Kind[int, int])(nil), "nothing to explain in a nil *brine.Kind[int,int]"},
		{"nil function", (*brine.Func[int, int, int])(nil), "nothing to explain in a nil *brine.Func[int,int,int]"},
		{"zero function", brine.Func[int, int, int]{}, "the zero Func can't be run"},
		{"zero bound function", brine.BoundFunc[int, int, int, int]{}, "the zero Func can't be run"},
		{"value", unsent{N: 1}, "brine_test.unsent.Done: chan cannot be sent"},
		{"configuration", unsendable, "brine_test.unsent.Done: chan cannot be sent"},
		{"closed", closedShared(t), "closed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := brine.Explain(test.v)
			if !strings.Contains(e.Error, test.says) {
				t.Errorf("marked %q, want one that says %q", e.Error, test.says)
			}
			if s := e.String(); !strings.Contains(s, test.says) {
				t.Errorf("%q doesn't appear in\n%s", test.says, s)
			}
			addUp(t, e)
		})
	}
}

func closedShared(t *testing.T) *brine.Shared[int] {
	t.Helper()
	s, err := brine.Share([]int{1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestExplainIsTrue compares explanations with what a pool sent.
func TestExplainIsTrue(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	config := phrasebook{Language: "en", Words: map[string]string{"a": "b", "c": strings.Repeat("d", 5000)}}
	pool, err := brine.Open(ctx, translators, config, &brine.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	bound := brine.Bind(phrase, &phrasebook{Words: map[string]string{"word": "Wort"}})
	result, err := brine.Call(ctx, pool, bound, "word")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]brine.FunctionStats)
	for _, f := range pool.Stats().Functions {
		want[f.Name[strings.LastIndexByte(f.Name, '.')+1:]] = f
	}
	configured, called := want["openTranslator"], want["phrase"]
	for _, test := range []struct {
		name string
		e    brine.Explanation
		sent brine.Tally
	}{
		{"configuration", brine.Explain(config), configured.ConfigEncode},
		{"argument", brine.Explain("word"), called.ArgumentEncode},
		{"result", brine.Explain(result), called.ResultEncode},
		{"bound", role(t, brine.Explain(bound), "bound"), called.BoundEncode},
	} {
		if test.sent.Count != 1 || test.e.Bytes != test.sent.Bytes {
			t.Errorf("%s: explained as %d bytes, sent %d times with %d\n%s", test.name, test.e.Bytes, test.sent.Count, test.sent.Bytes, test.e)
		}
	}
}

func role(t *testing.T, e brine.Explanation, name string) brine.Explanation {
	t.Helper()
	for _, part := range e.Parts {
		if part.Name == name {
			return part
		}
	}
	t.Fatalf("no %s in\n%s", name, e)
	return e
}

// TestExplainSharedData shows that shared data counts as what it is, and stays
// writable.
func TestExplainSharedData(t *testing.T) {
	t.Parallel()
	numbers, err := brine.NewShared[int64](1000)
	if err != nil {
		t.Fatal(err)
	}
	defer numbers.Close()
	frozen, err := brine.Freeze(map[string]int{"a": 1})
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	type data struct {
		Numbers, Again *brine.Shared[int64]
		Words          *brine.FrozenMap[string, int]
	}
	e := brine.Explain(data{numbers, numbers, frozen})
	numbers.Slice()[0] = 1 // a fault if explaining had sealed it
	words := role(t, e, ".Words").Mapped
	if e.Bytes != 24 || words == 0 || e.Mapped != 8000+words || role(t, e, ".Numbers").Mapped != 8000 || role(t, e, ".Again").Mapped != 0 {
		t.Errorf("got\n%s", e)
	}
}

// TestExplainJSON wants all that there is to say to come back from JSON.
func TestExplainJSON(t *testing.T) {
	t.Parallel()
	list := make([]any, 20)
	list[3], list[4] = errors.New, strings.Repeat("x", 500)
	shared, err := brine.Share([]int{1})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	e := brine.Explain(struct {
		Nil  *int
		List []any
		Data *brine.Shared[int]
	}{List: list, Data: shared})
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"name", "type", "entries", "count", "bytes", "own", "mapped", "note", "error", "parts"} {
		if !strings.Contains(string(b), `"`+key+`":`) {
			t.Errorf("no %q in %s", key, b)
		}
	}
	var back brine.Explanation
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, e) {
		t.Errorf("%v: got %v, want %v", err, back, e)
	}
}
