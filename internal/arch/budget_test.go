package arch

import (
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// budget has the modules, beside the standard library and Brine's own, that a program gets with Brine.
var budget = []string{"golang.org/x/sys"}

// TestDependencyBudget asks the go command what the public package needs, on every system that it is built for.
func TestDependencyBudget(t *testing.T) {
	t.Parallel()
	for _, system := range []string{"linux", "darwin", "freebsd"} {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			out := goCommand(t, []string{"GOOS=" + system, "CGO_ENABLED=0"},
				"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", module)
			modules := slices.Compact(slices.Sorted(strings.FieldsSeq(out)))
			if !slices.Contains(modules, module) {
				t.Fatalf("%s is not among its own dependencies: %q", module, modules)
			}
			for _, m := range modules {
				if m != module && !slices.Contains(budget, m) {
					t.Errorf("a program that imports %s links %s: the budget is %q", module, m, budget)
				}
			}
		})
	}
}

// TestDependencyBudgetOfProgram builds a program and reads from it, as go version -m does, what is in it.
func TestDependencyBudgetOfProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "lean")
	goCommand(t, nil, "build", "-o", program, "./internal/arch/testdata/lean")
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if info.Main.Path != module {
		t.Fatalf("the program is of module %q", info.Main.Path)
	}
	for _, m := range info.Deps {
		if !slices.Contains(budget, m.Path) {
			t.Errorf("a program that uses Brine contains %s %s: the budget is %q", m.Path, m.Version, budget)
		}
	}
}

// goCommand runs the go command in the root of the repository, without its workspace: as for a user.
func goCommand(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	return string(out)
}
