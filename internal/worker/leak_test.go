//go:build linux

package worker

import (
	"os"
	"testing"

	"github.com/brinepool/brine/internal/leaktest"
)

// TestMain runs the tests, and checks that they left no goroutine, process, descriptor or journal.
func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		child(mode) // doesn't return
		os.Exit(97)
	}
	leaktest.Main(m)
}
