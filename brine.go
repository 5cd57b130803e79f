// Package brine runs Go functions in a pool of worker processes that keep state.
//
// A worker is this same program, started again. What its initializer returns, the worker state, is the receiver of
// the methods that are its tasks; it never crosses a process boundary, so it may hold connections, caches and C
// handles. Arguments and results cross; what does not change is sent once. A task that panics, hangs, crashes its
// process or runs out of memory is an error of that task alone, with an account of what happened where.
//
//	type Converter struct{ cache map[int]string }
//
//	func open(ctx context.Context, size int) (*Converter, error)                 { … }
//	func (v *Converter) Convert(ctx context.Context, n int) (string, error)      { … }
//
//	var (
//		converter = brine.Define(open)                               // once per worker
//		convert   = brine.Method(converter, (*Converter).Convert)    // a task
//	)
//
//	func main() {
//		brine.Main() // in a worker it never returns
//		pool, err := brine.Open(ctx, converter, 1<<20, nil)
//		…
//		defer pool.Close()
//		out, err := brine.Map(ctx, pool, convert, numbers)
//	}
//
// Kinds and functions are registered in package variables, so that they exist in the worker too. Everything before
// Main, package initialization included, also runs in every worker.
//
// # What can cross
//
// Configurations, arguments and results may be made of all numbers, bool, string, slices, arrays, maps, structs and
// pointers (nil, shared inside one value, and cyclic ones), time.Time, types with MarshalBinary and UnmarshalBinary or
// their gob counterparts, and interfaces that hold a basic type or one given to RegisterType. chan, func and
// unsafe.Pointer can't; Open says where in a type they are. A field that is not exported must say what is to become of
// it, by a tag: `brine:"send"` or `brine:"-"`; the latter leaves any field out. What crosses is a copy: a task may keep
// and change its argument.
package brine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/worker"
)

// maxDepth is how many pools may be nested in one another, so that a task which opens a pool for itself ends.
const maxDepth = 3

// begun is set once Main has been called: from then on the program may open pools, and register nothing.
var begun atomic.Bool

// Main makes this program able to be a worker. Call it first thing in main, and in TestMain before m.Run:
//
//	func TestMain(m *testing.M) { brine.Main(); os.Exit(m.Run()) }
//
// In a worker, Main serves the pool and does not return. Elsewhere it returns at once. Calling it again does nothing.
func Main() {
	if begun.Load() {
		return
	}
	if os.Getenv(engine.Marker) != "" {
		// At once, so that no child of this worker takes itself for one.
		_ = os.Unsetenv(engine.Marker)
		begun.Store(true)
		worker.Main(registry{}, build())
	}
	begun.Store(true)
}

// depth returns how many pools this process is nested in.
func depth() int {
	n, err := strconv.Atoi(os.Getenv(engine.Depth))
	if err != nil {
		return 0
	}
	return n
}

// build identifies the program that runs: parent and worker must be the same. The executable is looked at through the
// running process where the system allows it, so that a binary that was replaced meanwhile is no other build.
var build = sync.OnceValue(func() string {
	path, err := executable()
	if err != nil {
		return runtime.Version()
	}
	st, err := os.Stat(path)
	if err != nil {
		return runtime.Version()
	}
	return fmt.Sprintf("%s %s/%s %d bytes of %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, st.Size(), st.ModTime().UTC().Format("2006-01-02T15:04:05.999999999"))
})

func executable() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}
