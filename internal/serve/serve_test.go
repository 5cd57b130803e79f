//go:build linux

package serve

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/link"
)

func TestResults(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{workers: 2})
	var args, want []string
	for i := range 1000 {
		args, want = append(args, fmt.Sprintf("echo %d", i)), append(want, fmt.Sprint(i))
	}
	c.submit(1, 7, submission{}, args...)
	c.submit(1, 8, submission{bound: "twine"}, "bound", "bound")
	c.want(7, want...)
	c.want(8, "twine", "twine")
	if err := c.finish(1); err != "" {
		t.Error(err)
	}
	if log := c.events(); len(log) != 4 || log[3] != "closed 1" {
		t.Errorf("closed is not the last, after the end of two workers: %q", log)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{})
	c.submit(1, 1, submission{}, "error no luck", "echo a", "panic at the disco", "echo b")
	o := c.results(1, 4)
	e, err := codec.DecodeError(o[0].body)
	if o[0].failed || o[0].status != link.Failed || err != nil || e.Message != "no luck" {
		t.Errorf("an error: %+v", o[0])
	}
	e, err = codec.DecodeError([]byte(o[2].message))
	if !o[2].failed || o[2].cause != 0 || err != nil || e.Message != "panic: at the disco" || o[2].stack == "" {
		t.Errorf("a panic: %+v", o[2])
	}
	if string(o[1].body) != "a" || string(o[3].body) != "b" {
		t.Errorf("the others: %+v, %+v", o[1], o[3])
	}
}

func TestLarge(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{workers: 2, arena: 4 << 20})
	var args []string
	for i := range 40 { // more than the arenas hold, unless their places are given back
		args = append(args, fmt.Sprintf("large %d", 500_000+i))
	}
	c.submit(1, 1, submission{chunk: 1}, args...)
	placed := 0
	for i, o := range c.results(1, len(args)) {
		if !bytes.Equal(o.body, pattern(500_000+i)) {
			t.Errorf("result %d is another: %d bytes", i, len(o.body))
		}
		if o.placed {
			placed++
		}
	}
	if placed < len(args)/2 {
		t.Errorf("%d of %d results were in the arena", placed, len(args))
	}
	big := "size " + strings.Repeat(".", 1<<20)
	c.submit(1, 2, submission{}, big, "size", big)
	c.want(2, fmt.Sprint(len(big)), "4", fmt.Sprint(len(big)))
}

func TestExtend(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{workers: 2})
	var want []string
	c.submit(1, 1, submission{more: true}, "echo 0")
	want = append(want, "0")
	for len(want) < 500 {
		var args []string
		for range 7 {
			args = append(args, fmt.Sprintf("echo %d", len(want)))
			want = append(want, fmt.Sprint(len(want)))
		}
		c.extend(1, true, args...)
	}
	c.want(1, want...)
	c.send(header{typ: typeClose, pool: 1}, nil) // the job may be extended nevertheless
	c.extend(1, false, "echo last")
	c.want(1, append(want, "last")...)
	c.awaitClosed(1)
}

func TestEmptyJob(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{})
	c.submit(1, 1, submission{more: true})
	c.extend(1, false)
	c.submit(1, 2, submission{more: true})
	c.extend(2, true, "echo x")
	c.extend(2, false)
	c.want(2, "x")
	c.finish(1)
}

func TestSubmitEarly(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.begin(1, setting{workers: 2})
	c.submit(1, 1, submission{}, "echo a", "echo b")
	c.want(1, "a", "b")
	c.finish(1)
	c.submit(1, 2, submission{}, "echo a")
	if o := c.results(2, 1)[0]; !o.failed || o.cause != uint8(engine.Refused) {
		t.Errorf("after the end: %+v", o)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"wait", "hang"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := connect(t)
			c.open(1, setting{grace: 20 * time.Millisecond})
			c.submit(1, 1, submission{chunk: 1}, what, "echo a", "echo b")
			c.submit(1, 2, submission{}, "echo c")
			time.Sleep(20 * time.Millisecond) // so that it has begun, mostly
			c.send(header{typ: typeCancel, job: 1}, nil)
			for i, o := range c.results(1, 3) {
				if !(o.failed && o.cause == uint8(engine.Cancelled)) && !(i == 0 && what == "wait" && o.status == link.Failed) {
					t.Errorf("task %d: %+v", i, o)
				}
			}
			c.want(2, "c")
			c.send(header{typ: typeCancel, job: 1}, nil) // harmless
			c.finish(1)
		})
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, 30 * time.Millisecond} {
		t.Run(grace.String(), func(t *testing.T) {
			t.Parallel()
			c := connect(t)
			c.open(1, setting{grace: grace})
			c.submit(1, 1, submission{timeout: 50 * time.Millisecond, retries: 1}, "echo a", "hang", "echo b")
			o := c.results(1, 3)
			if string(o[0].body) != "a" || string(o[2].body) != "b" {
				t.Errorf("the others: %+v, %+v", o[0], o[2])
			}
			if !o[1].failed || o[1].cause != uint8(engine.TimedOut) || o[1].runs != 2 || len(o[1].deaths) != 2 || !strings.Contains(o[1].stack, "time.Sleep") {
				t.Errorf("timed out: %+v", o[1])
			}
			if at, end := slices.Index(c.events(), "failed 1.1"), slices.Index(c.events(), fmt.Sprintf("ended %d", o[1].deaths[1])); end < 0 || end > at {
				t.Errorf("the worker's end comes after the task's: %q", c.events())
			}
		})
	}
}

func TestDeath(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{workers: 2})
	c.submit(1, 1, submission{retries: 1}, "echo a", "die", "echo b")
	o := c.results(1, 3)
	if string(o[0].body) != "a" || string(o[2].body) != "b" {
		t.Errorf("the others: %+v, %+v", o[0], o[2])
	}
	if !o[1].failed || o[1].cause != uint8(engine.Crashed) || o[1].runs != 2 || len(o[1].deaths) != 2 || o[1].worker != o[1].deaths[1] {
		t.Errorf("died: %+v", o[1])
	}
	failed := slices.Index(c.events(), "failed 1.1")
	for _, n := range o[1].deaths {
		if at := slices.Index(c.events(), fmt.Sprintf("ended %d", n)); at < 0 || at > failed {
			t.Errorf("worker %d: its end comes after the task's: %q", n, c.log)
		}
	}
	file := t.TempDir() + "/once"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.submit(1, 2, submission{retries: 1}, "once "+file)
	c.want(2, file)
}

func TestMaxTasks(t *testing.T) {
	t.Parallel()
	c := connect(t)
	c.open(1, setting{maxTasks: 2})
	c.submit(1, 1, submission{}, "pid", "pid", "pid", "pid", "pid")
	pids := make(map[string]int)
	for _, o := range c.results(1, 5) {
		pids[string(o.body)]++
	}
	if len(pids) != 3 {
		t.Errorf("tasks by process: %v", pids)
	}
}

func TestStderr(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := connect(t)
	c.open(1, setting{stderr: w})
	w.Close()
	c.submit(1, 1, submission{}, "say hello there")
	line := make([]byte, 100)
	n, err := r.Read(line)
	if err != nil || string(line[:n]) != "hello there\n" {
		t.Errorf("said %q, %v", line[:n], err)
	}
	c.finish(1)
	if n, err := r.Read(line); n > 0 || err == nil {
		t.Errorf("the engine has kept the descriptor: %q", line[:n])
	}
}
