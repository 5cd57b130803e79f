package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"brine": main})
}

// TestRun runs the scripts of testdata/run, each with a cache of its own.
func TestRun(t *testing.T) {
	t.Parallel()
	python := python3(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/run",
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("PYTHON", python)
			env.Setenv("PYTHONDONTWRITEBYTECODE", "1")
			return nil
		},
	})
}

// python3 returns the path of an interpreter that Brine runs on; what PATH has may be a script that looks for one.
func python3(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "python3", "-c",
		"import sys; print(sys.executable if sys.version_info >= (3, 9) else '')").Output()
	path := strings.TrimSpace(string(out))
	if err != nil || path == "" {
		t.Skipf("there is no python3 of version 3.9 or newer: %v", err)
	}
	return path
}

// TestRunIsTheProgram shows that there is no process between whoever starts brine and the program: it has the same
// process id, and what ends it ends what was started.
func TestRunIsTheProgram(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("echo $$\nkill -TERM $$\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	cmd := &exec.Cmd{
		Path:   self,
		Args:   []string{"brine", "run", "--python", "sh", script}, // a shell is as good as Python here
		Env:    append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir()),
		Stdout: &stdout,
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("it ended with %v", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v, not with the signal that the program got", err)
	}
	if got, want := stdout.String(), strconv.Itoa(cmd.Process.Pid)+"\n"; got != want {
		t.Errorf("the program's process id is %q, brine's was %q", got, want)
	}
}
