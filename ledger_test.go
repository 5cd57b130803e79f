package brine_test

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

func functionStats(t *testing.T, s brine.Stats, name string) brine.FunctionStats {
	t.Helper()
	for _, f := range s.Functions {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no function %q in %+v", name, s.Functions)
	return brine.FunctionStats{}
}

// The account balances: what is encoded on one side is decoded on the other.
func TestLedgerBalances(t *testing.T) {
	t.Parallel()
	for name, codec := range map[string]brine.Codec{"compiled": nil, "gob": brine.Gob} {
		pool := open(t, counters, 100, &brine.Options{Workers: 2, Codec: codec})
		if _, err := brine.Map(t.Context(), pool, add, numbers(1000)); err != nil {
			t.Fatal(err)
		}
		bound := brine.Bind(weigh, scale{1, 2})
		if _, err := brine.Map(t.Context(), pool, bound, numbers(100)); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			_, _ = brine.Call(t.Context(), pool, fail, 1) // Failed counts it
		}
		for _, when := range []string{"open", "closed"} {
			s := pool.Stats()
			if s.Workers != 2 || s.Started != 2 || s.Deaths != 0 || s.Done != 1100 || s.Failed != 10 || s.Retried != 0 || s.Kind != counters.Name() {
				t.Errorf("%s, %s: %+v", name, when, s)
			}
			f := functionStats(t, s, add.Name())
			for what, tally := range map[string]brine.Tally{
				"argument encode": f.ArgumentEncode, "argument decode": f.ArgumentDecode,
				"result encode": f.ResultEncode, "result decode": f.ResultDecode,
			} {
				if tally.Count != 1000 || tally.Bytes < 1000 || tally.Largest < 1 || tally.Largest > tally.Bytes {
					t.Errorf("%s, %s: %s: %+v", name, when, what, tally)
				}
			}
			if f.ArgumentEncode.Bytes != f.ArgumentDecode.Bytes || f.ResultEncode.Bytes != f.ResultDecode.Bytes {
				t.Logf("%+v", f.ArgumentEncode)
				t.Logf("%+v", f.ArgumentDecode)
				t.Logf("%+v", f.ResultEncode)
				t.Logf("%+v", f.ResultDecode)
				t.Errorf("%s, %s: what one side wrote, the other did not read: %+v", name, when, f)
			}
			f = functionStats(t, s, weigh0().Name())
			if f.BoundEncode.Count != 1 || f.BoundDecode.Count < 1 || f.BoundDecode.Count > 2 {
				t.Errorf("%s, %s: bound arguments: %+v", name, when, f)
			}
			var encodes, decodes, tasks int64
			config := int64(0)
			for _, f := range s.Functions {
				encodes += f.ConfigEncode.Count + f.BoundEncode.Count + f.ArgumentEncode.Count + f.ResultEncode.Count
				decodes += f.ConfigDecode.Count + f.BoundDecode.Count + f.ArgumentDecode.Count + f.ResultDecode.Count
				config += f.ConfigDecode.Count
			}
			var pe, pd int64
			for _, p := range s.Processes {
				pe, pd, tasks = pe+p.Encode.Count, pd+p.Decode.Count, tasks+p.Tasks
			}
			if pe != encodes || pd != decodes || tasks != 1110 || config != 2 {
				t.Errorf("%s, %s: processes %d encodes, %d decodes, %d tasks; functions %d and %d, %d configs decoded", name, when, pe, pd, tasks, encodes, decodes, config)
			}
			if len(s.Processes) == 0 || s.Processes[0].Name != "parent" || s.Processes[0].PID != os.Getpid() {
				t.Errorf("%s, %s: the parent is not first: %+v", name, when, s.Processes)
			}
			pool.Close()
		}
	}
}

func weigh0() brine.Func[*counter, int, int] { return brine.Bind(weigh, scale{}) }

