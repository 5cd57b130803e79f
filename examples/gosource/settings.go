package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

// settings are what the command line says.
type settings struct {
	dir       string
	workers   int
	timeout   time.Duration
	memory    int64 // MiB
	inject    string
	injectAt  string
	inProcess bool
	verbose   bool
}

func parseSettings(args []string, stderr io.Writer) (settings, error) {
	var s settings
	ways := strings.Join(slices.Sorted(maps.Keys(injections)), ", ")
	f := flag.NewFlagSet("gosource", flag.ContinueOnError)
	f.SetOutput(io.Discard) // the caller prints the error
	f.IntVar(&s.workers, "workers", runtime.GOMAXPROCS(0), "`number` of worker processes")
	f.DurationVar(&s.timeout, "timeout", 5*time.Second, "the most time that one file may take, 0 for any")
	f.Int64Var(&s.memory, "memory", 1024, "the most memory that one worker may have, in `MiB`, 0 for any")
	f.StringVar(&s.inject, "inject", "", "the `way` in which the worker of one file dies: "+ways)
	f.StringVar(&s.injectAt, "inject-at", "", "the `file` at which it dies, by path or end of path; default: the middle one")
	f.BoolVar(&s.inProcess, "inprocess", false, "parse in goroutines of this process, for comparison; -timeout and -memory don't work there")
	f.BoolVar(&s.verbose, "v", false, "list files that don't parse, and show stacks whole")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: gosource [flags] directory\n\nParses every Go file under the directory in worker processes.")
		f.SetOutput(stderr)
		f.PrintDefaults()
		return s, err
	case err != nil:
		return s, err
	case f.NArg() == 0:
		return s, errors.New("which directory? usage: gosource [flags] directory, as in: gosource $(go env GOROOT)/src")
	case f.NArg() > 1:
		return s, fmt.Errorf("one directory, please: %q are left (flags go before it)", f.Args()[1:])
	case s.workers < 1:
		return s, fmt.Errorf("-workers is %d: at least 1 is needed", s.workers)
	case s.timeout < 0 || s.memory < 0:
		return s, errors.New("-timeout and -memory can't be negative")
	case s.inject != "" && injections[s.inject] == nil:
		return s, fmt.Errorf("-inject %q is none of %s", s.inject, ways)
	case s.inject == "" && s.injectAt != "":
		return s, errors.New("-inject-at needs -inject")
	case s.inject == "oom" && s.memory == 0:
		return s, errors.New("-inject oom needs a -memory other than 0, or it takes all that the machine has")
	case s.inject == "loop" && s.timeout == 0:
		return s, errors.New("-inject loop needs a -timeout other than 0, or it never ends")
	}
	s.dir = f.Arg(0)
	return s, nil
}

// victim finds the file that is to kill its worker.
func (s settings) victim(files []string) (string, error) {
	if s.injectAt == "" {
		return files[len(files)/2], nil
	}
	for _, name := range files {
		if name == s.injectAt || strings.HasSuffix(name, "/"+s.injectAt) {
			return name, nil
		}
	}
	return "", fmt.Errorf("-inject-at %s: no such file among the %d Go files of %s", s.injectAt, len(files), s.dir)
}
