package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/brinepool/brine/internal/bill"
)

const (
	hostile = "</script><img src=x onerror=\"document.title='struck'\">"
	million = 1 << 20

	ms = 1_000_000 // nanoseconds
)

// story makes a bill as a pool fills it in: a chunk after the other, which the parent encodes in turn.
type story struct {
	bill.Bill
	r    *rand.Rand
	free map[int]int64 // when each worker has nothing to do any more
}

// cacheDocument is the case that a bill is for: a bound method drags a dict of a million entries along, to 8 workers in
// 288 chunks, one of which is lost with its worker. The same without the dict is in a second bill, of many chunks.
func cacheDocument() *bill.Document {
	slow := story{r: rand.New(rand.NewPCG(1, 2)), free: make(map[int]int64)}
	slow.Name, slow.Language = "multiprocessing.Pool", "python"
	slow.pool(8, 120*ms, 0)
	const object = 26_934_000
	slow.run("IntToBitarrayConverter.convert", "convert.py:31", 288, 3472, object+11_000, 1_400_000, func() [5]int64 {
		return [5]int64{slow.about(104 * ms), slow.about(9 * ms), slow.about(88 * ms), slow.about(14 * ms), slow.about(21 * ms)}
	})
	slow.Lines = []bill.Line{
		slow.line("IntToBitarrayConverter.convert", bill.Function, "convert.py:31", 289, object, ".bitstring_cache"),
		slow.line("IntToBitarrayConverter.convert", bill.Argument, "convert.py:31", 289, 11_000, ""),
		slow.line("IntToBitarrayConverter.convert", bill.Result, "", 288, 1_400_000, ""),
		slow.line("<lambda>", bill.Message, "convert.py:12", 40, 312, ""),
		slow.line(hostile, bill.Message, "", 1, 99, ""),
	}
	slow.Parts = cacheParts()
	slow.Repeats = []bill.Repeat{{
		Function: "IntToBitarrayConverter.convert", Class: bill.Function, Site: "convert.py:31", Path: "self.bitstring_cache", Bytes: object, Count: 289,
	}}
	slow.Changes = []bill.Change{{
		Function: "IntToBitarrayConverter.convert", Class: bill.Function, Site: "convert.py:31", Path: "self.hits", Count: 289, Versions: 3, Text: "{} and then {'a': 1}",
	}}
	slow.Instead = "`brine run convert.py` would have sent the converter 8 times in place of 289, and with fork not at all: 215.5 MB in place of 7.78 GB."
	slow.Advice = []string{
		"The same self.bitstring_cache in the function of IntToBitarrayConverter.convert at convert.py:31 (26.9 MB) went out 289 times: 7.78 GB. " +
			"Give it to the workers once, by an initializer that returns it (`expect_initret=True`): then it crosses once.",
		"The workers waited for 84.9 % of their time, while the parent spent 30.2 s of 30.5 s encoding: it is the parent that can't keep up.",
		"1 worker died, and 3,472 tasks were run again; the errors of their tasks say what of.",
	}

	fast := story{r: rand.New(rand.NewPCG(3, 4)), free: make(map[int]int64)}
	fast.Name, fast.Language = "example.com/convert/internal/work.Converter", "go"
	fast.pool(8, 30*ms, 260*ms)
	fast.run("example.com/convert/internal/work.Convert", "", 6000, 174, 700, 70_000, func() [5]int64 {
		return [5]int64{fast.about(8_000), fast.about(30_000), fast.about(40_000), fast.about(2 * ms), fast.about(100_000)}
	})
	fast.Lines = []bill.Line{
		fast.line("example.com/convert/internal/work.Convert", bill.Argument, "", 6000, 700, ""),
		fast.line("example.com/convert/internal/work.Convert", bill.Result, "", 6000, 70_000, ""),
	}
	fast.Dropped = 1200
	fast.Advice = []string{"Nothing stands out: 424.2 MB crossed, and the functions of tasks ran for 85.1 % of the workers' time."}
	return &bill.Document{
		Version: bill.Version, Program: []string{"python", "convert.py", "--cache", "1048576"}, Source: "trace", Bills: []bill.Bill{slow.Bill, fast.Bill},
	}
}

// about returns a time that is some percent more or less.
func (s *story) about(n int64) int64 { return int64(float64(n) * (0.85 + 0.3*s.r.Float64())) }

func (s *story) pool(workers int, starting, initialising int64) {
	s.Processes = []bill.Process{{Name: "parent", PID: 4700}}
	s.Counts.Workers = int64(workers)
	for i := range workers {
		s.worker(4711+i, int64(i)*8*ms, s.about(starting), s.about(initialising)*min(initialising, 1))
	}
}

func (s *story) worker(pid int, at, starting, initialising int64) {
	s.Counts.Started++
	s.Processes = append(s.Processes, bill.Process{
		Name: "worker", PID: pid, Began: at, Starting: starting, Initialising: initialising, PeakMemory: s.about(310_000_000),
	})
	s.free[pid] = at + starting + initialising
	s.Events = append(s.Events, bill.Event{Time: at, PID: pid, Kind: "started"}, bill.Event{Time: s.free[pid], PID: pid, Kind: "ready"})
}

