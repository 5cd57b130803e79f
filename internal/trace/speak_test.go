package trace

import (
	"context"
	"encoding/binary"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/bill"
)

// encode writes a frame as python/trace/_brine_wire.py does.
func encode(f frame) []byte {
	h := []byte{byte(f.op), byte(f.kind), byte(f.shape), f.flags}
	h = binary.LittleEndian.AppendUint32(h, f.number)
	for _, n := range []uint64{uint64(f.index), f.job, uint64(f.begin), uint64(f.time), uint64(f.size), uint64(f.memory)} {
		h = binary.LittleEndian.AppendUint64(h, n)
	}
	h = append(h, byte(len(f.text)))
	for _, s := range f.text {
		h = append(binary.LittleEndian.AppendUint16(h, uint16(len(s))), s...)
	}
	h = binary.LittleEndian.AppendUint16(h, uint16(len(f.objects)))
	for _, o := range f.objects {
		h = append(binary.LittleEndian.AppendUint64(h, o.number), o.what)
		h = binary.LittleEndian.AppendUint32(h, uint32(o.index))
		h = binary.LittleEndian.AppendUint32(h, uint32(o.subindex))
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(h)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(f.body)))
	return append(append(b, h...), f.body...)
}

const root = 100 // process id of the programs of these tests

// program is one that is traced, as far as the collector can see.
type program struct {
	t       *testing.T
	path    string
	ended   chan struct{}
	control net.Conn
	result  chan *Result
}

// traced starts a collector, and connects to it as a program does.
func traced(t *testing.T) *program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, path: path, ended: make(chan struct{}), result: make(chan *Result, 1)}
	go func() {
		p.result <- Collect(context.Background(), l, Options{Root: root, Ended: p.ended, Program: []string{"p.py"}, Directory: "/home"})
	}()
	p.control = p.dial()
	p.say(p.control, frame{op: opHello, kind: control, job: root, begin: 1})
	return p
}

func (p *program) dial() net.Conn {
	p.t.Helper()
	conn, err := net.Dial("unix", p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	return conn
}

func (p *program) say(conn net.Conn, frames ...frame) {
	p.t.Helper()
	for _, f := range frames {
		if _, err := conn.Write(encode(f)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// process connects as a process does, says something and ends.
func (p *program) process(pid uint64, frames ...frame) {
	p.t.Helper()
	conn := p.dial()
	began := int64(5)
	if pid == root {
		began = 1
	}
	p.say(conn, frame{op: opHello, job: pid, index: root, begin: began})
	p.say(conn, frames...)
	if err := conn.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// end ends the program in good order, and returns what the collector made of it.
func (p *program) end() *bill.Bill {
	p.t.Helper()
	p.say(p.control, frame{op: opEnd})
	r := <-p.result
	if !r.Waits() {
		p.t.Error("the program doesn't wait")
	}
	go r.Done()
	_ = p.control.SetReadDeadline(time.Now().Add(10 * time.Second))
	word := make([]byte, 1)
	if _, err := p.control.Read(word); err != nil || word[0] != 'd' {
		p.t.Errorf("the program was told %q, %v", word, err)
	}
	if err := p.control.Close(); err != nil {
		p.t.Fatal(err)
	}
	return &r.Document.Bills[0]
}

// lineOf returns the line of a class of a function, which must be there.
func lineOf(t *testing.T, b *bill.Bill, function, class string) bill.Line {
	t.Helper()
	for _, l := range b.Lines {
		if l.Function == function && l.Class == class {
			return l
		}
	}
	t.Fatalf("there is no line for the %s of %q: %+v", class, function, b.Lines)
	return bill.Line{}
}
