package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// roleCommand is this program again, in a role.
func roleCommand(name string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return exec.Command(self, entrant.RoleArgs(name, args...)...), nil
}

// role runs this process in a role and returns its exit code.
func role(name string, args []string) int {
	switch name {
	case "entrant":
		return entrant.Main(entrants(), args)
	case "echo":
		return echoMain(args)
	case "wire":
		return wireMain(args)
	case "fixed":
		return fixedMain(args)
	case "netrpc":
		return netrpcMain(args)
	case "goplugin":
		return gopluginMain(args)
	}
	fmt.Fprintf(os.Stderr, "bench: no role %q\n", name)
	return 2
}

// same errs unless a and b are equal: an entrant that answers wrongly has not answered fast.
func same[T comparable](got, want T) error {
	if got != want {
		return fmt.Errorf("wrong answer: %v, not %v", got, want)
	}
	return nil
}

// sizeArg is the only argument of a role that takes a size of payloads.
func sizeArg(args []string) (int, error) {
	if len(args) != 1 {
		return 0, fmt.Errorf("bench: arguments %q: want one size", args)
	}
	return strconv.Atoi(args[0])
}
