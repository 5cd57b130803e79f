package trace

import (
	"fmt"
	"strings"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/pickle"
)

// share is the part of a stream that is of one class. Each byte of a stream is in one share.
type share struct {
	class    string
	function string // empty: that of the task or message
	bytes    int64
	value    *pickle.Value // of most of it; nil if the stream wasn't read
	more     *pickle.Value // what else there is, keywords beside arguments
	objects  []seen

	// Of a share that has to wait until it is known what it belongs to, which outlives its stream.
	tree *bill.Part
	path string
}

// seen is an object of the program, as it was when it was pickled.
type seen struct {
	number uint64
	path   string // from the share's value
	value  *pickle.Value
}

const (
	starting = "Process.start"
	signals  = "signals of pools"
)

// split parses what was pickled and divides it among the classes. Without a stream, or if it can't be read, which is
// then said in the error, all is of the class that is the most likely.
func split(f *frame) (shares []share, err error) {
	whole, err := parse(f)
	at := func(path string) *pickle.Value {
		if whole == nil {
			return nil
		}
		return whole.At(path)
	}
	switch f.kind {
	case task:
		shares = splitTask(f, at)
	case result:
		value := at(map[shape]string{bare: "[2][1]", item: ".result"}[f.shape])
		if f.shape == item && f.flags&failed != 0 {
			value = at(".exception")
		}
		if value == nil {
			value = whole
		}
		shares = []share{{class: bill.Result, bytes: f.size, value: value}}
	case process:
		shares = splitProcess(f, at)
	case preparation:
		shares = []share{{class: bill.Message, function: starting, bytes: f.size, value: whole}}
	case signal:
		shares = []share{{class: bill.Message, function: signals, bytes: f.size, value: whole}}
	default:
		shares = []share{{class: bill.Message, bytes: f.size, value: whole}}
	}
	return shares, err
}

// parse reads the stream, if there is one. That it can't be read is no reason to do without all else: it comes from
// programs, and picklers of which nobody has heard.
func parse(f *frame) (v *pickle.Value, err error) {
	if len(f.body) == 0 {
		if f.size > 0 {
			err = fmt.Errorf("%d bytes are too many to look into", f.size)
		}
		return nil, err
	}
	f.size = int64(len(f.body))
	return pickle.Parse(f.body, nil)
}

var taskPaths = map[shape]struct{ function, arguments, keywords string }{
	bare:      {"[2]", "[3]", "[4]"},
	chunk:     {"[3][0][0]", "[3][0][1]", ""},
	item:      {".fn", ".args", ".kwargs"},
	itemChunk: {".fn.args[0]", ".args[0]", ""},
}

// splitTask takes the function out of a task. All else is its arguments.
func splitTask(f *frame, at func(string) *pickle.Value) []share {
	paths := taskPaths[f.shape]
	function, arguments := at(paths.function), at(paths.arguments)
	if paths.function == "" || function == nil || arguments == nil {
		return []share{{class: bill.Argument, bytes: f.size, value: at("")}}
	}
	first := share{class: bill.Function, bytes: function.Bytes(), value: function}
	second := share{class: bill.Argument, bytes: f.size - function.Bytes(), value: arguments}
	if keywords := at(paths.keywords); paths.keywords != "" && keywords != nil && keywords.Entries() > 0 {
		second.more = keywords
	}
	for _, o := range f.objects {
		switch o.what {
		case isFunction:
			first.see(o.number, "")
		case isSelf:
			first.see(o.number, ".__self__")
		case isArgument:
			path := fmt.Sprintf("[%d]", o.index)
			if o.subindex >= 0 {
				path += fmt.Sprintf("[%d]", o.subindex)
			}
			second.see(o.number, path)
		}
	}
	return []share{first, second}
}

// see notes an object that is in the share. Where it stands elsewhere in the stream, there is nothing to see.
func (s *share) see(number uint64, path string) {
	v := s.value.At(path)
	if v == nil || v.Kind() == pickle.Ref || v.Kind() == pickle.Global {
		return
	}
	s.objects = append(s.objects, seen{number, path, v})
}

// splitProcess takes out of a process object what the user gave to it: a pool's initializer with its arguments, or the
// function and arguments of a process.
func splitProcess(f *frame, at func(string) *pickle.Value) []share {
	rest := share{class: bill.Message, function: starting, bytes: f.size, value: at("")}
	take := func(class string, paths ...string) []share {
		s := share{class: class}
		for _, path := range paths {
			v := at(path)
			if v == nil || v.Kind() == pickle.None {
				continue
			}
			s.bytes += v.Bytes()
			if s.value == nil || v.Bytes() > s.value.Bytes() {
				s.value, s.more = v, s.value
			} else {
				s.more = v
			}
		}
		if s.value == nil {
			return nil
		}
		rest.bytes -= s.bytes
		rest.value = nil // the tree would have it again
		return []share{s}
	}
	var taken []share
	if f.shape == worker {
		if initializer := at("._args[2]"); initializer != nil && initializer.Kind() != pickle.None {
			taken = take(bill.Initializer, "._args[2]", "._args[3]")
		}
	} else {
		taken = append(take(bill.Function, "._target"), take(bill.Argument, "._args", "._kwargs")...)
	}
	return append(taken, rest)
}

// part is the tree of a share. Its bytes are the share's.
func (s *share) part() bill.Part {
	if s.tree != nil {
		return *s.tree
	}
	if s.value == nil {
		return bill.Part{Bytes: s.bytes, Own: s.bytes}
	}
	options := pickle.Options{Depth: 6, Breadth: 12}
	p := s.value.Part(options)
	p.Name = ""
	if s.more != nil {
		more := s.more.Part(options)
		p.Name, more.Name = "arguments", "keywords"
		if s.class == bill.Initializer {
			more.Name = "initializer"
		}
		p = bill.Part{Bytes: p.Bytes + more.Bytes, Parts: []bill.Part{p, more}}
	}
	p.Own += s.bytes - p.Bytes // what the task is wrapped in
	p.Bytes = s.bytes
	return p
}

// heavy is the path to what makes the share large: from part to part, as long as one is most of it.
func (s *share) heavy() string {
	if s.tree != nil {
		return s.path
	}
	path := ""
	for v := s.value; v != nil; {
		var largest *pickle.Value
		for i := range min(v.Len(), 1000) {
			if c := v.Child(i); largest == nil || c.Bytes() > largest.Bytes() {
				largest = c
			}
		}
		if largest == nil || largest.Bytes()*2 < s.bytes || strings.Count(path, ".")+strings.Count(path, "[") > 8 {
			return path
		}
		path = pickle.Join(path, largest.Name())
		v = largest
	}
	return path
}
