//go:build linux

package serve

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/engine"
)

func TestNotOpened(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		config, refuse string
		depth          uint32
		cause          engine.Cause
		message        string
		deaths         int
	}{
		{config: "fail no luck", cause: engine.Erred, message: "no luck"},
		{config: "panic no luck", cause: engine.Erred, message: "brine: the initializer of kind panicked: no luck"},
		{config: "die", cause: engine.Crashed, message: "brine: the worker of kind died before it was ready", deaths: 1},
		{depth: maxDepth, cause: engine.Refused, message: "brine: a pool inside a task of a pool inside a task, 3 deep: does a task open a pool for itself?"},
		{refuse: "no more processes", cause: engine.Refused, message: "brine: the worker could not be started: no more processes"},
	} {
		t.Run(test.message, func(t *testing.T) {
			t.Parallel()
			c := connect(t)
			c.mu.Lock()
			c.refuse = test.refuse
			c.mu.Unlock()
			c.begin(1, setting{workers: 3, config: test.config, depth: test.depth})
			c.submit(1, 1, submission{}, "echo a")
			o := c.awaitOpened(1)
			message := o.message
			if test.cause == engine.Erred {
				e, err := codec.DecodeError([]byte(message))
				if err != nil {
					t.Fatal(err)
				}
				message = e.Message
			}
			if o.cause != uint8(test.cause) || message != test.message || len(o.deaths) != test.deaths {
				t.Errorf("opened: %+v", o)
			}
			if o.worker != 0 && !slices.Contains(before(c.events(), "opened 1"), fmt.Sprintf("ended %d", o.worker)) {
				t.Errorf("worker %d: its end comes late: %q", o.worker, c.events())
			}
			if o := c.results(1, 1)[0]; !o.failed || o.cause != uint8(engine.Refused) {
				t.Errorf("a task: %+v", o)
			}
			if err := c.finish(1); err != "" {
				t.Error(err)
			}
		})
	}
}

// TestStartAgain has a replacement die, and another refused, before one is ready.
func TestStartAgain(t *testing.T) {
	t.Parallel()
	c := connect(t)
	file := t.TempDir() + "/once"
	c.open(1, setting{config: "once " + file})
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.submit(1, 1, submission{}, "die")
	if o := c.results(1, 1)[0]; o.cause != uint8(engine.Crashed) {
		t.Errorf("died: %+v", o)
	}
	c.submit(1, 2, submission{}, "echo a")
	c.want(2, "a")
	c.mu.Lock()
	c.refuse = "not now"
	c.mu.Unlock()
	c.submit(1, 3, submission{}, "die")
	c.results(3, 1)
	c.await("a refusal", func() bool {
		return slices.Contains(c.log, "ended 4")
	})
	c.mu.Lock()
	c.refuse = ""
	c.mu.Unlock()
	c.submit(1, 4, submission{}, "echo b")
	c.want(4, "b")
}

func TestBadEnd(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{config: "bad end"})
	if err := c.finish(1); !strings.Contains(err, "bad end") {
		t.Errorf("closed: %q", err)
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{workers: 2})
	c.open(2, setting{})
	c.submit(1, 1, submission{chunk: 1}, "hang", "hang", "echo a", "echo b")
	c.submit(1, 2, submission{more: true}, "echo a")
	c.submit(2, 3, submission{}, "sleep 50")
	c.send(header{typ: typeKill, pool: 1}, nil)
	for i, o := range c.results(1, 4) {
		if !o.failed || o.cause != uint8(engine.Refused) {
			t.Errorf("task %d: %+v", i, o)
		}
	}
	c.awaitClosed(1)
	if log := c.events(); slices.Index(log, "closed 1") < slices.Index(log, "ended 2") {
		t.Errorf("closed comes before the workers' end: %q", log)
	}
	c.extend(2, false, "echo b")
	c.results(2, 2)
	c.want(3, "50")
}

