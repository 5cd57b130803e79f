package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/brinepool/brine/python"
)

// runOptions are the flags of `brine run`.
type runOptions struct {
	python string
	module bool
	report report
}

// report says how the bills are wanted, if they are. Files are named by their paths.
type report struct {
	Text     bool   `json:"text"`
	JSON     string `json:"json,omitempty"`
	HTML     string `json:"html,omitempty"`
	Timeline string `json:"timeline,omitempty"`
}

// flags adds the flags that say what to write besides the text. where is what --json without a file stands for.
func (r *report) flags(flags *pflag.FlagSet, where string) {
	flags.StringVar(&r.JSON, "json", "", "write what crossed as JSON, with --json=FILE to a file, else to "+where)
	flags.Lookup("json").NoOptDefVal = "-"
	flags.StringVar(&r.HTML, "html", "", "write it to this file as a page, with pictures")
	flags.StringVar(&r.Timeline, "timeline", "", "write what happened when to this file, for ui.perfetto.dev")
}

func runCommand() *cobra.Command {
	var options runOptions
	cmd := &cobra.Command{
		Use:   "run [flags] script.py [args]",
		Short: "Run a Python program with Brine's pool in the place of multiprocessing's",
		Long: `Run a Python program, unchanged, with Brine's pool in the place of multiprocessing's.

In the program and in all Python processes that it starts, multiprocessing.Pool,
multiprocessing.pool.Pool and the Pool of every context are Brine's. The Python
package is in this program and needs no installation. Python takes this process
over, so output, exit status and signals are the program's own.`,
		Example: `  brine run script.py --its-own-flag
  brine run --report --html bill.html script.py
  brine run --python python3.13 -m package.module`,
		RunE: func(_ *cobra.Command, args []string) error {
			return run(options, args)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the script is the script's
	flags.BoolVarP(&options.module, "module", "m", false, "run a module, whose name comes next, as python -m does")
	flags.BoolVar(&options.report.Text, "report", false, "print what crossed in each pool to standard error at exit")
	options.report.flags(flags, "standard error")
	flags.StringVar(&options.python, "python", "python3", "the Python to run it with: 3.9 or newer")
	return cmd
}

// run becomes Python, with the program named in args. It returns only if that fails.
func run(options runOptions, args []string) error {
	if err := checkProgram(options.module, args); err != nil {
		return err
	}
	interpreter, err := findPython(options.python)
	if err != nil {
		return err
	}
	if err := prepare(options.report); err != nil {
		return err
	}
	return become(interpreter, options.module, args)
}

// checkProgram errs if there is no program to run. Python would say so too, but in its own words.
func checkProgram(module bool, args []string) error {
	switch {
	case len(args) == 0 && module:
		return errors.New("which module? Its name comes after -m")
	case len(args) == 0:
		return errors.New("which program? Name a script, or a module with -m")
	case module || args[0] == "-": // Python looks for the module; a hyphen is standard input
		return nil
	}
	_, err := os.Stat(args[0])
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no script %s", args[0])
	}
	if err != nil {
		return fmt.Errorf("the script: %w", err)
	}
	return nil
}

// findPython returns the path of an interpreter.
func findPython(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("no Python: %w; --python names another", err)
	}
	return path, nil
}

// prependPath puts a directory first on the path on which Python looks for modules.
func prependPath(dir string) error {
	if old := os.Getenv("PYTHONPATH"); old != "" {
		dir += string(filepath.ListSeparator) + old
	}
	return os.Setenv("PYTHONPATH", dir)
}

// prepare changes the environment so that Python uses Brine: its package comes first, and this program is its engine.
func prepare(wanted report) error {
	site, err := python.Unpack()
	if err != nil {
		return err
	}
	engine, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program, to have it as engine: %w", err)
	}
	err = errors.Join(prependPath(site), os.Setenv("BRINE_ENGINE", engine))
	if wanted == (report{}) {
		return errors.Join(err, os.Unsetenv("BRINE_REPORT"))
	}
	err = errors.Join(err, wanted.makeFiles())
	b, e := json.Marshal(wanted)
	return errors.Join(err, e, os.Setenv("BRINE_REPORT", string(b)))
}

// makeFiles makes the files that are to be written, so that a mistake shows at once and not when the program has ended.
// It completes their paths, for the program may change its directory.
func (r *report) makeFiles() error {
	if r.HTML == "-" || r.Timeline == "-" {
		return errors.New("--html and --timeline need the name of a file")
	}
	if r.JSON == "-" {
		return errors.Join(makeFile(&r.HTML), makeFile(&r.Timeline))
	}
	return errors.Join(makeFile(&r.JSON), makeFile(&r.HTML), makeFile(&r.Timeline))
}

func makeFile(name *string) error {
	if *name == "" {
		return nil
	}
	path, err := filepath.Abs(*name)
	if err != nil {
		return err
	}
	*name = path
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666) //nolint:gosec // with the rights that other files get
	if err != nil {
		return err
	}
	return f.Close()
}
