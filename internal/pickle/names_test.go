package pickle

import (
	"strings"
	"testing"
)

// TestNames looks for parts by their paths: what they are called, and what is said of them.
func TestNames(t *testing.T) {
	t.Parallel()
	found := make(map[string]*Value)
	for _, w := range values(t, "table", 0) {
		found[w.Name] = w.parse(t)
	}
	_, withNumpy := found["array, protocol 5"]
	_, withCloud := found["closure"]
	for _, test := range []struct {
		pickle, path, kind, note string
		entries                  int64
	}{
		{"nested, protocol 4", "", "dict", "", 1},
		{"nested, protocol 4", "['a']['b']['c'][0][1][1]['d'][0]", "int", "", 0},
		{"keys, protocol 4", "['s']", "str", "", 3},
		{"keys, protocol 4", "[b'b']", "str", "", 5},
		{"keys, protocol 4", "[(1, 'x')]", "str", "", 5},
		{"keys, protocol 4", "[None]", "str", "", 4},
		{"keys, protocol 4", "[1.5]", "str", "", 5},
		{"keys, protocol 4", "[<frozenset>]", "str", "", 3},
		{"texts, protocol 2", "[1]", "str", "", 13},
		{"texts, protocol 0", "[2]", "str", "", 100},
		{"texts, protocol 5", "[5]", "bytes", "", 300},
		{"texts, protocol 2", "[5]", "bytes", "", 0},
		{"containers, protocol 4", "[10]", "set", "", 2},
		{"containers, protocol 4", "[10] element 2", "int", "", 0},
		{"plain, protocol 5", "", "__main__.Plain", "", 0},
		{"plain, protocol 5", ".z.deep", "str", "", 5},
		{"plain, protocol 0", ".z.deep", "str", "", 5},
		{"slots, protocol 2", ".b", "list", "", 2},
		{"both, protocol 2", ".c", "str", "", 9},
		{"both, protocol 2", ".b[0]", "int", "", 0},
		{"reduced, protocol 2", "", "__main__.Plain", "", 0},
		{"reduced, protocol 2", " state[1]", "str", "", 5},
		{"listed, protocol 2", "", "__main__.Listed", "", 3},
		{"listed, protocol 2", "[2]", "list", "", 1},
		{"keyed, protocol 2", "['b']", "list", "", 1},
		{"ordered, protocol 5", "['a']", "int", "", 0},
		{"deque, protocol 5", "[2]", "int", "", 0},
		{"pair, protocol 5", " argument 1", "str", "", 3},
		{"new, protocol 5", " argument three", "list", "", 1},
		{"date, protocol 5", "", "datetime.datetime", "", 0},
		{"fault, protocol 5", " argument 0", "str", "", 3},
		{"complex, protocol 5", "[3]", "class type", "by name", 0},
		{"complex, protocol 5", "[4]", "function len", "by name", 0},
		{"complex, protocol 5", "[5]", "function __main__.function", "by name", 0},
		{"complex, protocol 5", "[6]", "class __main__.Plain", "by name", 0},
		{"partial, protocol 5", "", "functools.partial", "", 0},
		{"partial, protocol 5", ".func", "function __main__.function", "by name", 0},
		{"partial, protocol 5", ".keywords['key']", "list", "", 1},
		{"partial, protocol 5", ".args", "tuple", "", 1},
		{"method, protocol 5", "", "bound method Plain.method", "", 0},
		{"method, protocol 5", ".__self__", "__main__.Plain", "the bound object, sent with its method", 0},
		{"method, protocol 5", ".__self__.cache['k']", "str", "", 100},
		{"class method, protocol 5", "", "__main__.Plain.of", "by name", 0},
		{"builtin method, protocol 5", "", "bound method list.append", "", 0},
		{"shared, protocol 5", "['second'][0]", "str", "counted at ['first'][0]", 0},
		{"shared, protocol 5", "['third']", "list", "counted at ['first'][1]", 0},
		{"shared, protocol 0", "['third']", "list", "counted at ['first'][1]", 0},
		{"cycles, protocol 5", "['ring'][0]", "list", "counted at ['ring']", 0},
		{"cycles, protocol 5", "['me'].me", "__main__.Plain", "counted at ['me']", 0},
		{"cycles, protocol 5", "['table']['self']", "dict", "counted at ['table']", 0},
		{"cycles, protocol 5", "['loop']", "tuple", "counted at ['loop'][0][0]", 0},
		{"array, protocol 4", "['small']", "numpy.ndarray", "f8, 2 × 5", 10},
		{"array, protocol 4", "['small'].data", "bytes", "", 80},
		{"array, out of band", "['large']", "numpy.ndarray", "", 5000},
		{"array, out of band", "['large'].data", "buffer", "out of band", 0},
		{"closure", "", "function __main__.closure.<locals>.convert", "by value", 0},
		{"closure", " variable cache", "dict", "closure variable", 1},
		{"closure", " variable n", "int", "closure variable", 0},
		{"closure", " global helper", "dict", "global variable that it uses", 1},
		{"closure", ".__code__", "code", "", 0},
		{"by value", "", "__main__.ByValue", "", 0},
		{"by value", " class", "class __main__.ByValue", "which can't be imported; by value", 0},
		{"by value", " class.run", "function __main__.ByValue.run", "by value", 0},
		{"by value", ".attribute", "list", "", 60},
		{"method by value", "[1]", "bound method ByValue.run", "", 0},
		{"method by value", "[1].__self__.attribute", "list", "", 60},
		{"pair by value", "", "__main__.Pair", "", 0},
	} {
		if strings.HasPrefix(test.pickle, "array") && !withNumpy || found[test.pickle] == nil && !withCloud {
			continue
		}
		v := found[test.pickle].At(test.path)
		if v == nil {
			t.Errorf("%s has no %s: there are %q", test.pickle, test.path, children(found[test.pickle]))
			continue
		}
		if v.Type() != test.kind || v.Note() != test.note || v.Entries() != test.entries {
			t.Errorf("%s%s is a %s (%s) with %d entries, want %s (%s) with %d",
				test.pickle, test.path, v.Type(), v.Note(), v.Entries(), test.kind, test.note, test.entries)
		}
	}
}