// Workers that crashed are in the account with what they had said, and bytes are about what crosses.
func TestLedgerOfTheDead(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 1, Stderr: io.Discard})
	in := [][]byte{make([]byte, 10_000), make([]byte, 100_000)}
	if _, err := brine.Map(t.Context(), pool, echoBytes, in); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, _ = brine.Call(t.Context(), pool, do, deed{How: "exit", N: 1}) // Deaths counts it
	}
	if n, err := brine.Call(t.Context(), pool, double, 1); n != 2 || err != nil {
		t.Error(n, err)
	}
	s := pool.Stats()
	if s.Deaths != 3 || s.Started != 4 || s.Failed != 3 || s.Done != 3 {
		t.Errorf("Deaths %d, Started %d, Failed %d, Done %d", s.Deaths, s.Started, s.Failed, s.Done)
	}
	f := functionStats(t, s, echoBytes.Name())
	for what, tally := range map[string]brine.Tally{"argument": f.ArgumentEncode, "result": f.ResultDecode} {
		if tally.Bytes < 110_000 || tally.Bytes > 110_100 || tally.Largest < 100_000 || tally.Largest > 100_050 || tally.Count != 2 {
			t.Errorf("%s: %+v", what, tally)
		}
	}
	if f.ArgumentDecode.Count != 2 || f.ResultEncode.Count != 2 {
		t.Errorf("what the dead worker did is lost: %+v", f)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	pool := open(t, counters, 100, &brine.Options{Workers: 2})
	if _, err := brine.Map(t.Context(), pool, add, numbers(1000)); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := pool.Report(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	t.Log("\n" + text)
	for _, word := range []string{"parent", "worker", "encode", "decode", "bytes", "average", "(*counter).Add"} {
		if !strings.Contains(strings.ToLower(text), strings.ToLower(word)) {
			t.Errorf("the report has no %q", word)
		}
	}
	for _, pid := range workerPIDs(pool.Stats()) {
		if !strings.Contains(text, strconv.Itoa(pid)) {
			t.Errorf("the report has no worker %d", pid)
		}
	}
	for i, line := range strings.Split(text, "\n") {
		if len([]rune(line)) > 160 || strings.TrimRight(line, " ") != line {
			t.Errorf("line %d is %d wide, or has spaces at its end", i, len(line))
		}
	}
	pool.Close()
	b.Reset()
	if err := pool.Report(&b); err != nil || b.Len() == 0 {
		t.Errorf("after Close: %d bytes, %v", b.Len(), err)
	}
}

// A large value that goes out again and again is pointed out, with advice; small or differing ones aren't.
func TestRepeats(t *testing.T) {
	t.Parallel()
	pool := open(t, brine.Stateless, struct{}{}, &brine.Options{Workers: 2})
	repeats := func() []brine.Repeat { return pool.Stats().Repeats }
	send := func(b []byte) {
		t.Helper()
		if _, err := brine.Call(t.Context(), pool, byteCount, b); err != nil {
			t.Fatal(err)
		}
	}
	small, large := make([]byte, 900_000), make([]byte, 1_500_000)
	for range 5 {
		send(small)
	}
	for i := range 5 {
		b := make([]byte, 1_500_000)
		b[len(b)/2+i] = 1 // differs in a single byte
		send(b)
	}
	if r := repeats(); len(r) != 0 {
		t.Fatalf("nothing was repeated: %+v", r)
	}
	for range 6 {
		send(large)
	}
	r := repeats()
	if len(r) != 1 || r[0].Count != 6 || r[0].Bytes < 1_500_000 || r[0].Bytes > 1_500_050 || r[0].Func != byteCount.Name() || r[0].Class != "argument" {
		t.Errorf("%+v, want one with count 6", r)
	}
	var b bytes.Buffer
	if err := pool.Report(&b); err != nil {
		t.Error(err)
	}
	text := strings.ToLower(b.String())
	if !strings.Contains(text, "state") || !strings.Contains(text, "bind") || !strings.Contains(text, "6") {
		t.Errorf("no advice in the report:\n%s", text)
	}
	within(t, time.Minute, "Map", func() {
		if _, err := brine.Map(t.Context(), pool, byteCount, [][]byte{large, large}); err != nil {
			t.Error(err)
		}
	})
	if r := repeats(); len(r) != 1 || r[0].Count < 8 { // a chunk that was recalled is sent again
		t.Errorf("%+v, want count 8", r)
	}
}

var byteCount = brine.PlainNamed("count bytes", countBytes)
