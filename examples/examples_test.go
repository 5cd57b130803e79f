// Package examples_test runs the examples as programs and looks for what they are there to show. Gosource has a test
// of its own; so has database, which is a module of its own.
package examples_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestExamples(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./...").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, e := range []struct {
		name string
		args []string
		want []string
	}{
		{"hello", nil, []string{"[3 6 9] <nil>"}},
		{"bitcount", nil, []string{"looked up in the workers' table: 524288 bits", "computed: 524288 bits"}},
		{"callbacks", nil, []string{
			"a mistake in a callback",
			"power 2   [0 1 4 9 16 25 36 49 64 81]",
			"times 10  [0 10 20 30 40 50 60 70 80 90]",
			"modulo 0  brine: task 0 of main.modulo: panic in main.modulo: runtime error: integer divide by zero",
		}},
		{"bill", nil, []string{".Cache map[int]string, 1,048,576 entries", "in .Converter.Cache", "went out 8 times: 260.0 MB. Make it worker state"}},
		{"bill", []string{"-state"}, []string{"8 tasks done", "main.(*Converter).Convert  argument"}},
		{"pickle", []string{"-entries=1000", "-items=2000"}, []string{"2000 integers converted with a table of 1000 entries", "built by workers"}},
		{"recover", nil, []string{
			"fatal error: stack overflow", "faulty.StackOverflow",
			"fatal error: concurrent map writes",
			"fatal error: sync: unlock of unlocked mutex",
			"panic: assignment to entry in nil map", "faulty.PanicInBackground",
			"exit status 3",
			"faulty: can't find my settings",
			"timed out after", "faulty.LoopForever",
			"faulty.TakeAllMemory",
		}},
	} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			raw, err := exec.CommandContext(t.Context(), filepath.Join(bin, e.name), e.args...).CombinedOutput()
			out := string(raw)
			if err != nil || strings.Contains(out, "FAILS") {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range e.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
		})
	}
}
