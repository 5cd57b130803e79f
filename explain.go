package brine

import (
	"reflect"
	"slices"
	"unsafe"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/codec"
)

// Explanation is a value, or a part of one, and what it takes when it is sent. The bytes of its Parts and its Own add up
// to its Bytes. As JSON it has the form that `brine explain --json` writes for Python's values.
type Explanation struct {
	Name    string `json:"name"`              // how one gets here from the part above: .Cache, ["x"], [3]; "5 others"
	Type    string `json:"type,omitempty"`    // *main.Converter; of what an interface holds, its own
	Entries int64  `json:"entries,omitempty"` // of a map or a slice
	Count   int64  `json:"count,omitempty"`   // how many values this stands for, if it is several
	Bytes   int64  `json:"bytes"`             // encoded, with its parts
	Own     int64  `json:"own,omitempty"`     // of it, what is in none of the parts
	Mapped  int64  `json:"mapped,omitempty"`  // bytes of Shared and FrozenMap that it refers to, which don't cross
	Note    string `json:"note,omitempty"`    // what there is to say: nil; counted at .A
	Error   string `json:"error,omitempty"`   // why it can't be sent

	Parts []Explanation `json:"parts,omitempty"` // the largest first
}

// Explain returns what would cross if v were sent as an argument, a result or a configuration: its parts by their paths,
// with their bytes, the largest first. The compiled codec would give exactly so many bytes. Of large containers it tells
// the largest elements, and adds up the others; what has several references is counted at the first.
//
// What can't be sent is marked with the reason, which the whole then has too; it takes no bytes, and all else counts.
// Explain never fails or panics. It takes as long as encoding v a few times, but not the memory, and changes nothing. v
// must not be changed meanwhile.
//
// A *Kind is explained by its configuration, and a Func by its argument and its result, as far as values of one type take
// the same, and by the value that was bound to it. The state of a worker never crosses.
func Explain(v any) Explanation {
	t := reflect.TypeOf(v)
	if t == nil {
		return Explanation{Type: "nil", Error: "brine: a nil without a type can't be sent: give a nil of some type, such as (*T)(nil)"}
	}
	if e, ok := v.(explained); ok {
		if t.Kind() == reflect.Pointer && reflect.ValueOf(v).IsNil() {
			return Explanation{Type: codec.TypeName(t), Note: "nil", Error: "brine: there is nothing to explain in a nil " + codec.TypeName(t)}
		}
		return explanation(e.explain())
	}
	p := reflect.New(t)
	p.Elem().Set(reflect.ValueOf(v))
	return explanation(codec.Explain(t, p.UnsafePointer()))
}

// String returns the explanation as text: a tree, with a line for each part and what share of the whole it takes.
func (e Explanation) String() string { return e.part().Text() }

// explained is what crosses by its name, and with other values than its own.
type explained interface{ explain() bill.Part }

func explanation(p bill.Part) Explanation {
	e := Explanation{
		Name: p.Name, Type: p.Type, Entries: p.Entries, Count: p.Count,
		Bytes: p.Bytes, Own: p.Own, Mapped: p.Mapped, Note: p.Note, Error: p.Error,
	}
	for _, q := range p.Parts {
		e.Parts = append(e.Parts, explanation(q))
	}
	return e
}

func (e Explanation) part() bill.Part {
	p := bill.Part{
		Name: e.Name, Type: e.Type, Entries: e.Entries, Count: e.Count,
		Bytes: e.Bytes, Own: e.Own, Mapped: e.Mapped, Note: e.Note, Error: e.Error,
	}
	for _, q := range e.Parts {
		p.Parts = append(p.Parts, q.part())
	}
	return p
}

func (k *Kind[C, S]) explain() bill.Part {
	_, err := k.config.compiled()
	return together(bill.ShortName(k.name), "kind", err, []bill.Part{
		role("configuration", onceEach, codec.ExplainType(reflect.TypeFor[C]())),
		stays[S](),
	})
}

func (f Func[S, In, Out]) explain() bill.Part {
	if f.sig == nil {
		return bill.Part{Type: "function", Error: errZeroFunc.Error()}
	}
	parts := f.sig.parts()
	if f.bound != nil {
		parts = append(parts, role("bound", onceEach, f.bound.explain()))
	}
	return together(bill.ShortName(f.sig.name), "function", f.sig.check(), append(parts, stays[S]()))
}

func (f BoundFunc[S, A, In, Out]) explain() bill.Part {
	if f.sig == nil {
		return bill.Part{Type: "function", Error: errZeroFunc.Error()}
	}
	return together(bill.ShortName(f.sig.name), "function", f.sig.check(), append(f.sig.parts(),
		role("bound", onceEach, codec.ExplainType(reflect.TypeFor[A]())),
		stays[S](),
	))
}

func (s *signature[In, Out]) parts() []bill.Part {
	return []bill.Part{
		role("argument", "with each task", codec.ExplainType(reflect.TypeFor[In]())),
		role("result", "with each task", codec.ExplainType(reflect.TypeFor[Out]())),
	}
}

const onceEach = "sent once per worker"

// role says what a value is to a function or a kind.
func role(name, note string, p bill.Part) bill.Part {
	p.Name = name
	if p.Note != "" {
		note += "; " + p.Note
	}
	p.Note = note
	return p
}

// stays is the state of a worker.
func stays[S any]() bill.Part {
	return bill.Part{Name: "state", Type: codec.TypeName(reflect.TypeFor[S]()), Note: "never crosses"}
}

// together makes a part of the values of a function or a kind. err is why it can't be used.
func together(name, what string, err error, parts []bill.Part) bill.Part {
	p := bill.Part{Name: name, Type: what, Note: "crosses by its name, once per worker"}
	for _, q := range parts {
		if q.Type == "struct {}" && q.Bytes == 0 {
			continue
		}
		p.Bytes += q.Bytes
		p.Mapped += q.Mapped
		if q.Error != "" && p.Error == "" {
			p.Error = q.Error
		}
		p.Parts = append(p.Parts, q)
	}
	if err != nil {
		p.Error = err.Error()
	}
	slices.SortStableFunc(p.Parts, bill.ByBytes)
	return p
}

// explainBound explains a bound value.
func explainBound[A any](a *A) bill.Part {
	return codec.Explain(reflect.TypeFor[A](), unsafe.Pointer(a)) //nolint:gosec // of the type that it is explained as
}
