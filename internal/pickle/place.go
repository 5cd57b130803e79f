package pickle

import "strings"

// reference says where what is referred to is counted.
func (t *tree) reference(it *item) string {
	if off, kind := t.resolve(it); kind == Global || kind == Ref || off < 0 {
		return "a name that was sent before"
	}
	path, found := t.locate(it.memo)
	switch {
	case found != nil && path == "":
		return "refers to the whole"
	case found != nil:
		return "counted at " + path
	case path == "":
		return "counted before"
	}
	return "counted in " + path
}

// maxLooked bounds the time that all references of a pickle take together.
const maxLooked = 20_000_000

// locate finds what was memoized in the tree. If it isn't there for itself, but is in something that is, as the key of a
// dictionary is, it returns the path to that, and nil.
func (t *tree) locate(memo uint32) (string, *Value) {
	if memo == 0 {
		return "", nil
	}
	e, ok := t.memo.get(uint64(memo - 1))
	if !ok {
		return "", nil
	}
	v := &Value{t: t, c: child{it: t.root}}
	path := ""
	for range maxHeight * 2 {
		if v.c.it.memo == memo && v.c.it.kind != Ref {
			return path, v
		}
		next := -1
		kids := v.children()
		if t.looked += len(kids); t.looked > maxLooked {
			return "", nil
		}
		for i := range kids {
			it := &kids[i].it
			if it.memo == memo && it.kind != Ref {
				next = i
				break
			}
			if it.node != nil && it.off <= e.off && e.off < it.node.end {
				next = i
			}
		}
		if next < 0 {
			return path, nil
		}
		v = v.Child(next)
		path = Join(path, v.Name())
	}
	return path, nil
}

// Join writes a name behind the path to what it is in.
func Join(path, name string) string {
	if path == "" || name == "" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "[") {
		return path + name
	}
	return path + " " + name
}
