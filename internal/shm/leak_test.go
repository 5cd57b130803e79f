//go:build linux

package shm

import (
	"os"
	"testing"

	"github.com/brinepool/brine/internal/leaktest"
)

// TestMain runs the tests, and checks that they left no goroutine, process, descriptor or mapping: their segments have
// names that leaktest looks for.
func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		child(mode) // doesn't return
	}
	leaktest.Main(m)
}