// TestKeys shows that a value's bytes are with those of its key.
func TestKeys(t *testing.T) {
	t.Parallel()
	v, err := Parse([]byte("}U\x05abcdeU\x03xyzs."), nil)
	if err != nil {
		t.Fatal(err)
	}
	part := v.Child(0)
	if part.Name() != "['abcde']" || part.Bytes() != 12 || part.Own() != 12 || v.Own() != 3 {
		t.Errorf("%s has %d bytes, %d of its own; the whole has %d of its own", part.Name(), part.Bytes(), part.Own(), v.Own())
	}
}

func children(v *Value) []string {
	var names []string
	for i := range v.Len() {
		names = append(names, v.Child(i).Name())
	}
	return names
}

// TestTarget follows references.
func TestTarget(t *testing.T) {
	t.Parallel()
	for _, w := range values(t, "table", 0) {
		if w.Name != "shared, protocol 5" {
			continue
		}
		v := w.parse(t)
		third, first := v.At("['third']"), v.At("['first'][1]")
		if target := third.Target(); target == nil || target.Len() != 30 || target.Bytes() != first.Bytes() {
			t.Errorf("the target of a reference is %v", target)
		}
		if third.Sum() != first.Sum() || third.Bytes() >= first.Bytes() {
			t.Errorf("a reference of %d bytes and sum %x, to %d bytes and sum %x", third.Bytes(), third.Sum(), first.Bytes(), first.Sum())
		}
		if first.Target() != first {
			t.Error("what is no reference is not its own target")
		}
		return
	}
	t.Fatal("there is no such pickle")
}

// TestNumbers reads integers in every form.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, w := range values(t, "table", 0) {
		if !strings.HasPrefix(w.Name, "scalars") {
			continue
		}
		v := w.parse(t)
		for i, want := range []any{nil, 1, 0, 0, 1, -1, 255, 256, 65535, 65536, -(1 << 31), 1 << 31, nil, nil, nil, nil} {
			got, ok := v.Child(i).Int()
			if n, isInt := want.(int); ok != isInt || int64(n) != got && isInt {
				t.Errorf("%s: element %d is %d, %v: want %v", w.Name, i, got, ok, want)
			}
		}
	}
}