// run sends chunks to whichever worker is free first. times are of encode, send, decode, run and reencode.
func (s *story) run(function, site string, chunks, tasks int, there, back int64, times func() [5]int64) {
	parent := int64(150 * ms)
	for i := range chunks {
		t := times()
		worker := s.first()
		begin := max(parent, s.free[worker]-t[0])
		c := bill.Chunk{ID: int64(i + 1), Function: function, Site: site, Parent: 4700, Worker: worker, Tasks: int64(tasks), Bytes: there, Results: back}
		c.Encode = bill.Span{Begin: begin, Time: t[0]}
		parent = begin + t[0]
		c.Send = bill.Span{Begin: parent, Time: max(t[1], s.free[worker]-parent)}
		c.Decode = bill.Span{Begin: c.Send.Begin + c.Send.Time, Time: t[2]}
		c.Run = bill.Span{Begin: c.Decode.Begin + t[2], Time: t[3]}
		p := s.process(worker)
		s.Processes[0].Encode = plus(s.Processes[0].Encode, there, t[0])
		p.Decode = plus(p.Decode, there, t[2])
		if worker == 4713 && i > 110 && chunks < 1000 {
			s.die(&c, p)
			s.Chunks = append(s.Chunks, c)
			continue
		}
		c.Reencode = bill.Span{Begin: c.Run.Begin + t[3], Time: t[4]}
		s.free[worker] = c.Reencode.Begin + t[4]
		c.Back = bill.Span{Begin: s.free[worker], Time: s.about(t[1])}
		p.Encode = plus(p.Encode, back, t[4])
		s.Processes[0].Decode = plus(s.Processes[0].Decode, back, t[4]/8)
		p.Tasks += int64(tasks)
		p.Running += t[3]
		p.Working += t[2] + t[3] + t[4]
		s.Counts.Done += int64(tasks)
		s.Chunks = append(s.Chunks, c)
		s.Elapsed = max(s.Elapsed, c.Back.Begin+c.Back.Time)
	}
	for i := range s.Processes[1:] {
		p := &s.Processes[i+1]
		if !p.Ended {
			s.Events = append(s.Events, bill.Event{Time: s.Elapsed, PID: p.PID, Kind: "ended"})
		}
		p.Waiting = max(0, s.free[p.PID]-p.Began-p.Starting-p.Initialising-p.Working)
		p.Ended = true
	}
}

// first returns the worker that is free first.
func (s *story) first() int {
	best := 0
	for _, p := range s.Processes[1:] {
		if !p.Ended && (best == 0 || s.free[p.PID] < s.free[best]) {
			best = p.PID
		}
	}
	return best
}

// die ends a worker in the middle of a chunk, and starts another.
func (s *story) die(c *bill.Chunk, p *bill.Process) {
	at := c.Run.Begin + c.Run.Time
	c.Lost = "worker 4713 was killed by signal 9"
	p.Ended = true
	s.free[p.PID] = at
	s.Counts.Deaths, s.Counts.Retried = 1, c.Tasks
	s.Events = append(s.Events, bill.Event{Time: at, PID: p.PID, Kind: "died", Text: "killed by signal 9 (out of memory)"})
	s.worker(4731, at+20*ms, s.about(120*ms), 0)
}

func (s *story) process(pid int) *bill.Process {
	for i := range s.Processes {
		if s.Processes[i].PID == pid {
			return &s.Processes[i]
		}
	}
	panic(fmt.Sprintf("there is no process %d", pid))
}

func (s *story) line(function, class, site string, count, bytes int64, path string) bill.Line {
	encode := bill.Tally{Count: count, Bytes: count * bytes, Time: count * bytes * 4, Max: bytes + 7, MaxPath: path}
	decode := encode
	decode.Time = s.about(decode.Time)
	return bill.Line{Function: function, Class: class, Site: site, Encode: encode, Decode: decode}
}

func plus(t bill.Tally, bytes, time int64) bill.Tally {
	return bill.Tally{Count: t.Count + 1, Bytes: t.Bytes + bytes, Time: t.Time + time, Max: max(t.Max, bytes)}
}

// cacheParts is what the converter consists of, and what the results do.
func cacheParts() []bill.Part {
	cache := bill.Part{Name: ".bitstring_cache", Type: "dict", Entries: million, Bytes: 26_931_200, Own: 1200, Parts: []bill.Part{
		{Name: " values", Type: "str", Count: million, Bytes: 20_970_000},
		{Name: " keys", Type: "int", Count: million, Bytes: 5_960_000},
	}}
	self := bill.Part{Name: "self", Type: "convert.IntToBitarrayConverter", Note: "the bound object", Bytes: 26_933_200, Own: 60, Parts: []bill.Part{
		cache,
		{Name: ".kind", Type: "str", Bytes: 40},
		{Name: ".log", Type: "_io.TextIOWrapper", Bytes: 900, Error: "cannot pickle '_io.TextIOWrapper' instances"},
		{Name: "." + hostile, Type: "str", Note: hostile, Bytes: 1000},
	}}
	convert := bill.Part{Name: "IntToBitarrayConverter.convert function", Type: "method", Bytes: 26_934_000, Own: 800, Parts: []bill.Part{self}}
	results := bill.Part{Name: "IntToBitarrayConverter.convert result", Type: "list", Entries: 3472, Bytes: 1_400_000}
	for i := range 40 {
		n := int64(30_000 - 600*i)
		results.Parts = append(results.Parts, bill.Part{Name: fmt.Sprintf("[%d]", i), Type: "numpy.ndarray", Entries: 20, Bytes: n, Parts: []bill.Part{
			{Name: ".data", Type: "bytes", Bytes: n * 2 / 3}, {Name: ".dtype", Type: "numpy.dtype", Bytes: n / 3, Note: "a reference to what is counted at [0].dtype"},
		}})
	}
	messages := bill.Part{Name: "<lambda> message", Type: "tuple", Bytes: 312_000, Parts: []bill.Part{{Name: "[0]", Type: "str", Bytes: 300_000}}}
	return []bill.Part{convert, results, messages}
}
