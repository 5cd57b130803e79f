package trace

import (
	"bytes"
	"slices"
	"testing"

	"github.com/brinepool/brine/internal/bill"
)

// taskStream is pickle.dumps((7, 0, abs, (-1,), {})).
var taskStream = []byte("\x80\x04\x95\x24\x00\x00\x00\x00\x00\x00\x00(K\x07K\x00\x8c\x08builtins\x94\x8c\x03abs\x94\x93\x94J\xff\xff\xff\xff\x85\x94}\x94t\x94.")

// resultStream is pickle.dumps((7, 0, (True, 1))).
var resultStream = []byte("\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00K\x07K\x00\x88K\x01\x86\x94\x87\x94.")

func dumpsOf(k kind, stream []byte, begin int64) frame {
	text := []string{"abs", "/home/p.py:3"}
	if k == result {
		text = nil
	}
	return frame{op: opDumps, kind: k, shape: bare, number: 1, job: 7, begin: begin, time: 10, size: int64(len(stream)), body: stream, text: text}
}

func loadsOf(k kind, stream []byte, begin int64) frame {
	key := keyOf(stream)
	return frame{op: opLoads, kind: k, job: 7, begin: begin, time: 4, size: key.size, number: key.sum}
}

// TestTaskInAnyOrder has the worker's and the program's frames come in both orders: they come by different ways.
func TestTaskInAnyOrder(t *testing.T) {
	t.Parallel()
	fromParent := []frame{dumpsOf(task, taskStream, 100), loadsOf(result, resultStream, 200)}
	fromWorker := []frame{{op: opName, kind: 1, begin: 50, text: []string{"W-1"}}, {op: opReady, begin: 60}, loadsOf(task, taskStream, 120), dumpsOf(result, resultStream, 150), {op: opBye}}
	for name, send := range map[string]func(p *program){
		"parent first": func(p *program) { p.process(root, fromParent...); p.process(7, fromWorker...) },
		"worker first": func(p *program) { p.process(7, fromWorker...); p.process(root, fromParent...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := traced(t)
			send(p)
			b := p.end()
			var all int64
			for class, size := range map[string]int64{bill.Function: 19, bill.Argument: 28, bill.Result: 23} {
				l := lineOf(t, b, "abs", class)
				if l.Site != "p.py:3" || l.Encode.Count != 1 || l.Decode.Count != 1 || l.Encode.Bytes != l.Decode.Bytes {
					t.Errorf("%s: %+v", class, l)
				}
				if l.Encode.Bytes != size {
					t.Errorf("the %s has %d bytes, want %d", class, l.Encode.Bytes, size)
				}
				all += l.Encode.Bytes
			}
			if want := int64(len(taskStream) + len(resultStream)); all != want {
				t.Errorf("the lines have %d bytes, the streams %d", all, want)
			}
			if len(b.Chunks) != 1 {
				t.Fatalf("there are %d chunks", len(b.Chunks))
			}
			got := b.Chunks[0]
			want := bill.Chunk{
				ID: 1, Function: "abs", Site: "p.py:3", Parent: root, Worker: 7, Tasks: 1, Bytes: int64(len(taskStream)), Results: int64(len(resultStream)),
				Encode: bill.Span{Begin: 99, Time: 10}, Send: bill.Span{Begin: 109, Time: 10}, Decode: bill.Span{Begin: 119, Time: 4},
				Run: bill.Span{Begin: 123, Time: 26}, Reencode: bill.Span{Begin: 149, Time: 10}, Back: bill.Span{Begin: 159, Time: 44},
			}
			if got != want {
				t.Errorf("the chunk is\n%+v, want\n%+v", got, want)
			}
			if b.Counts.Done != 1 || b.Counts.Started != 1 || b.Counts.Deaths != 0 {
				t.Errorf("%+v", b.Counts)
			}
		})
	}
}

// TestLost has a worker end with a task, in both orders.
func TestLost(t *testing.T) {
	t.Parallel()
	worker := []frame{{op: opName, kind: 1, text: []string{"W-1"}}, loadsOf(task, taskStream, 120)}
	for name, send := range map[string]func(p *program){
		"parent first": func(p *program) { p.process(root, dumpsOf(task, taskStream, 100)); p.process(7, worker...) },
		"worker first": func(p *program) { p.process(7, worker...); p.process(root, dumpsOf(task, taskStream, 100)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := traced(t)
			send(p)
			b := p.end()
			if len(b.Chunks) != 1 || b.Chunks[0].Lost != "the worker ended before it answered" || b.Chunks[0].Worker != 7 {
				t.Errorf("%+v", b.Chunks)
			}
			if b.Counts.Deaths != 1 {
				t.Errorf("%+v", b.Counts)
			}
		})
	}
}

