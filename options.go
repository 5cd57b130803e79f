package brine

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/brinepool/brine/internal/shm"
)

const (
	defaultGrace    = time.Second
	inFlightPerTask = 1024 // default of InFlight, for each worker
	arenaShare      = 8    // the part of the memory there is that arenas may take: one in so many
)

// Options say how a pool is set up. Nil, and the zero value of every field, stand for the defaults.
type Options struct {
	// Workers is the number of worker processes. Default: runtime.GOMAXPROCS(0), and 1 in a pool that is opened inside
	// another pool's worker.
	Workers int
	// MaxTasks is how many tasks a worker runs before it is replaced by a new one. Default: any number.
	MaxTasks int
	// MaxMemory caps the memory of each worker in bytes, hard, by RLIMIT_DATA: an allocation beyond it ends the worker,
	// and its task with a CrashError. It counts private writable memory, what C maps included, and no shared memory. The Go runtime asks for
	// memory in portions of 64 MiB, so that a cap of 100 MiB leaves room for about 50 MiB of data, and one below 16 MiB is
	// an error. The worker's collector is told to keep to three quarters of the cap. Default: no cap.
	MaxMemory int64
	// InFlight bounds the elements that All and Unordered have pulled from their sequence and not yet yielded, and the
	// results of Each that wait for use.
	// Default: 1024 for each worker.
	InFlight int
	// ArenaMemory bounds the shared memory, in bytes, in which arguments and results of 4 KB and more travel. It is
	// divided evenly among the workers and both directions, taken as it is needed, and given back when it has not been for a
	// while. What doesn't fit travels through the pipes, which is slower. Default: an eighth of the machine's memory, or
	// of what the program's control group may have. Where there are no arenas, as on macOS, it has no effect.
	ArenaMemory int64
	// Grace is how long a task that was told to stop, for its time is up or its context done, may take to return before
	// its worker is ended. It also bounds how long the workers may take to close their states. Default: 1 s.
	Grace time.Duration
	// Stdout and Stderr receive what the workers print. Writes come from several goroutines, one at a time; one that
	// blocks for ever holds up the workers, and Close. Default: the program's own. The end of standard error is also kept
	// for the report on a worker's death.
	Stdout, Stderr io.Writer
	// Logger is told of workers that could not be replaced and of callbacks that panicked. Default: slog.Default().
	Logger *slog.Logger
	// Env is the workers' environment, as in os/exec. Default: the program's own.
	Env []string
	// Codec turns values into bytes. Default: the compiled one. One of the program's own must be passed to
	// RegisterCodec.
	Codec Codec
}

// minMemory is what a Go process without any data of its own needs.
const minMemory = 16 << 20

// filled returns the options with the defaults in place, or what is wrong with them.
func (o *Options) filled() (Options, error) {
	var f Options
	if o != nil {
		f = *o
	}
	for _, n := range []struct {
		name  string
		value int64
		zero  string
	}{
		{"Workers", int64(f.Workers), "one for each processor"},
		{"MaxTasks", int64(f.MaxTasks), "no limit"},
		{"MaxMemory", f.MaxMemory, "no cap"},
		{"ArenaMemory", f.ArenaMemory, "an eighth of the machine's memory"},
		{"InFlight", int64(f.InFlight), "1024 for each worker"},
		{"Grace", int64(f.Grace), "one second"},
	} {
		if n.value < 0 {
			return f, fmt.Errorf("brine: Options.%s is %d: it can't be negative, 0 means %s", n.name, n.value, n.zero)
		}
	}
	if f.MaxMemory > 0 && f.MaxMemory < minMemory {
		return f, fmt.Errorf("brine: Options.MaxMemory is %d bytes: a worker needs at least %d (16 MiB)", f.MaxMemory, minMemory)
	}
	if f.MaxMemory > 0 && f.MaxMemory < raceMemory {
		return f, fmt.Errorf("brine: Options.MaxMemory is %d bytes: under the race detector a worker needs at least %d (1 GiB)", f.MaxMemory, raceMemory)
	}
	if f.Workers == 0 {
		f.Workers = runtime.GOMAXPROCS(0)
		if depth() > 0 {
			f.Workers = 1
		}
	}
	if f.InFlight == 0 {
		f.InFlight = inFlightPerTask * f.Workers
	}
	if f.ArenaMemory == 0 {
		f.ArenaMemory = shm.Total() / arenaShare
	}
	if f.Grace == 0 {
		f.Grace = defaultGrace
	}
	if f.Logger == nil {
		f.Logger = slog.Default()
	}
	if f.Env == nil {
		f.Env = os.Environ()
	}
	f.Env = slices.Clone(f.Env)
	if !slices.ContainsFunc(f.Env, func(s string) bool { return strings.HasPrefix(s, "GORACE=") }) {
		f.Env = append(f.Env, raceEnv...)
	}
	return f, nil
}
