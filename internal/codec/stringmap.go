package codec

import "reflect"

// The commonest of large maps goes without reflection, which takes two thirds
// of the time (BenchmarkMap).

var stringType = reflect.TypeFor[string]()

// ofStrings reports whether the map, whatever its name, is a map[string]string.
func (n *node) ofStrings() bool { return n.key.typ == stringType && n.elem.typ == stringType }

func (e *encoder) stringEntries(m map[string]string) error {
	for k, v := range m {
		if err := e.string(k); err != nil {
			return within(err, "[key]")
		}
		if err := e.string(v); err != nil {
			return within(err, stringMark(k))
		}
	}
	return nil
}

func (d *decoder) stringEntries(m map[string]string, count int) error {
	for i := range count {
		var k, v string
		if err := d.string(&k); err != nil {
			return within(err, "[key]")
		}
		if err := d.string(&v); err != nil {
			return within(err, stringMark(k))
		}
		if m[k] = v; len(m) != i+1 {
			return within(errTwice, stringMark(k))
		}
	}
	return nil
}
