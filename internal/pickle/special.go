package pickle

import (
	"fmt"
	"strings"
)

// special is what is known of a function that makes objects when they are unpickled.
type special struct {
	name    func(t *tree, n *node) string // the type of what it makes
	parts   func(p *parts, n *node)
	note    func(t *tree, n *node) string
	entries func(t *tree, n *node) int64
}

// special returns what is known of how an object is made, or nil.
func (t *tree) special(it *item) *special {
	n := it.node
	if it.kind != Object || n == nil || n.how != byReduce {
		return nil
	}
	if it.name == 0 {
		switch t.unnamed(n) {
		case "CodeType":
			return code()
		case "MethodType":
			return methodByValue()
		}
		return nil
	}
	module, name := t.full(it.name)
	switch module {
	case "builtins", "__builtin__":
		if name == "getattr" && len(tupleKids(&n.args)) == 2 {
			if first, _ := t.target(&n.args.node.kids[0]); first == Global {
				return attribute()
			}
			return method()
		}
	case "_codecs":
		if name == "encode" {
			return encoded()
		}
	case "functools":
		if name == "partial" {
			return partial()
		}
	case "multiprocessing.reduction":
		if name == "_rebuild_partial" {
			return rebuiltPartial()
		}
	case "copyreg", "copy_reg":
		if name == "_reconstructor" {
			return reconstructed()
		}
	case "cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast":
		return cloudpickled(name)
	}
	if strings.HasPrefix(module, "numpy") {
		switch name {
		case "_reconstruct":
			return reconstructedArray()
		case "_frombuffer":
			return arrayFromBuffer()
		}
	}
	return nil
}

// target returns the kind and name of a value, or of what it refers to.
func (t *tree) target(it *item) (Kind, uint16) {
	_, kind := t.resolve(it)
	return kind, it.name
}

const boundNote = "the bound object, sent with its method"

// method is a bound method: getattr(object, name).
func method() *special {
	return &special{
		name: func(t *tree, n *node) string {
			args := tupleKids(&n.args)
			class := t.typeOf(&args[0])
			if module, ok := strings.CutPrefix(class, "module "); ok {
				return module + "." + t.word(&args[1])
			}
			return "bound method " + last(class) + "." + t.word(&args[1])
		},
		parts: func(p *parts, n *node) {
			p.part(".__self__", n.args.node.kids[0], boundNote)
			p.leftover(n)
		},
	}
}

// attribute is something in a class, by name: a class's method, a member of an enumeration.
func attribute() *special {
	return &special{
		name: func(t *tree, n *node) string {
			args := tupleKids(&n.args)
			return t.dotted(args[0].name) + "." + t.word(&args[1])
		},
		parts: func(p *parts, n *node) { p.leftover(n) },
		note:  func(*tree, *node) string { return "by name" },
	}
}

// encoded is bytes as protocols 0 to 2 have them.
func encoded() *special {
	return &special{
		name:  func(*tree, *node) string { return "bytes" },
		parts: func(p *parts, n *node) { p.leftover(n) },
	}
}

// partial is functools.partial: the function is its argument, and the state has it again, with the arguments.
func partial() *special {
	return &special{
		name: func(*tree, *node) string { return "functools.partial" },
		parts: func(p *parts, n *node) {
			if args := tupleKids(&n.args); len(args) > 0 {
				p.part(".func", args[0], "")
			}
			for i := range n.states {
				state := tupleKids(&n.states[i])
				if len(state) != 4 {
					p.state(&n.states[i])
					continue
				}
				p.part(".args", state[1], "")
				p.part(".keywords", state[2], "")
				if state[3].kind == Dict {
					p.attributes(&state[3])
				}
			}
			p.contents(n)
		},
	}
}

// rebuiltPartial is the same as multiprocessing writes it.
func rebuiltPartial() *special {
	return &special{
		name: func(*tree, *node) string { return "functools.partial" },
		parts: func(p *parts, n *node) {
			for i, it := range tupleKids(&n.args) {
				if i < 3 {
					p.part([...]string{".func", ".args", ".keywords"}[i], it, "")
				}
			}
			p.leftover(n)
		},
	}
}

