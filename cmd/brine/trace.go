package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/brinepool/brine/python"
)

// traceOptions are the flags of `brine trace`.
type traceOptions struct {
	python string
	module bool
	output string // for the text; empty for standard error
	report report
}

func traceCommand() *cobra.Command {
	var options traceOptions
	cmd := &cobra.Command{
		Use:   "trace [flags] script.py [args]",
		Short: "Run a Python program as it is, and say what its multiprocessing pickled",
		Long: `Run a Python program as it is, with its own pools, and say at its end what was
pickled between its processes: by multiprocessing's Pool, Process, Queue, Pipe
and Manager, and by ProcessPoolExecutor, with every start method.

Every dumps and loads in every process is counted with its bytes and its time,
by function and by the line of the program that led to it. Python takes this
process over, so output, exit status and signals are the program's own. The
bill is printed to standard error, also if the program is killed.`,
		Example: `  brine trace script.py --its-own-flag
  brine trace --html bill.html --timeline timeline.json script.py
  brine trace --output bill.txt --python python3.13 -m package.module`,
		RunE: func(_ *cobra.Command, args []string) error {
			return trace(options, args)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the script is the script's
	flags.BoolVarP(&options.module, "module", "m", false, "run a module, whose name comes next, as python -m does")
	flags.StringVarP(&options.output, "output", "o", "", "write the bill as text to this file, not to standard error")
	options.report.flags(flags, "standard error")
	flags.StringVar(&options.python, "python", "python3", "the Python to run it with: 3.9 or newer")
	return cmd
}

// trace starts the collector and becomes Python, with the program named in args. It returns only if that fails.
func trace(options traceOptions, args []string) error {
	if err := checkProgram(options.module, args); err != nil {
		return err
	}
	interpreter, err := findPython(options.python)
	if err != nil {
		return err
	}
	site, err := python.UnpackTrace()
	if err != nil {
		return err
	}
	socket, err := startCollector(options, args)
	if err != nil {
		return err
	}
	err = errors.Join(prependPath(site), os.Setenv("BRINE_TRACE", strconv.Itoa(os.Getpid())+":"+socket))
	if err == nil {
		err = become(interpreter, options.module, args)
	}
	return err
}

// become goes on as Python, with the program named in args. It returns only if that fails.
func become(interpreter string, module bool, args []string) error {
	argv := []string{interpreter}
	if module {
		argv = append(argv, "-m")
	}
	argv = append(argv, args...)
	err := syscall.Exec(interpreter, argv, os.Environ()) //nolint:gosec // running what the user names is what the command is for
	return fmt.Errorf("starting %s: %w", interpreter, err)
}
