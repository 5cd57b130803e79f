package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

const module = "github.com/brinepool/brine"

// repository is the checkout that the tests run in.
func repository(t *testing.T) fs.FS {
	t.Helper()
	root := os.DirFS("../..")
	if _, err := fs.Stat(root, "go.mod"); err != nil {
		t.Fatalf("two directories up is not the root of the repository: %v", err)
	}
	return root
}

// source is one Go file, whatever system it is for.
type source struct {
	file string // path from the root of the repository
	text string
	ast  *ast.File
}

func (s *source) dir() string { return path.Dir(s.file) }

func (s *source) test() bool { return strings.HasSuffix(s.file, "_test.go") }

// generated tells whether a tool wrote the file.
func (s *source) generated() bool { return ast.IsGenerated(s.ast) }

// sources parses all Go files of a repository but those that the go command ignores too.
func sources(t *testing.T, fsys fs.FS) []*source {
	t.Helper()
	var all []*source
	set := token.NewFileSet()
	err := fs.WalkDir(fsys, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if ignored := name == "testdata" || name == "vendor" || strings.HasPrefix(name, "_") || strings.HasPrefix(name, "."); d.IsDir() {
			if ignored && file != "." {
				return fs.SkipDir
			}
			return nil
		} else if ignored || path.Ext(name) != ".go" {
			return nil
		}
		b, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(set, file, b, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, &source{file, string(b), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
