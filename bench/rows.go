package main

import (
	"fmt"
	"math"
	"time"

	"github.com/brinepool/brine/bench/internal/entrant"
	"github.com/brinepool/brine/bench/internal/start"
)

// inFlight is the number of goroutines that call at once in call/64.
const inFlight = 64

// rows are the comparisons, in the order of the table. The bars are those of the project's first issue, item 6.
func rows(c entrant.Config) []row {
	return []row{
		{
			name:     "call/int",
			entrants: []string{"call/brine", "call/pipes", "call/goplugin", "call/netrpc"},
			lines: []line{
				{unit: "µs", ours: ref{"call/brine", 0}, theirs: ref{"call/pipes", 0}, peer: "two pipes, 64 bytes", bar: atMost(3)},
				{unit: "µs", ours: ref{"call/brine", 0}, theirs: ref{"call/goplugin", 0}, peer: "go-plugin gRPC", inverse: true, bar: atLeast(5)},
				{unit: "µs", ours: ref{"call/brine", 0}, theirs: ref{"call/netrpc", 0}, peer: "net/rpc unix", inverse: true, bar: atLeast(3)},
			},
		},
		{
			name:     "call/64",
			entrants: []string{"call64/brine", "call64/goplugin", "call64/netrpc"},
			lines: []line{
				{unit: "k/s", ours: ref{"call64/brine", 0}, theirs: ref{"call64/goplugin", 0}, peer: "go-plugin gRPC", bar: atLeast(10)},
				{unit: "k/s", ours: ref{"call64/brine", 0}, theirs: ref{"call64/netrpc", 0}, peer: "net/rpc unix"},
			},
		},
		{
			name:     "map/1M",
			entrants: []string{"map/brine", "map/loop"},
			lines: []line{
				{unit: "M/s", ours: ref{"map/brine", 0}, theirs: ref{"map/loop", 0}, peer: "loop in process", bar: valueAtLeast(10)},
			},
		},
		{
			name:     "codec/1000",
			entrants: []string{"codec"},
			start:    startCodec,
			timeout:  3 * time.Minute, // compiles a test binary first
			lines: []line{
				{unit: "µs", ours: ref{"codec", 0}, theirs: ref{"codec", 1}, peer: "gob, one stream", bar: atMost(0.4)},
			},
		},
		startRow("start", inThisProgram),
		startRow("start/lean", inLean),
		makespanRow("makespan/1ms", "equal", "burn", atMost(1.05)),
		makespanRow("makespan/1ms/sleep", "equal", "sleep", atMost(1.05)),
		makespanRow("makespan/pareto", "pareto", "burn", atMost(1.10)),
		makespanRow("makespan/pareto/sleep", "pareto", "sleep", atMost(1.10)),
		growthRow(c),
		memoryRow(c),
		payloadRow(64<<10, bar{}),
		floorsRow(256 << 10),
		payloadRow(1<<20, bar{}),
		floorsRow(8 << 20),
		payloadRow(64<<20, atLeast(10)),
		sweepRow(),
		fixedRow(c),
	}
}

// entrants are the makers by the names that rows use.
func entrants() map[string]entrant.Maker {
	all := map[string]entrant.Maker{
		"call/brine":    brineCall(1, 1),
		"call/pipes":    floorEcho(64),
		"call/goplugin": gopluginCall(1),
		"call/netrpc":   netrpcCall(1),

		"call64/brine":    brineCall(inFlight, 2),
		"call64/goplugin": gopluginCall(inFlight),
		"call64/netrpc":   netrpcCall(inFlight),

		"map/brine": brineMapRate(1e6),
		"map/loop":  loopMapRate(1e6),

		"start/brine":  start.Brine,
		"start/call":   start.BrineCall,
		"start/reexec": start.Reexec,

		"growth/brine": brineGrowth,
		"growth/loop":  loopGrowth,
	}
	for _, tasks := range []string{"equal", "pareto"} {
		for _, kind := range []string{"burn", "sleep"} {
			all["makespan/"+tasks+"/"+kind+"/brine"] = brineMakespan(tasks, kind)
		}
		all["makespan/"+tasks+"/goroutines"] = goroutineMakespan(tasks)
	}
	for _, n := range streamSizes(entrant.Config{}) {
		all[streamName(n)] = brineStream(n)
	}
	payloadEntrants(all)
	fixedEntrants(all)
	return all
}

