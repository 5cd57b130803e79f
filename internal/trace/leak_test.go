//go:build linux

package trace

import (
	"testing"

	"github.com/brinepool/brine/internal/leaktest"
)

// TestMain runs the tests, and checks that they left no goroutine and no descriptor.
func TestMain(m *testing.M) { leaktest.Main(m) }
