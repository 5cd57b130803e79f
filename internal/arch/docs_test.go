package arch

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestExportedNamesAreDocumented wants a comment on every exported name of the public package, as godoc shows it.
func TestExportedNamesAreDocumented(t *testing.T) {
	t.Parallel()
	names, bare := documentation(t, repository(t))
	for _, name := range []string{"Main", "Open", "Pool", "Pool.Close", "TaskError.Error", "ErrClosed"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not among the names that were looked at: %q", name, names)
		}
	}
	for _, name := range bare {
		t.Errorf("brine.%s has no doc comment", name)
	}
}

// TestExportedNamesAreDocumentedFinds shows that the rule bites.
func TestExportedNamesAreDocumentedFinds(t *testing.T) {
	t.Parallel()
	const text = `// Package brine is documented.
package brine

// T is documented.
type T struct{ *embedded }

func (T) M() {}

type embedded struct{}

func (*embedded) Promoted() {}

type U int

// The names of U.
const (
	A U = iota
	B
)

var (
	// C is documented.
	C int
	D int
	E int // is documented
)

func F() {}

func hidden() {}
`
	_, bare := documentation(t, fstest.MapFS{"a.go": {Data: []byte(text)}})
	if want := []string{"D", "F", "T.M", "T.Promoted", "U"}; !slices.Equal(bare, want) {
		t.Errorf("found without a comment: %q, want %q", bare, want)
	}
}

// documentation returns the exported names of the package in the root directory, and those of them that have no
// comment. A comment on a group of constants or variables that belong together counts for all of them, unless there is
// one on a member.
func documentation(t *testing.T, fsys fs.FS) (names, bare []string) {
	t.Helper()
	files, err := fs.Glob(fsys, "*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var parsed []*ast.File
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := fs.ReadFile(fsys, file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(set, path.Base(file), b, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	p, err := doc.NewFromFiles(set, parsed, module)
	if err != nil {
		t.Fatal(err)
	}
	if p.Doc == "" {
		bare = append(bare, "the package")
	}
	add := func(name, comment string) {
		if names = append(names, name); strings.TrimSpace(comment) == "" {
			bare = append(bare, name)
		}
	}
	values := func(groups []*doc.Value) {
		for _, g := range groups {
			for name, comment := range valueComments(g) {
				add(name, comment)
			}
		}
	}
	functions := func(prefix string, list []*doc.Func) {
		for _, f := range list {
			add(prefix+f.Name, f.Doc)
		}
	}
	values(p.Consts)
	values(p.Vars)
	functions("", p.Funcs)
	for _, typ := range p.Types {
		add(typ.Name, typ.Doc)
		values(typ.Consts)
		values(typ.Vars)
		functions("", typ.Funcs)
		functions(typ.Name+".", typ.Methods)
	}
	slices.Sort(names)
	slices.Sort(bare)
	return names, bare
}

// valueComments returns the exported names of a declaration, each with the comment that speaks of it.
func valueComments(v *doc.Value) map[string]string {
	own := make(map[string]string)
	some := false
	for _, spec := range v.Decl.Specs {
		s, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		comment := s.Doc.Text() + s.Comment.Text()
		some = some || comment != ""
		for _, name := range s.Names {
			if name.IsExported() {
				own[name.Name] = comment
			}
		}
	}
	if !some {
		for name := range own {
			own[name] = v.Doc
		}
	}
	return own
}