func TestKillWhileOpening(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.begin(1, setting{workers: 3})
	c.send(header{typ: typeKill, pool: 1}, nil)
	c.awaitClosed(1)
	if o := c.awaitOpened(1); o.cause != uint8(engine.Refused) {
		t.Errorf("opened: %+v", o)
	}
}

func TestCloseWhileOpening(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.begin(1, setting{workers: 3})
	c.submit(1, 1, submission{}, "echo a")
	c.send(header{typ: typeClose, pool: 1}, nil)
	c.awaitClosed(1)
	c.want(1, "a")
	if o := c.awaitOpened(1); o.cause != causeNone {
		t.Errorf("opened: %+v", o)
	}
}

// TestClientGone cuts the connection at all sorts of moments: hangUp finds what is left.
func TestClientGone(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(c *client){
		"at once":     func(*client) {},
		"opening":     func(c *client) { c.begin(1, setting{workers: 3}) },
		"idle":        func(c *client) { c.open(1, setting{workers: 3}) },
		"busy":        func(c *client) { c.open(1, setting{}); c.submit(1, 1, submission{}, "hang", "echo") },
		"leased":      func(c *client) { c.open(1, setting{}); c.lease() },
		"half a word": func(c *client) { c.write([]byte{1, 2, 3}) },
		"ended":       func(c *client) { c.open(1, setting{}); c.finish(1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t)
			before(c)
			_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
			<-c.over
			if c.err != nil {
				t.Errorf("it says %v", c.err)
			}
		})
	}
}

// TestStopped ends the engine by its context, as SIGTERM does.
func TestStopped(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{workers: 2})
	c.submit(1, 1, submission{}, "hang")
	c.stop()
	<-c.over
	if c.err != nil {
		t.Errorf("it says %v", c.err)
	}
}

func TestStatistics(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{workers: 2, config: "a configuration"})
	c.submit(1, 1, submission{bound: "twine"}, "echo a", "error b", "echo c")
	c.results(1, 3)
	c.submit(1, 2, submission{}, "die")
	c.results(2, 1)
	var s bill.Bill
	if err := json.Unmarshal([]byte(c.statistics()), &s); err != nil {
		t.Fatal(err)
	}
	if s.Name != "kind" || s.Counts.Workers != 2 || s.Language != "python" || s.Counts.Done != 2 || s.Counts.Failed != 2 || s.Counts.Deaths != 1 || s.Counts.Started < 2 {
		t.Errorf("counts: %+v", s)
	}
	classes := make(map[string]bill.Line)
	for _, l := range s.Lines {
		classes[l.Function+" "+l.Class] = l
	}
	if a := classes["do argument"]; a.Encode.Count != 4 || a.Decode.Count != 3 || a.Encode.Bytes != 22 {
		t.Errorf("arguments: %+v", a)
	}
	if b := classes["do function"]; b.Encode.Count != 1 || b.Encode.Bytes != 4 || b.Decode.Bytes == 0 {
		t.Errorf("bound arguments: %+v", b)
	}
	if r := classes["do result"]; r.Encode.Count != 2 || r.Encode.Bytes != 2 {
		t.Errorf("results: %+v", r)
	}
	tasks, own := int64(0), 0
	for _, p := range s.Processes {
		tasks += p.Tasks
		own += len(p.Lines)
	}
	if tasks != 3 || own < 3 {
		t.Errorf("processes: %+v", s.Processes)
	}
}

// before returns what is before the first event of a kind.
func before(log []string, event string) []string { return log[:max(0, slices.Index(log, event))] }

// lease asks for a worker.
func (c *client) lease() lent {
	c.t.Helper()
	c.mu.Lock()
	n := len(c.leases)
	c.mu.Unlock()
	c.send(header{typ: typeLease, pool: 1}, nil)
	var l lent
	c.await("leased", func() bool {
		if len(c.leases) > n {
			l = c.leases[n]
		}
		return len(c.leases) > n
	})
	return l
}

// leaseSome asks until there is a worker.
func (c *client) leaseSome() lent {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if l := c.lease(); l.worker != 0 || time.Now().After(end) {
			return l
		}
	}
}
