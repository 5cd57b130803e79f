package pickle

import "strings"

// cloudpickled is what one of cloudpickle's functions makes when it is unpickled: functions and classes by value are sent
// with their code. Version 3.1 and those since 2.0 write the same.
func cloudpickled(name string) *special {
	switch name {
	case "_make_function":
		return function()
	case "_make_skeleton_class", "_make_skeleton_enum":
		return class()
	case "_make_cell", "_make_empty_cell":
		return cell()
	case "subimport":
		return imported()
	}
	return nil
}

// cell is what a closure's variable is in.
func cell() *special {
	return &special{
		name: func(*tree, *node) string { return "cell" },
		parts: func(p *parts, n *node) {
			if args := tupleKids(&n.args); len(args) == 1 {
				p.part(".cell_contents", args[0], "")
			}
			p.leftover(n)
		},
	}
}

// imported is a module.
func imported() *special {
	return &special{
		name: func(t *tree, n *node) string {
			if args := tupleKids(&n.args); len(args) == 1 {
				return "module " + t.word(&args[0])
			}
			return "module"
		},
		parts: func(p *parts, n *node) { p.leftover(n) },
		note:  func(*tree, *node) string { return "by name" },
	}
}

// code is a code object: what it was compiled from is not in it, but names, constants and the instructions.
func code() *special {
	return &special{
		name: func(*tree, *node) string { return "code" },
		parts: func(p *parts, n *node) { // of which most are short; the layout is that of Python 3.8 and later
			args := tupleKids(&n.args)
			p.part(".co_code", args[6], "")
			p.part(".co_consts", args[7], "")
			p.leftover(n)
		},
	}
}

// unnamed returns which of the types that can't be imported makes an object, as the module types calls it: those are
// themselves made, when they are first needed.
func (t *tree) unnamed(n *node) string {
	callee := n.callee
	if t.dotted(callee.name) != "cloudpickle.cloudpickle._builtin_type" {
		return ""
	}
	switch count := len(tupleKids(&n.args)); { // it may stand elsewhere, but they differ in this
	case callee.kind == Ref && count >= 14:
		return "CodeType"
	case callee.kind == Ref && count == 2:
		return "MethodType"
	case callee.kind == Object && callee.node != nil:
		if args := tupleKids(&callee.node.args); len(args) == 1 && (count == 2 || count >= 14) {
			return t.word(&args[0])
		}
	}
	return ""
}

// methodByValue is a bound method, of a function and an object.
func methodByValue() *special {
	return &special{
		name: func(t *tree, n *node) string {
			args := tupleKids(&n.args)
			function := t.typeOf(&args[0])
			class := t.typeOf(&args[1])
			return "bound method " + last(class) + "." + last(function)
		},
		parts: func(p *parts, n *node) {
			args := tupleKids(&n.args)
			p.part(".__func__", args[0], "")
			p.part(".__self__", args[1], boundNote)
			p.leftover(n)
		},
	}
}

// last is a name without what it is in.
func last(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// function is a function by value. It is made of its code, globals, name, defaults and empty cells; its state has two
// dictionaries, the second of which has what the cells contain and the globals that the code uses.
func function() *special {
	return &special{
		name: func(t *tree, n *node) string {
			if name := functionName(t, n); name != "" {
				return "function " + name
			}
			return "function"
		},
		note: func(*tree, *node) string { return "by value" },
		parts: func(p *parts, n *node) {
			args := tupleKids(&n.args)
			if len(args) > 0 {
				p.part(".__code__", args[0], "")
			}
			if len(args) > 1 && args[1].kind == Dict {
				p.part(".__globals__", args[1], "where its module is")
			}
			if len(args) > 3 && args[3].kind != None {
				p.part(".__defaults__", args[3], "")
			}
			free := freeVariables(p.t, args)
			for i := range n.states {
				both := tupleKids(&n.states[i])
				if len(both) != 2 || !attributes(&both[0]) || both[1].kind != Dict {
					p.state(&n.states[i])
					continue
				}
				p.attributes(&both[0])
				p.functionState(&both[1], free)
			}
			p.contents(n)
		},
	}
}

// functionState adds what a function by value has in its state.
func (p *parts) functionState(state *item, free []item) {
	n := state.node
	if n == nil {
		return
	}
	p.rest.add(n.rest)
	for i := 0; i+1 < len(n.kids); i += 2 {
		key, value := n.kids[i], n.kids[i+1]
		switch p.t.word(&key) {
		case "__closure__":
			if cells := tupleKids(&value); cells != nil {
				p.cells(cells, free)
				continue
			}
		case "__globals__":
			if value.kind == Dict {
				if value.node != nil {
					before := len(p.list)
					p.pairs(value.node, step{kind: byAttr, text: "global "})
					for k := before; k < len(p.list); k++ {
						p.list[k].note = "global variable that it uses"
					}
				}
				continue
			}
		}
		p.add(child{it: value, extra: key.bytes, step: step{kind: byAttr, text: ".", key: key}})
	}
}

// cells adds the variables of a closure.
func (p *parts) cells(cells, free []item) {
	for i, cell := range cells {
		s := step{kind: byIndex, n: int64(i)}
		if i < len(free) {
			s = step{kind: byAttr, text: "variable ", key: free[i]}
		}
		content, extra := cell, int64(0)
		if cell.kind == Object && cell.node != nil && len(cell.node.states) == 0 {
			if args := tupleKids(&cell.node.args); len(args) == 1 {
				content, extra = args[0], cell.bytes-args[0].bytes
			}
		}
		p.add(child{it: content, extra: extra, step: s, note: "closure variable"})
	}
}

// freeVariables returns the names of a function's closure variables, which its code has.
func freeVariables(t *tree, args []item) []item {
	if len(args) == 0 || args[0].kind != Object || args[0].node == nil || t.unnamed(args[0].node) != "CodeType" {
		return nil
	}
	of := tupleKids(&args[0].node.args)
	if len(of) < 2 {
		return nil
	}
	return tupleKids(&of[len(of)-2])
}

// functionName is the qualified name in a function's state, or that in its code.
func functionName(t *tree, n *node) string {
	for i := range n.states {
		both := tupleKids(&n.states[i])
		if len(both) != 2 || both[1].kind != Dict || both[1].node == nil {
			continue
		}
		module, name, kids := "", "", both[1].node.kids
		for k := 0; k+1 < len(kids); k += 2 {
			switch t.word(&kids[k]) {
			case "__qualname__":
				name = t.word(&kids[k+1])
			case "__module__":
				module = t.word(&kids[k+1]) + "."
			}
		}
		if name != "" {
			return module + name
		}
	}
	return ""
}

// class is a class by value: a constructor's arguments, of which the second is its name, and a state.
func class() *special {
	return &special{
		name: func(t *tree, n *node) string { return "class " + className(t, n) },
		note: func(*tree, *node) string { return "by value" },
		parts: func(p *parts, n *node) {
			p.arguments(n)
			p.leftover(n)
		},
	}
}

func className(t *tree, n *node) string {
	args := tupleKids(&n.args)
	if len(args) < 2 {
		return "?"
	}
	module := ""
	if len(args) > 3 && args[3].kind == Dict && args[3].node != nil {
		kids := args[3].node.kids
		for k := 0; k+1 < len(kids); k += 2 {
			if t.word(&kids[k]) == "__module__" {
				module = t.word(&kids[k+1]) + "."
			}
		}
	}
	return module + t.word(&args[1])
}
