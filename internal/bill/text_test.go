package bill

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the files that the output is compared with")

// converter is the bill of a bound method that drags its table along, as multiprocessing's pool pickles it.
func converter() Bill {
	const second, table = 1_000_000_000, 26_931_200
	tally := func(n, bytes, ns, largest int64, path string) Tally {
		return Tally{Count: n, Bytes: bytes, Time: ns, Max: largest, MaxPath: path}
	}
	b := Bill{
		Name: "example.com/convert.Converter", Language: "python", Elapsed: 40 * second,
		Counts: Counts{Done: 1_000_000, Workers: 2, Started: 3, Deaths: 1, Retried: 1},
		Lines: []Line{
			{
				Function: "Converter.convert", Class: Argument, Site: "convert.py:12",
				Encode: tally(16, 2_900_000, second/10, 181_250, ""), Decode: tally(16, 2_900_000, second/20, 181_250, ""),
			},
			{
				Function: "Converter.convert", Class: Function, Site: "convert.py:12",
				Encode: tally(16, 16*table, 30*second, table, ".__self__.cache"), Decode: tally(16, 16*table, 9*second, table, ".__self__.cache"),
			},
			{Function: "Converter.convert", Class: Shared, Encode: tally(1, 4096, 0, 4096, ""), Decode: tally(2, 8192, 0, 4096, "")},
		},
		Processes: []Process{
			{Name: "parent", PID: 100, Encode: tally(32, 16*table+2_900_000, 30*second+second/10, table, "")},
			{
				Name: "worker", PID: 101, Tasks: 500_000, Decode: tally(16, 8*table, 5*second, table, ""),
				Starting: second / 100, Initialising: second / 1000, Running: 2 * second, Working: 7 * second, Waiting: 30 * second, PeakMemory: 300 << 20,
			},
			{Name: "earlier workers", Ended: true, Decode: tally(16, 8*table, 4*second, table, "")},
		},
		Parts: []Part{{
			Name: "whole", Function: "Converter.convert", Class: Function, Site: "convert.py:12", Type: "method", Bytes: table, Own: 200,
			Parts: []Part{
				{Name: ".__self__", Type: "Converter", Bytes: table - 200, Own: 0, Parts: []Part{{Name: ".cache", Type: "dict", Entries: 1 << 20, Bytes: table - 200}}},
			},
		}},
		Changes: []Change{{Function: "Converter.convert", Class: Function, Site: "convert.py:12", Path: ".__self__.seen", Count: 16, Versions: 3, Text: "{} and became {1: True}"}},
		Instead: "brine run would have sent the function once.",
	}
	return b
}

// TestText compares a whole bill with a file; -rewrite writes it.
func TestText(t *testing.T) {
	t.Parallel()
	b := converter()
	b.Finish()
	var got strings.Builder
	if err := WriteText(&got, &Document{Version: Version, Bills: []Bill{b, {Name: "nothing", Language: "go"}}}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "converter.txt")
	if *rewrite {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the text differs from %s:\n%s", file, got.String())
	}
}

