package arch

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// layer is a package, by its directory, and those of ours that it may import. A directory that ends in /... stands for
// the whole tree.
type layer struct {
	dir     string
	imports []string
}

// layers has all our packages: arrows point down only. Tests may import what they want, but for the command.
var layers = []layer{
	// The lowest know nothing of one another, so that each can be read alone.
	{"internal/shm", nil},
	{"internal/bill", nil},
	{"internal/pickle", []string{"internal/bill"}},
	{"internal/frozen", nil},
	{"internal/codec", []string{"internal/bill", "internal/shm"}},
	{"internal/ledger", nil},
	{"internal/link", []string{"internal/shm"}},
	{"internal/proc", nil},
	{"internal/sched", nil},
	// The parent's side and the worker's, which agree on what is in link and codec, and don't know each other.
	{"internal/engine", []string{"internal/bill", "internal/codec", "internal/ledger", "internal/link", "internal/proc", "internal/sched", "internal/shm"}},
	{"internal/worker", []string{"internal/codec", "internal/link", "internal/shm"}},
	// The engine for programs in other languages, which looks into payloads for the bill alone.
	{"internal/serve", []string{"internal/bill", "internal/codec", "internal/engine", "internal/ledger", "internal/link", "internal/pickle", "internal/proc", "internal/shm"}},
	// What the processes of a traced Python program say, as a bill.
	{"internal/trace", []string{"internal/bill", "internal/pickle"}},
	// The public package puts types on top. What to run next is the engine's business: it does without sched.
	{".", []string{"internal/bill", "internal/codec", "internal/engine", "internal/frozen", "internal/ledger", "internal/link", "internal/proc", "internal/shm", "internal/worker"}},
	// Users of it. The benchmarks look inside, for the floors beneath each layer.
	{"bench/...", []string{".", "bench/...", "internal/..."}},
	{"examples/...", []string{".", "examples/..."}},
	{"cmd/...", []string{".", "cmd/...", "internal/...", "python"}},
	// The Python package, for the command to carry.
	{"python", nil},
	{"internal/arch", nil},
	{"internal/leaktest", nil},
	// Tests alone, of workers in any language.
	{"internal/conformance", nil},
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	for _, fault := range upward(t, repository(t)) {
		t.Error(fault)
	}
}

// TestImportsPointDownFinds shows that the rules bite.
func TestImportsPointDownFinds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ file, imports, want string }{
		{"internal/sched/a.go", "internal/link", "internal/sched/a.go imports internal/link: "},
		{"internal/sched/a_other.go", "internal/link", "internal/sched/a_other.go imports internal/link: "},
		{"internal/codec/a.go", ".", "internal/codec/a.go imports .: "},
		{"internal/worker/a.go", "internal/engine", "internal/worker/a.go imports internal/engine: "},
		{"internal/engine/a.go", "internal/worker", "internal/engine/a.go imports internal/worker: "},
		{"internal/worker/a.go", "internal/proc", "internal/worker/a.go imports internal/proc: "},
		{"internal/agent/a.go", "internal/link", "internal/agent has no place in the layers"},
		{"examples/a/main.go", "internal/engine", "examples/a/main.go imports internal/engine: "},
		{"a.go", "cmd/brine", "a.go imports cmd/brine: "},
		{"a_test.go", "cmd/brine/tables", "a_test.go imports cmd/brine/tables: "},
		{"bench/a.go", "cmd/brine", "bench/a.go imports cmd/brine: "},
		{"a.go", "internal/engine", ""},
		{"a.go", "internal/serve", "a.go imports internal/serve: "},
		{"bench/a.go", "internal/codec", ""},
		{"bench/internal/start/a.go", ".", ""},
		{"examples/a/b/main.go", ".", ""},
		{"cmd/brine/a.go", "cmd/brine/tables", ""},
		{"internal/sched/a_test.go", "internal/engine", ""},
	} {
		t.Run(test.file+" "+test.imports, func(t *testing.T) {
			t.Parallel()
			text := fmt.Sprintf("package a\n\nimport _ %q\n", path.Join(module, test.imports))
			got := strings.Join(upward(t, fstest.MapFS{test.file: {Data: []byte(text)}}), "\n")
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

// upward returns the imports of our own packages that the layers don't have.
func upward(t *testing.T, fsys fs.FS) []string {
	t.Helper()
	var faults []string
	for _, s := range sources(t, fsys) {
		place := slices.IndexFunc(layers, func(l layer) bool { return within(s.dir(), l.dir) })
		if place < 0 {
			faults = append(faults, s.dir()+" has no place in the layers: give it one in internal/arch/layers_test.go")
			continue
		}
		for _, spec := range s.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatalf("%s: %v", s.file, err)
			}
			if imported != module && !strings.HasPrefix(imported, module+"/") {
				continue
			}
			dir := path.Join(".", strings.TrimPrefix(strings.TrimPrefix(imported, module), "/"))
			allowed := slices.ContainsFunc(layers[place].imports, func(tree string) bool { return within(dir, tree) })
			if s.test() {
				allowed = !within(dir, "cmd/...") || within(s.dir(), "cmd/...")
			}
			if !allowed {
				faults = append(faults, fmt.Sprintf("%s imports %s: it may import %q of ours", s.file, dir, layers[place].imports))
			}
		}
	}
	return faults
}

// within tells whether a directory is the named one or, with /..., in its tree.
func within(dir, tree string) bool {
	tree, whole := strings.CutSuffix(tree, "/...")
	return dir == tree || whole && strings.HasPrefix(dir, tree+"/")
}
