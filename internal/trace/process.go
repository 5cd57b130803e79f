package trace

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/bill"
)

// proc is a process that told something, or of which its parent did.
type proc struct {
	pid, parent int
	name        string
	worker      bool
	connections int

	started int64 // when its parent began to start it
	hello   int64 // when the listening in it began
	named   int64 // when it was ready to do what it was started for
	ready   int64 // when it first waited for a task
	last    int64 // when it last told something
	ended   int64
	bye     bool
	ending  syscall.Signal // that its parent sent
	status  *int64         // exit status, or a signal's number below 0

	encode, decode bill.Tally
	lines          map[lineKey]*line
	order          []*line
	tasks          int64
	running        int64
	coding         int64 // of tasks and results
	memory         int64
	open           map[taskKey]*reception // tasks that it has loaded, and not answered
}

// taskKey names a task within a process. It is no key over all, as several pools may use the same numbers.
type taskKey struct {
	job   uint64
	index int64
}

const (
	maxProcesses = 20_000
	maxOpen      = 10_000 // tasks that a worker loaded and didn't answer
)

// process returns the process of a number, the latest if there were several. It is made if there is none.
func (a *account) process(pid int) *proc {
	if p := a.latest[pid]; p != nil {
		return p
	}
	return a.another(pid)
}

// another makes a process. If there have been very many, the last ones share one.
func (a *account) another(pid int) *proc {
	if a.latest == nil {
		a.latest = make(map[int]*proc)
	}
	if n := len(a.processes); n >= maxProcesses {
		return a.processes[n-1]
	}
	p := &proc{pid: pid}
	a.processes = append(a.processes, p)
	a.latest[pid] = p
	return p
}

// hear takes up a process that has connected. It is another than the one of that number before, if it began later and
// the other has ended.
func (a *account) hear(pid, parent int, began int64) *proc {
	p := a.process(pid)
	if p.hello != 0 && p.hello != began && p.connections == 0 {
		p = a.another(pid)
	}
	p.hello, p.parent = began, parent
	p.ended = 0
	p.connections++
	return p
}

// leave notes that a connection of a process has ended.
func (a *account) leave(p *proc, moment int64) {
	if p.connections--; p.connections > 0 {
		return
	}
	p.ended = moment
	for _, r := range p.open {
		r.then(func(s *sending) {
			if s.chunk != nil && s.chunk.Lost == "" {
				s.chunk.Lost = "the worker ended before it answered"
			}
		})
	}
	p.open = nil
}

// apply takes up what a process tells of itself and of others.
func (a *account) apply(p *proc, f *frame) {
	p.last = max(p.last, f.begin+f.time)
	p.memory = max(p.memory, f.memory<<10)
	switch f.op {
	case opName:
		p.name, p.worker = f.string(0), f.kind == 1
		p.named = f.begin
	case opReady:
		p.ready = f.begin
	case opBye:
		p.bye = true
	case opStarted:
		child := a.process(int(f.job))
		child.started = f.begin
		child.worker = child.worker || f.kind == 1
		if child.name == "" {
			child.name = f.string(0)
		}
	case opExited:
		child := a.process(int(f.job))
		status := f.index
		child.status = &status
	case opSignalled:
		a.process(int(f.job)).ending = syscall.Signal(f.index)
	case opPool:
		a.workers += int64(min(f.job, maxProcesses))
	case opHello, opDumps, opLoads, opEnd: // not of a process
	}
}

// died tells whether a process ended without having been meant to, and how.
func (p *proc) died() (how string, died bool) {
	switch {
	case p.status != nil && *p.status < 0 && syscall.Signal(-*p.status) == p.ending:
		return "", false
	case p.status != nil && *p.status < 0:
		return unix.SignalName(syscall.Signal(-*p.status)), true
	case p.status != nil && *p.status > 0:
		return fmt.Sprintf("exit status %d", *p.status), true
	case p.status != nil || p.bye || p.ending != 0 || p.ended == 0:
		return "", false
	}
	return "", true
}

// title is what the bill calls the process.
func (p *proc) title(root int) string {
	switch {
	case p.pid == root:
		return "parent"
	case p.name != "":
		return p.name
	}
	return "process"
}

// row is the process as the bill has it, at a moment at the end of it.
func (p *proc) row(a *account, root int, now int64) bill.Process {
	row := bill.Process{
		Name: p.title(root), PID: p.pid, Ended: p.ended != 0, Encode: p.encode, Decode: p.decode, Tasks: p.tasks,
		PeakMemory: p.memory, Lines: rows(p.order),
	}
	began := p.hello
	if p.started != 0 && p.started < began {
		began = p.started
	}
	row.Began = max(0, began-a.origin)
	if !p.worker || p.named == 0 {
		return row
	}
	end := now
	if p.ended != 0 {
		end = p.ended
	}
	ready := p.ready
	if ready == 0 {
		ready = max(p.named, p.last)
	}
	row.Starting = max(0, p.named-began)
	row.Initialising = max(0, ready-p.named)
	row.Running = p.running
	row.Working = p.running + p.coding
	row.Waiting = max(0, end-ready-row.Working)
	return row
}

// events are those of the process, in order.
func (p *proc) events(a *account, root int) []bill.Event {
	at := func(moment int64, kind, text string) bill.Event {
		return bill.Event{Time: max(0, moment-a.origin), PID: p.pid, Kind: kind, Text: text}
	}
	var list []bill.Event
	began := p.hello
	if p.started != 0 {
		began = p.started
	}
	if p.pid != root && began != 0 {
		list = append(list, at(began, "started", p.name))
	}
	if p.ready != 0 {
		list = append(list, at(p.ready, "ready", ""))
	}
	if p.ended == 0 {
		return list
	}
	switch how, died := p.died(); {
	case died:
		list = append(list, at(p.ended, "died", how))
	case p.ending != 0:
		list = append(list, at(p.ended, "ended", "terminated by its parent"))
	default:
		list = append(list, at(p.ended, "ended", ""))
	}
	return list
}
