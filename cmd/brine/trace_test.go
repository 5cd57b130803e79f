package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestTrace runs the scripts of testdata/trace, each with a cache and a directory for temporary files of its own.
func TestTrace(t *testing.T) {
	t.Parallel()
	python := python3(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/trace",
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("PYTHON", python)
			env.Setenv("PYTHONDONTWRITEBYTECODE", "1")
			env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
			if err := os.Mkdir(filepath.Join(env.WorkDir, "tmp"), 0o700); err != nil {
				return err
			}
			return os.Chmod(filepath.Join(env.WorkDir, "isolated"), 0o755)
		},
	})
}
