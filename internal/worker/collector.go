package worker

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// Large arguments are garbage when their task is over, and the heap of a worker that has little else is small: then the
// collector would run every few tasks, at the cost of several of them (docs/RATIONALE.md). So a worker that is sent large
// arguments lets gather bytes of garbage, or one argument, come together first. A heap that is larger than that anyhow is
// collected as ever, and so is one with a cap on its memory, or for which the program sets GOGC or a limit.
const gather = 32 << 20

// gatherFrom is the size in bytes from which an argument counts as large here.
const gatherFrom = 16 << 10

// collector keeps the collector's goal up.
type collector struct {
	off   bool
	floor atomic.Uint64 // the goal, in bytes
	last  atomic.Uint64 // the percentage that was set here
}

func (g *collector) init(capped bool) {
	_, set := os.LookupEnv("GOGC")
	g.off = set || capped
}

// argument tells of the size of an argument that came in the arena.
func (g *collector) argument(n int) {
	floor := max(gather, uint64(n))
	was := g.floor.Load()
	if g.off || n < gatherFrom || floor <= was {
		return
	}
	first := was == 0
	g.floor.Store(floor)
	g.set()
	if first {
		g.again()
	}
}

// again looks at the heap after each collection.
func (g *collector) again() {
	runtime.AddCleanup(new([16]byte), func(g *collector) {
		g.set()
		g.again()
	}, g)
}

// set makes the percentage that of which the goal is the floor, and no less than the usual one.
func (g *collector) set() {
	const usual, small = 100, 4 << 20
	now := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/gogc:percent"}, {Name: "/gc/gomemlimit:bytes"}}
	metrics.Read(now)
	if p := now[1].Value.Uint64(); p != max(usual, g.last.Load()) || now[2].Value.Uint64() != math.MaxInt64 {
		return // the program sees to it itself
	}
	percent := max(usual, 100*g.floor.Load()/max(now[0].Value.Uint64(), small))
	g.last.Store(percent)
	debug.SetGCPercent(int(percent))
}
