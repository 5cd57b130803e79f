package brine

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/brinepool/brine/internal/frozen"
)

// remedy says what to do about a value of type t that goes out again and again, as an argument or bound. plain says that
// the codec carries no shared data. It is a sentence or two.
func remedy(t reflect.Type, bound, plain bool) string {
	once := "worker state, by way of the kind's config, or bind it (MethodBound, Bind): then it crosses once per worker."
	if bound {
		once = "worker state, by way of the kind's config, or call Bind once and keep what it returns: then it crosses once per worker."
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == nil, plain:
		return "Make it " + once
	case t.Kind() == reflect.String, (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && pointerIn(t.Elem(), "x") == "":
		what := "a *brine.Shared[" + elementName(t) + "]"
		return fmt.Sprintf("Send %s, which Share makes of it: then all workers read one copy. Or make it %s", what, once)
	case t.Kind() == reflect.Map && frozen.Fits(t.Key(), t.Elem()):
		return fmt.Sprintf("Send a *brine.FrozenMap[%v, %v], which Freeze makes of it: then all workers read one copy, and decode nothing. Or make it %s", t.Key(), t.Elem(), once)
	default:
		return "Make it " + once
	}
}

func elementName(t reflect.Type) string {
	if t.Kind() == reflect.String {
		return "byte"
	}
	return t.Elem().String()
}

// typeAt returns the type of the part of a t at a path such as .Converter.Cache, nil when there is none.
func typeAt(t reflect.Type, path string) reflect.Type {
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "."), ".") {
		for t != nil && t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if name == "" {
			break
		}
		if t == nil || t.Kind() != reflect.Struct {
			return nil
		}
		f, ok := t.FieldByName(name)
		if !ok {
			return nil
		}
		t = f.Type
	}
	return t
}