// TestJSON: a document survives, and to finish it twice changes nothing.
func TestJSON(t *testing.T) {
	t.Parallel()
	d := Document{Version: Version, Program: []string{"a<b"}, Source: "trace", Bills: []Bill{converter()}}
	d.Bills[0].Finish()
	var first, second bytes.Buffer
	if err := WriteJSON(&first, &d); err != nil {
		t.Fatal(err)
	}
	var again Document
	if err := json.Unmarshal(first.Bytes(), &again); err != nil {
		t.Fatal(err)
	}
	again.Bills[0].Finish()
	if err := WriteJSON(&second, &again); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() {
		t.Errorf("it was\n%s\nand is\n%s", first.String(), second.String())
	}
	if got, want := d.Bills[0].Parts[0].Bytes, d.Bills[0].Lines[1].Encode.Bytes; got != want {
		t.Errorf("the parts of the function stand for %d bytes, of %d", got, want)
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	const ms = 1_000_000
	for _, c := range []struct {
		name string
		bill Bill
		want string // a part of a sentence; empty: nothing stands out
	}{
		{"nothing", Bill{}, ""},
		{"a small function", Bill{Language: "python", Lines: []Line{{Class: Function, Encode: Tally{Count: 100, Bytes: 100_000}}}}, ""},
		{
			"a large function",
			Bill{Language: "python", Lines: []Line{{Function: "f", Class: Function, Encode: Tally{Count: 3, Bytes: 30 << 20, MaxPath: ".a"}}}},
			"f was pickled 3 times with what hangs on it, 31.5 MB, for the most part .a: 100.0 % of all",
		},
		{
			"a large function among larger arguments",
			Bill{Language: "python", Lines: []Line{{Class: Function, Encode: Tally{Count: 1, Bytes: 2 << 20}}, {Class: Argument, Encode: Tally{Count: 1, Bytes: 1 << 30}}}},
			"",
		},
		{"bound arguments in Go", Bill{Language: "go", Lines: []Line{{Class: Function, Encode: Tally{Count: 3, Bytes: 30 << 20}}}}, ""},
		{
			"a repeat",
			Bill{Language: "python", Repeats: []Repeat{{Function: "f", Class: Argument, Path: "[1]", Bytes: 1 << 20, Count: 9, Site: "a.py:3"}}},
			"The same [1] in the argument of f at a.py:3 (1.0 MB) went out 9 times: 9.4 MB. Give it to the workers once",
		},
		{"a repeat with a remedy", Bill{Repeats: []Repeat{{Bytes: 1 << 20, Count: 9, Remedy: "Do this."}}}, "Do this."},
		{
			"initial data",
			Bill{Language: "python", Lines: []Line{{Class: Initializer, Decode: Tally{Count: 8, Bytes: 80 << 20, Max: 10 << 20, Time: 900 * ms}}}},
			"Each of 8 workers loaded the initial data, 10.5 MB, which took 900 ms in all.",
		},
		{
			"large results",
			Bill{Lines: []Line{{Function: "f", Class: Result, Encode: Tally{Count: 8, Bytes: 1 << 30, Time: 900 * ms}}}},
			"The results of f are 100.0 % of all bytes, 1.07 GB, and took 900 ms",
		},
		{
			"tiny tasks",
			Bill{Processes: []Process{{}, {Tasks: 1_000_000, Running: 900 * ms}}, Lines: []Line{{Class: Argument, Encode: Tally{Count: 1_000_000, Time: 5000 * ms}}}},
			"A task ran for 900 ns on average and cost 5 µs to encode and decode",
		},
		{
			"tasks worth their bytes", Bill{Processes: []Process{{}, {Tasks: 1_000_000, Running: 90_000 * ms}}, Lines: []Line{{Class: Argument, Encode: Tally{Count: 1_000_000, Time: 5000 * ms}}}}, "",
		},
		{"slow starts", Bill{Processes: []Process{{}, {PID: 2, Starting: 100 * ms, Initialising: 900 * ms, Waiting: 5 * ms}}}, "A worker took 1 s on average to start and initialise"},
		{"a long life", Bill{Processes: []Process{{}, {PID: 2, Starting: 100 * ms, Initialising: 900 * ms, Working: 5000 * ms}}}, ""},
		{
			"a busy parent",
			Bill{Language: "python", Elapsed: 1000 * ms, Processes: []Process{{Encode: Tally{Time: 600 * ms}}, {Waiting: 800 * ms, Working: 100 * ms}}},
			"while the parent spent 600 ms of 1 s encoding and decoding",
		},
		{"an idle pool", Bill{Elapsed: 1000 * ms, Processes: []Process{{}, {Waiting: 800 * ms, Working: 100 * ms}}}, ""},
		{"deaths", Bill{Counts: Counts{Deaths: 2, Retried: 1}}, "2 workers died: 1 task was run again; "},
		{"a change", Bill{Changes: []Change{{Function: "f", Class: Function, Path: ".a", Versions: 2, Count: 5}}}, "The .a in the function of f changed between two sendings: there were 2 versions of it in 5 sendings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.bill.Advise()
			all := strings.Join(c.bill.Advice, "\n")
			if quiet := strings.HasPrefix(all, "Nothing stands out: "); quiet != (c.want == "") || !strings.Contains(all, c.want) {
				t.Errorf("it says %q, want %q", all, c.want)
			}
		})
	}
}

func TestHeaviest(t *testing.T) {
	t.Parallel()
	leaf := func(name string, bytes int64) Part { return Part{Name: name, Bytes: bytes} }
	for _, c := range []struct {
		part Part
		want string
	}{
		{leaf("x", 9), ""},
		{Part{Bytes: 10, Parts: []Part{leaf(".a", 9), leaf(".b", 1)}}, ".a"},
		{Part{Bytes: 10, Parts: []Part{leaf(".a", 5), leaf(".b", 5)}}, ""},
		{Part{Bytes: 10, Parts: []Part{{Name: "9 others", Count: 9, Bytes: 9}}}, ""},
		{Part{Bytes: 10, Parts: []Part{{Name: ".a", Bytes: 9, Parts: []Part{leaf("[1]", 8)}}}}, ".a[1]"},
	} {
		if got := c.part.Heaviest(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.part, got, c.want)
		}
	}
}

// TestScaled: the parts of a part that stands for more still add up.
func TestScaled(t *testing.T) {
	t.Parallel()
	p := Part{Bytes: 100, Own: 10, Parts: []Part{{Bytes: 60, Own: 1, Parts: []Part{{Bytes: 59}}}, {Bytes: 30}}}
	for _, bytes := range []int64{0, 1, 7, 100, 101, 12345, 1 << 50} {
		got := p.scaled(bytes)
		if got.Bytes != bytes {
			t.Errorf("scaled to %d it has %d", bytes, got.Bytes)
		}
		var check func(Part)
		check = func(p Part) {
			sum := p.Own
			for _, q := range p.Parts {
				sum += q.Bytes
				check(q)
			}
			if len(p.Parts) > 0 && sum != p.Bytes || p.Own < 0 {
				t.Errorf("scaled to %d, a part of %d has %d in its parts: %+v", bytes, p.Bytes, sum, p)
			}
		}
		check(got)
	}
}