// TestNonsense has a connection end that says what makes no sense. The others are not affected.
func TestNonsense(t *testing.T) {
	t.Parallel()
	hello := encode(frame{op: opHello, job: 9, begin: 3})
	for name, bytes := range map[string][]byte{
		"nothing":                 nil,
		"half a prefix":           {1, 2, 3},
		"a large header":          {255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0},
		"a body that never comes": append(slices.Clip(hello), encode(frame{op: opDumps, body: make([]byte, 100)})[:80]...),
		"a huge body":             append(slices.Clip(hello), 59, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255),
		"no hello":                encode(frame{op: opBye}),
		"no process":              encode(frame{op: opHello}),
		"another's end":           append(encode(frame{op: opHello, kind: control, job: 9}), encode(frame{op: opEnd})...),
		"a negative size":         append(slices.Clip(hello), encode(frame{op: opLoads, size: -5})...),
		"no op":                   append(slices.Clip(hello), encode(frame{op: 77})...),
		"no pickle":               append(slices.Clip(hello), encode(frame{op: opDumps, size: 3, body: []byte("x\xffy"), text: []string{"n"}})...),
		"an answer to nothing":    append(slices.Clip(hello), encode(dumpsOf(result, resultStream, 4))...),
		"a negative argument": append(slices.Clip(hello), encode(frame{
			op: opDumps, kind: task, shape: chunk, body: taskStream, text: []string{"n"}, objects: []object{{1, isArgument, -9, -9}, {2, 99, 1, 1}, {3, isSelf, 0, 0}},
		})...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := traced(t)
			conn := p.dial()
			if _, err := conn.Write(bytes); err != nil {
				t.Error(err) // the collector may hang up after it
			}
			p.process(root, dumpsOf(task, taskStream, 100))
			conn.Close()
			b := p.end()
			if l := lineOf(t, b, "abs", bill.Function); l.Encode.Count != 1 {
				t.Errorf("%+v", l)
			}
		})
	}
}

// TestEnds shows that the bill doesn't need a program that ends in good order.
func TestEnds(t *testing.T) {
	t.Parallel()
	p := traced(t)
	p.process(root, dumpsOf(task, taskStream, 100))
	other := p.dial() // lives on, and has said half of something
	p.say(other, frame{op: opHello, job: 9, begin: 3}, dumpsOf(message, resultStream, 4))
	_, _ = other.Write([]byte{59})
	p.control.Close()
	close(p.ended)
	r := <-p.result
	defer other.Close()
	if r.Waits() || !r.Heard || !r.Used {
		t.Errorf("%+v", r)
	}
	b := &r.Document.Bills[0]
	lineOf(t, b, "abs", bill.Message)
	for _, process := range b.Processes {
		if process.Ended != (process.PID == root) {
			t.Errorf("process %d has ended: %t", process.PID, process.Ended)
		}
	}
	if _, err := other.Read(make([]byte, 1)); err == nil {
		t.Error("its connection is still open")
	}
}

// TestNotTraced is of a program that never connects.
func TestNotTraced(t *testing.T) {
	t.Parallel()
	p := traced(t)
	p.control.Close()
	close(p.ended)
	if r := <-p.result; r.Used {
		t.Errorf("%+v", r)
	}
}

// FuzzFrames gives the collector's account any frames.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(encode(dumpsOf(task, taskStream, 100)))
	f.Add(bytes.Join([][]byte{
		encode(frame{op: opName, kind: 1, text: []string{"W"}}), encode(loadsOf(task, taskStream, 10)), encode(dumpsOf(task, taskStream, 100)),
		encode(dumpsOf(result, resultStream, 4)), encode(loadsOf(result, resultStream, 9)), encode(frame{op: opExited, job: 5, index: -9}),
	}, nil))
	f.Add(encode(frame{op: opDumps, kind: task, shape: itemChunk, body: taskStream, objects: []object{{byAddress | 5, isArgument, 0, 0}}}))
	f.Add(encode(frame{op: opDumps, kind: process, shape: worker, body: taskStream, text: []string{"", "", "P-1"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &collector{options: Options{Root: root}, large: make(chan struct{}, 1)}
		p := c.a.hear(root, 1, 1)
		r := bytes.NewReader(b)
		for {
			got, _, err := readFrame(r, nil)
			if err != nil {
				break
			}
			c.take(p, got)
		}
		c.a.leave(p, 50)
		var encoded int64
		d := c.a.document(c.options, 100)
		for _, l := range d.Bills[0].Lines {
			encoded += l.Encode.Bytes
		}
		if got := d.Bills[0].Processes[0].Encode.Bytes; got != encoded {
			t.Errorf("the process encoded %d bytes, the lines have %d", got, encoded)
		}
	})
}

func TestBound(t *testing.T) {
	t.Parallel()
	var c crossing
	first := &sending{}
	c.send(streamKey{1, 1}, first)
	for i := range 2*maxCrossing + 10 {
		c.send(streamKey{2, uint32(i)}, &sending{})
	}
	if got := c.receive(streamKey{1, 1}); got.sending != nil {
		t.Error("the oldest is still known")
	}
	last := c.receive(streamKey{2, 2*maxCrossing + 9})
	if last.sending == nil {
		t.Error("the latest is not known any more")
	}
	if n := len(c.sent); n > 2*maxCrossing {
		t.Errorf("%d are remembered", n)
	}
}
