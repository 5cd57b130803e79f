package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/proc"
	collect "github.com/brinepool/brine/internal/trace"
)

// collecting is what the collector of `brine trace` is told when it is started.
type collecting struct {
	Root      int      `json:"root"` // process id of the program
	Directory string   `json:"directory"`
	Program   []string `json:"program"`
	Output    string   `json:"output,omitempty"`
	Report    report   `json:"report"`
}

// listenerFD is where the collector finds the socket that the program's processes connect to.
const listenerFD = 3

// maxSocket is how long the path of a socket may be: the least of what systems allow.
const maxSocket = 100

// startCollector starts a process that is no child of this one, and returns the path of the socket that it listens on.
func startCollector(options traceOptions, args []string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program, to have it as collector: %w", err)
	}
	directory, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("the working directory: %w", err)
	}
	what := collecting{Root: os.Getpid(), Directory: directory, Program: args, Output: options.output, Report: options.report}
	if err := what.checkFiles(); err != nil {
		return "", err
	}
	message, err := json.Marshal(what)
	if err != nil {
		return "", fmt.Errorf("starting the collector: %w", err)
	}
	l, err := listen()
	if err != nil {
		return "", fmt.Errorf("a socket for the collector: %w", err)
	}
	defer func() { _ = l.Close() }() // the collector has its own
	socket := l.Addr().String()
	f, err := l.File()
	if err == nil {
		err = errors.Join(detach(self, string(message), f), f.Close())
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("starting the collector: %w", err), removeSocket(socket))
	}
	return socket, nil
}

// checkFiles makes the files that are to be written, so that a mistake shows at once and not when the program has ended.
// It completes their paths.
func (c *collecting) checkFiles() error {
	return errors.Join(makeFile(&c.Output), c.Report.makeFiles())
}

// listen makes a socket in a directory of its own, to which nobody else has access.
func listen() (*net.UnixListener, error) {
	dir, err := os.MkdirTemp("", "brine-trace-")
	if err == nil && len(dir)+len("/s") > maxSocket {
		_ = os.Remove(dir)
		dir, err = os.MkdirTemp("/tmp", "brine-trace-")
	}
	if err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	l.SetUnlinkOnClose(false) // the collector goes on with it
	return l, nil
}

func removeSocket(socket string) error {
	err := errors.Join(os.Remove(socket), os.Remove(filepath.Dir(socket)))
	if errors.Is(err, fs.ErrNotExist) { // the program has, when it thought that nobody was there any more
		return nil
	}
	return err
}

// detach starts the collector by way of a process between, which ends at once: the program that this process becomes
// must not have a child that it knows nothing of.
func detach(self, message string, listener *os.File) error {
	between := exec.Command(self, "collect", "--between", message) //nolint:gosec,noctx // this program; it ends by itself
	between.Stderr = os.Stderr
	between.ExtraFiles = []*os.File{listener}
	return between.Run()
}

func collectCommand() *cobra.Command {
	var between bool
	cmd := &cobra.Command{
		Use:    "collect",
		Short:  "Collect what a program says that brine trace has started",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if between {
				return startDetached(args[0])
			}
			var what collecting
			if err := json.Unmarshal([]byte(args[0]), &what); err != nil {
				return errors.New("this command is for brine trace, and not to be run by hand")
			}
			return runCollector(cmd.Context(), &what)
		},
	}
	cmd.Flags().BoolVar(&between, "between", false, "start it, and end")
	return cmd
}

// startDetached starts the collector in a session of its own, and doesn't wait for it.
func startDetached(message string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "collect", message) //nolint:gosec,noctx // this program; it outlives this process
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(listenerFD, "listener")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// runCollector collects until the program has ended, and writes the bill.
func runCollector(ctx context.Context, what *collecting) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	file := os.NewFile(listenerFD, "listener")
	l, err := net.FileListener(file)
	if err != nil {
		return errors.New("descriptor 3 is not a socket: this command is for brine trace, and not to be run by hand")
	}
	if err := file.Close(); err != nil {
		return err
	}
	socket := l.Addr().String()
	ended, err := proc.Await(what.Root)
	if err != nil {
		ended = nil // its connection says it
	}
	r := collect.Collect(ctx, l, collect.Options{Root: what.Root, Ended: ended, Program: what.Program, Directory: what.Directory})
	written := make(chan error, 1)
	go func() { written <- what.write(os.Stderr, r) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.Alive()
		case err := <-written:
			err = errors.Join(err, removeSocket(socket))
			if err != nil {
				fmt.Fprintf(os.Stderr, "brine: the bill: %v\n", err)
			}
			r.Done()
			return nil
		}
	}
}

// write shows the bill in the ways that are wanted, and otherwise says why there is none.
func (c *collecting) write(errs io.Writer, r *collect.Result) error {
	program := strings.Join(c.Program, " ")
	switch {
	case !r.Heard:
		_, err := fmt.Fprintf(errs, "brine: %s was not traced: Python did not load what brine put on its path. With the options -I, -E and -S, it doesn't.\n", program)
		return err
	case !r.Used:
		_, err := fmt.Fprintf(errs, "brine: %s pickled nothing: it started no process by multiprocessing, and sent none anything.\n", program)
		if err != nil {
			return err
		}
	case c.Output != "":
		if err := writeFile(c.Output, r.Document, bill.WriteText); err != nil {
			return err
		}
	case c.Report.JSON == "-" && !c.Report.Text: // that alone can be read by a program
	default:
		if _, err := fmt.Fprintln(errs); err != nil {
			return err
		}
		if err := bill.WriteText(errs, r.Document); err != nil {
			return err
		}
	}
	if c.Report == (report{}) {
		return nil
	}
	return show(errs, r.Document, c.Report)
}
