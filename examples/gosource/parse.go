package main

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"runtime/debug"

	"github.com/brinepool/brine"
)

// config is what a worker is told when it starts.
type config struct {
	Dir    string
	Inject string // the way to die, empty for none
	At     string // the file at which
}

// reader is the state of a worker. It holds the directory open, and files are read where they are parsed: what crosses
// the boundary is a path one way and a few numbers the other.
type reader struct {
	dir *os.Root
	die func()
	at  string
}

// contents is what is in a file.
type contents struct {
	Lines     int
	Functions int
	Methods   int // of the functions
}

var (
	readers = brine.Define(openReader)
	parse   = brine.Method(readers, (*reader).Parse)
)

// A worker is a process of its own, so an initializer may set what a library must leave alone.
const (
	// gcPercent lets the small heap of a parser grow further between collections than the default of 100.
	gcPercent = 400
	// maxStack bounds the stack of a goroutine. The runtime's own limit of 1 GB is above what -memory allows: a stack
	// overflow would look like a lack of memory.
	maxStack = 64 << 20
)

func openReader(_ context.Context, c config) (*reader, error) {
	debug.SetGCPercent(gcPercent)
	debug.SetMaxStack(maxStack)
	dir, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, err
	}
	return &reader{dir: dir, die: injections[c.Inject], at: c.At}, nil
}

// Close ends the worker's hold of the directory.
func (r *reader) Close() error { return r.dir.Close() }

// Parse counts what is in a file. A file that does not parse is an error.
func (r *reader) Parse(_ context.Context, name string) (contents, error) {
	if r.die != nil && name == r.at {
		r.die()
	}
	text, err := r.dir.ReadFile(name)
	if err != nil {
		return contents{}, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		return contents{}, err
	}
	c := contents{Lines: bytes.Count(text, []byte("\n"))}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			c.Functions++
			if f.Recv != nil {
				c.Methods++
			}
		}
	}
	return c, nil
}
