package pickle

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/brinepool/brine/internal/bill"
)

// TestErrors has streams that are no pickles.
func TestErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		stream  string
		buffers []int64
		want    string
	}{
		"empty":                 {"", nil, "ends in the middle"},
		"no end":                {"\x80\x04N", nil, "at byte 3 of 3: the pickle ends in the middle"},
		"nothing at the end":    {"\x80\x04.", nil, "the end: the stack is empty"},
		"unknown opcode":        {"\xfe.", nil, "0xfe is no opcode"},
		"future protocol":       {"\x80\x06N.", nil, "protocol 6"},
		"text without end":      {"X\xff\xff\xff\xffabc", nil, "ends in the middle"},
		"huge bytes":            {"\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc.", nil, "ends in the middle"},
		"negative number":       {"\x8b\xff\xff\xff\xff.", nil, "a number of -1 bytes"},
		"line without end":      {"Iabc", nil, "ends in the middle"},
		"no number":             {"Iabc\n.", nil, `the number "abc"`},
		"empty number":          {"I\n.", nil, `the number ""`},
		"no float":              {"F1.x\n.", nil, `the float "1.x"`},
		"no quotes":             {"Sabc\n.", nil, "without quotes"},
		"one quote":             {"S'\n.", nil, "without quotes"},
		"unknown memo":          {"h\x05.", nil, "memoized as number 5"},
		"negative memo":         {"Np-1\n.", nil, `the memo number "-1"`},
		"memo of nothing":       {"\x94.", nil, "the stack is empty"},
		"no mark":               {"]Ne.", nil, "there is no mark"},
		"append to nothing":     {"(e.", nil, "the stack is empty"},
		"append below a mark":   {"](Na.", nil, "the stack is empty"},
		"append to a number":    {"K\x01Na.", nil, "elements for a int"},
		"items for a list":      {"]NNs.", nil, "elements for a list"},
		"half an item":          {"}(Nu.", nil, "a key without a value"},
		"tuple of too few":      {"N\x86.", nil, "the stack is empty"},
		"pop of nothing":        {"0.", nil, "the stack is empty"},
		"name of no strings":    {"NN\x93.", nil, "a name that is no string"},
		"state for a number":    {"K\x01}b.", nil, "a state for a int"},
		"object of nothing":     {"(o.", nil, "the stack is empty"},
		"buffer that isn't":     {"\x97.", nil, "more than the 0 out-of-band buffers"},
		"buffer that is unused": {"N.", []int64{5}, "refers to 0 out-of-band buffers of 1"},
		"negative buffer":       {"\x97.", []int64{-1}, "buffer of -1 bytes"},
		"open values":           {strings.Repeat("]Na(", 1<<20) + ".", nil, "too many values that are open at once"},
		"deep stack":            {strings.Repeat("(", maxMarks+1) + ".", nil, "marks"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := Parse([]byte(test.stream), test.buffers)
			if err == nil {
				t.Fatalf("it is a %s", v.Type())
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v; want %s", err, test.want)
			}
		})
	}
}

// TestUnsendable reads marks in the place of what can't be sent, which don't count.
func TestUnsendable(t *testing.T) {
	t.Parallel()
	mark := func(kind, reason string) string {
		text := Marker + kind + "\x00" + reason
		return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(text)))) + text + "Q"
	}
	lock := mark("_thread.lock", "cannot pickle '_thread.lock' object")
	deep := strings.Repeat("]", 500) + lock + strings.Repeat("a", 500)
	many := "](" + strings.Repeat("K\x01", 20_000) + lock + strings.Repeat("U\x03abc", 20_000) + "e"
	for name, test := range map[string]struct {
		value string
		path  string
	}{
		"element": {"(N" + lock + "Nt", "[1]"},
		"deep":    {deep, strings.Repeat("[0]", 500)},
		"of many": {many, "[20000]"},
		"itself":  {lock, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream := []byte("\x80\x02" + test.value + ".")
			v, err := Parse(stream, nil)
			if err != nil {
				t.Fatal(err)
			}
			if v.Omitted() != int64(len(lock)) || v.Bytes() != int64(len(stream)-len(lock)) {
				t.Errorf("of %d bytes, %d count and %d don't; the mark has %d", len(stream), v.Bytes(), v.Omitted(), len(lock))
			}
			at := v.At(test.path)
			if at == nil || at.Kind() != Unsendable || at.Type() != "_thread.lock" {
				t.Fatalf("at %s is %v", test.path, at)
			}
			p := v.Part(Options{})
			partAddsUp(t, name, p)
			for len(p.Parts) > 0 && p.Error == "" {
				for _, q := range p.Parts {
					if p = q; leads(q.Parts) || q.Error != "" {
						break
					}
				}
			}
			if p.Error != "cannot pickle '_thread.lock' object" {
				t.Errorf("the tree has no error: its last part is %+v", p)
			}
		})
	}
}