// reconstructed is an object of protocols 0 and 1: its class, a base, and what that makes it from.
func reconstructed() *special {
	return &special{
		name: func(t *tree, n *node) string {
			if args := tupleKids(&n.args); len(args) > 0 {
				return t.dotted(args[0].name)
			}
			return "object"
		},
		parts: func(p *parts, n *node) {
			if args := tupleKids(&n.args); len(args) == 3 && args[2].kind != None {
				p.part("argument 0", args[2], "")
			}
			p.leftover(n)
		},
	}
}

// reconstructedArray is a numpy array whose data are in its state: version, shape, dtype, order, data.
func reconstructedArray() *special {
	return &special{
		name: func(*tree, *node) string { return "numpy.ndarray" },
		parts: func(p *parts, n *node) {
			for i := range n.states {
				if state := tupleKids(&n.states[i]); len(state) == 5 {
					p.part(".data", state[4], "")
					p.part(".dtype", state[2], "")
				} else {
					p.state(&n.states[i])
				}
			}
			p.contents(n)
		},
		note: func(t *tree, n *node) string {
			if state := arrayState(n); state != nil {
				return t.shape(&state[1], &state[2])
			}
			return ""
		},
		entries: func(t *tree, n *node) int64 {
			if state := arrayState(n); state != nil {
				return t.product(&state[1])
			}
			return 0
		},
	}
}

func arrayState(n *node) []item {
	for i := range n.states {
		if state := tupleKids(&n.states[i]); len(state) == 5 {
			return state
		}
	}
	return nil
}

// arrayFromBuffer is a numpy array whose data are a buffer, which may be out of band: buffer, dtype, shape, order.
func arrayFromBuffer() *special {
	return &special{
		name: func(*tree, *node) string { return "numpy.ndarray" },
		parts: func(p *parts, n *node) {
			if args := tupleKids(&n.args); len(args) == 4 {
				p.part(".data", args[0], "")
				p.part(".dtype", args[1], "")
			}
			p.leftover(n)
		},
		note: func(t *tree, n *node) string {
			if args := tupleKids(&n.args); len(args) == 4 {
				return t.shape(&args[2], &args[1])
			}
			return ""
		},
		entries: func(t *tree, n *node) int64 {
			if args := tupleKids(&n.args); len(args) == 4 {
				return t.product(&args[2])
			}
			return 0
		},
	}
}

// leftover adds the states and contents of an object that is otherwise known.
func (p *parts) leftover(n *node) {
	for i := range n.states {
		p.state(&n.states[i])
	}
	p.contents(n)
}

// word is a string without quotes.
func (t *tree) word(it *item) string {
	if off, kind := t.resolve(it); kind == Str {
		q := quote(string(text(t.s, off)))
		return q[1 : len(q)-1]
	}
	return "?"
}

// product is how many elements an array of this shape has.
func (t *tree) product(shape *item) int64 {
	n := int64(1)
	for _, it := range tupleKids(shape) {
		off, kind := t.resolve(&it)
		side, ok := integer(t.s, off)
		if kind != Int || !ok || side < 0 || side > 1<<31 || n > 1<<62/(side+1) {
			return 0
		}
		n *= side
	}
	return n
}

// shape describes an array: what its elements are, and how many there are in each direction.
func (t *tree) shape(shape, dtype *item) string {
	var sides []string
	for _, it := range tupleKids(shape) {
		sides = append(sides, t.literal(&it))
	}
	text := strings.Join(sides, " × ")
	if dtype.kind == Object && dtype.node != nil {
		if args := tupleKids(&dtype.node.args); len(args) > 0 {
			if word := t.word(&args[0]); len(sides) > 1 {
				return fmt.Sprintf("%s, %s", word, text)
			} else if word != "?" {
				return word
			}
		}
	}
	if len(sides) > 1 {
		return text
	}
	return ""
}