// startRow compares Open with a bare start of the same program; in it the first call as well, to see that Open hides nothing.
func startRow(name string, in starter) row {
	return row{
		name:     name,
		start:    in,
		timeout:  3 * time.Minute, // may compile first
		entrants: []string{"start/brine", "start/reexec", "start/call"},
		lines: []line{
			{unit: "ms", ours: ref{"start/brine", 0}, theirs: ref{"start/reexec", 0}, peer: "bare re-exec", bar: atMost(2)},
			{name: name + "/call", unit: "ms", ours: ref{"start/call", 0}, theirs: ref{"start/reexec", 0}, peer: "bare re-exec"},
		},
	}
}

// makespanRow compares the time of a Map with the ideal of the same run and, where the tasks compute, how far from its ideal it was with
// goroutines, which meet the same noise and have nothing to wait for. Tasks that sleep meet little noise: they need no such control and
// fewer rounds.
func makespanRow(name, tasks, kind string, b bar) row {
	brine := "makespan/" + tasks + "/" + kind + "/brine"
	r := row{
		name:     name,
		entrants: []string{brine},
		lines: []line{
			{unit: "ms", ours: ref{brine, 0}, theirs: ref{brine, 1}, peer: "ideal of the same run", bar: b},
		},
	}
	if kind == "sleep" {
		r.rounds = 3
		return r
	}
	goroutines := "makespan/" + tasks + "/goroutines"
	r.entrants = append(r.entrants, goroutines)
	r.lines = append(r.lines, line{
		name: name + "/excess", unit: "x", ours: ref{brine, 2}, theirs: ref{goroutines, 2}, peer: "goroutines",
	})
	return r
}

// growthRow holds the cost of a task at each length against that at the shortest.
func growthRow(c entrant.Config) row {
	r := row{name: "cost/growth", entrants: []string{"growth/brine", "growth/loop"}}
	sizes := growthSizes(c)
	for i, n := range sizes {
		l := line{
			name: "cost/growth/" + power(n), unit: "ns/task",
			ours: ref{"growth/brine", i}, theirs: ref{"growth/brine", 0}, peer: "at " + power(sizes[0]),
		}
		if i > 0 {
			l.bar = atMost(1.1)
		}
		r.lines = append(r.lines, l)
	}
	return r
}

// memoryRow holds the parent's peak memory at each length of a stream against that at the shortest.
func memoryRow(c entrant.Config) row {
	sizes := streamSizes(c)
	r := row{name: "stream/memory", start: fresh(inThisProgram), rounds: 2, timeout: 2 * time.Minute}
	first := streamName(sizes[0])
	for i, n := range sizes {
		r.entrants = append(r.entrants, streamName(n))
		if i == 0 {
			continue
		}
		peer := "at " + power(sizes[0])
		r.lines = append(
			r.lines,
			line{
				name: "stream/memory/rss/" + power(n), unit: "MB",
				ours: ref{streamName(n), 0}, theirs: ref{first, 0}, peer: peer, bar: atMost(1.25),
			},
			line{
				name: "stream/memory/heap/" + power(n), unit: "MB",
				ours: ref{streamName(n), 1}, theirs: ref{first, 1}, peer: peer, bar: atMost(1.25),
			},
		)
	}
	return r
}

func streamName(n int) string { return fmt.Sprintf("stream/%d/brine", n) }

// power writes a power of ten as one.
func power(n int) string { return fmt.Sprintf("10^%.0f", math.Log10(float64(n))) }