// TestSelf reads an object whose type is that of its own argument: a later memo entry has taken an earlier one's number.
func TestSelf(t *testing.T) {
	t.Parallel()
	self := "cbuiltins\ngetattr\n"
	first := "](}Nq\x00K\x01s" // the key of a dictionary, which is no part of it
	for name, stream := range map[string]string{
		"method":   first + self + "h\x00U\x01x\x86Rq\x00e.",
		"callable": first + "h\x00)Rq\x00e.",
		"both":     first + self + "h\x00h\x00\x86Rq\x00h\x00)Rq\x00e.",
	} {
		v, err := Parse([]byte(stream), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		partAddsUp(t, name, v.Part(Options{Depth: 50}))
	}
}

// TestPersistent reads ids of other picklers, which count.
func TestPersistent(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{"Pabc\n.", "U\x03abcQ.", "(K\x01tQ."} {
		v, err := Parse([]byte(stream), nil)
		if err != nil || v.Kind() != Persistent || v.Bytes() != int64(len(stream)) || v.Omitted() != 0 {
			t.Errorf("%q is %v, %v", stream, v, err)
		}
	}
}

// TestMemory reads streams that ask for much, and shows that what they get is bounded by a multiple of their size.
func TestMemory(t *testing.T) {
	const size = 2 << 20
	repeat := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for name, stream := range map[string]string{
		"memo":           "N" + repeat("\x94") + ".",
		"numbers":        "N" + repeat("r\x00\x00\x00\x00") + ".",
		"nothing":        repeat("N") + ".",
		"tuple":          "(" + repeat("N") + "t.",
		"nested":         repeat("]") + repeat("a") + ".",
		"lists":          "(" + repeat("]Na") + "t.",
		"more lists":     "(" + strings.Repeat("]Na", size) + "t.",
		"lists of lists": "](" + repeat("](](Neee")[:size/8*8-3] + "e.",
		"objects":        "cm\nn\n\x94(" + repeat("h\x00)R}b") + "t.",
		"duplicates":     "N" + repeat("2") + ".",
		"pops":           "N" + repeat("N0") + ".",
		"deep tuples":    ")" + repeat("\x85") + ".",
		"names":          repeat("cm\nn\n0") + "N.",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			v, err := Parse([]byte(stream), nil)
			runtime.ReadMemStats(&after)
			if err == nil && v.Bytes() != int64(len(stream)) {
				t.Errorf("%d bytes of %d", v.Bytes(), len(stream))
			}
			if err == nil {
				addsUpAlongTheFirst(t, v)
				partAddsUp(t, name, v.Part(Options{Depth: 100}))
			}
			runtime.GC()
			if used := after.Sys - before.Sys; after.Sys > before.Sys && used > 300*size {
				t.Errorf("%d MB for %d MB: %v", used>>20, len(stream)>>20, err)
			}
		})
	}
}

func addsUpAlongTheFirst(t *testing.T, v *Value) {
	for range 2000 {
		if v == nil {
			return
		}
		if v.Own() < 0 {
			t.Fatalf("%d of %d bytes are its own", v.Own(), v.Bytes())
		}
		v = v.Child(0)
	}
}

// FuzzParse shows that no stream makes it panic or hang, and that the figures of what it accepts add up.
func FuzzParse(f *testing.F) {
	f.Add([]byte("\x80\x04]\x94(K\x01\x85\x94h\x01e."), int64(3))
	f.Add([]byte("(S'a'\np1\nI01\nd."), int64(0))
	f.Add([]byte("\x80\x05](\x97\x98e."), int64(1<<20))
	f.Fuzz(func(t *testing.T, stream []byte, buffer int64) {
		buffers := make([]int64, min(bytes.Count(stream, []byte{opNextBuffer}), 100))
		for i := range buffers {
			buffers[i] = buffer
		}
		var v *Value
		for n := len(buffers); n >= 0; n-- { // some of these bytes may be in texts
			var err error
			if v, err = Parse(stream, buffers[:n]); err == nil {
				buffers = buffers[:n]
				break
			}
			if v, err := Parse(stream, buffers[:n]); v != nil || err == nil {
				t.Fatal("it errs, and then it doesn't")
			}
		}
		if v == nil {
			return
		}
		want := v.Consumed() - v.Omitted()
		for range buffers {
			want += buffer
		}
		if v.Bytes() != want {
			t.Fatalf("%d bytes of %d", v.Bytes(), want)
		}
		if buffer < 0 || buffer > 1<<40 {
			return // sums may overflow
		}
		partAddsUp(t, "", v.Part(Options{}))
		partAddsUp(t, "", v.Part(Options{Depth: 50, Breadth: 5, Least: -1}))
		_ = v.At("['a'].b[0]")
		if again, err := Parse(stream, buffers); err != nil || again.Sum() != v.Sum() {
			t.Fatalf("the same stream has another sum: %v", err)
		}
	})
}

// leads tells whether in one of the parts is what can't be sent.
func leads(parts []bill.Part) bool {
	for _, p := range parts {
		if p.Error != "" || leads(p.Parts) {
			return true
		}
	}
	return false
}
