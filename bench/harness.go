package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// harness has what all rows need.
type harness struct {
	rounds int
	short  bool
	self   string // this program
	source string // the directory of this package
	temp   string // for programs built on the way; removed at the end
	lean   string // bench/lean, once it is built
}

// runAll runs the rows one after the other and prints each as it is done. It returns the exit code.
func runAll(ctx context.Context, chosen []row, h harness, p printer, check bool) (code int, err error) {
	if h.self, err = os.Executable(); err != nil {
		return exitError, fmt.Errorf("find this program: %w", err)
	}
	if h.source, err = sourceDir(); err != nil {
		return exitError, err
	}
	if h.temp, err = os.MkdirTemp("", "brine-bench-"); err != nil {
		return exitError, fmt.Errorf("scratch directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(h.temp)) }()
	if err := adoptOrphans(); err != nil {
		return exitError, err
	}

	p.begin(machineNow())
	for _, r := range chosen {
		got := h.run(ctx, r)
		if ctx.Err() != nil {
			reapOrphans(h.self, h.lean)
			return exitError, context.Cause(ctx)
		}
		var results []result
		for _, l := range r.lines {
			if l.name == "" {
				l.name = r.name
			}
			res := judge(l, got)
			switch res.verdict() {
			case "error":
				code = exitError
			case "short":
				if check && code == exitOK {
					code = exitShort
				}
			}
			results = append(results, res)
		}
		left := reapOrphans(h.self, h.lean)
		if len(left) > 0 {
			code = exitError
		}
		p.row(results, left)
	}
	return code, p.end()
}

// inThisProgram starts an entrant as this program again.
func inThisProgram(ctx context.Context, h *harness, name string) (sampler, error) {
	return asSampler(startEntrant(ctx, h.self, name, h.short))
}

// inLean starts an entrant in bench/lean, which it builds first.
func inLean(ctx context.Context, h *harness, name string) (sampler, error) {
	if h.lean == "" {
		program := filepath.Join(h.temp, "lean")
		if err := goTool(ctx, h.source, "build", "-o", program, "./lean"); err != nil {
			return nil, err
		}
		h.lean = program
	}
	return asSampler(startEntrant(ctx, h.lean, name, h.short))
}

// asSampler keeps a nil *process from becoming a sampler that is not nil.
func asSampler(p *process, err error) (sampler, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// goTool runs the go command in dir.
func goTool(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}

// sourceDir is the directory of this package, which the rows that compile something need: where the compiler found this file or, if the
// program was built with -trimpath, the working directory.
func sourceDir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the source: %w", err)
	}
	for _, dir := range []string{filepath.Dir(file), wd, filepath.Join(wd, "bench")} {
		if _, err := os.Stat(filepath.Join(dir, "lean", "main.go")); err == nil && filepath.IsAbs(dir) {
			return dir, nil
		}
	}
	return "", errors.New("the source of this program is gone: run it in the checkout with go run ./bench")
}
