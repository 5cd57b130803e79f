//go:build linux

package conformance

import (
	"os"
	"testing"

	"github.com/brinepool/brine/internal/leaktest"
	"github.com/brinepool/brine/internal/worker"
)

// marker says that a process is a worker.
const marker = "BRINE_WORKER"

const testBuild = "the build of this test"

// TestMain runs the tests, and checks that they left no goroutine, process, descriptor or mapping; or it is a Go worker.
func TestMain(m *testing.M) {
	if os.Getenv(marker) == "1" {
		_ = os.Unsetenv(marker)
		worker.Main(registry{}, testBuild)
	}
	leaktest.Main(m)
}

// TestGo has a Go worker, which is this program started again.
func TestGo(t *testing.T) {
	t.Parallel()
	runCases(t, golang())
}

// TestPython has a Python worker, brine._worker of this checkout.
func TestPython(t *testing.T) {
	t.Parallel()
	if os.Getenv("BRINE_WITHOUT_PYTHON") == "1" {
		t.Skip("BRINE_WITHOUT_PYTHON=1: Python workers are not tested")
	}
	runCases(t, python(t))
}

func runCases(t *testing.T, l *language) {
	for _, c := range cases {
		if c.only != "" && c.only != l.name {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, l)
		})
	}
}
