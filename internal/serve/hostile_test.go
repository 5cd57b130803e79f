//go:build linux

package serve

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHostile breaks the rules one by one: the client is told, the connection ends, and hangUp finds no worker.
func TestHostile(t *testing.T) {
	t.Parallel()
	head := func(h header) []byte {
		b := make([]byte, headerSize)
		h.put(b)
		return b
	}
	work := func(name string, timeout uint64, count int, lengths ...uint32) []byte {
		b := appendString(nil, name)
		b = appendU64(b, timeout)
		b = append(b, u32s(0, 0)...)
		b = appendU64(b, 0)
		b = appendU32(b, 0)
		b = append(b, u32s(lengths...)...)
		return append(b, make([]byte, count)...)
	}
	for name, test := range map[string]struct {
		do   func(c *client)
		want string
	}{
		"unknown type":      {func(c *client) { c.send(header{typ: 99}, nil) }, "unexpected frame: type 99"},
		"hello again":       {func(c *client) { c.send(header{typ: typeClientHello}, u32s(1, 1)) }, "unexpected frame: hello"},
		"engine's own":      {func(c *client) { c.send(header{typ: typeResults}, nil) }, "unexpected frame: results"},
		"too long":          {func(c *client) { c.write(head(header{typ: typeSubmit, length: 1<<32 - 1})) }, "a submit frame of 4294967295 bytes"},
		"no descriptor":     {func(c *client) { c.send(header{typ: typeOpen}, setting{workers: 1}.payload()) }, "no descriptor"},
		"five descriptors":  {func(c *client) { c.send(header{typ: typeOpen}, setting{workers: 1}.payload(), 0, 1, 2, 0, 1) }, "a descriptor came"},
		"two descriptors":   {func(c *client) { c.send(header{typ: typeOpen, pool: 2}, setting{workers: 1}.payload(), 0, 1) }, "a descriptor came that its flags"},
		"flag of nothing":   {func(c *client) { c.send(header{typ: typeOpen, pool: 2, flags: 2}, setting{workers: 1}.payload(), 0) }, "open: flags 2"},
		"no arena":          {func(c *client) { c.send(header{typ: typeOpen, pool: 2, flags: 1}, setting{workers: 1}.payload(), 0) }, "open: flags 1 without"},
		"stray descriptor":  {func(c *client) { c.send(header{typ: typeStats, pool: 1}, nil, 0) }, "a descriptor came with a stats frame"},
		"no workers":        {func(c *client) { c.send(header{typ: typeOpen, pool: 2}, setting{}.payload(), 0) }, "0 workers"},
		"too many workers":  {func(c *client) { c.send(header{typ: typeOpen, pool: 2}, setting{workers: 1 << 20}.payload(), 0) }, "1048576 workers"},
		"negative grace":    {func(c *client) { c.send(header{typ: typeOpen, pool: 2}, setting{workers: 1, grace: -1}.payload(), 0) }, "grace -1"},
		"short open":        {func(c *client) { c.send(header{typ: typeOpen, pool: 2}, []byte("x"), 0) }, "open: malformed"},
		"pool twice":        {func(c *client) { c.begin(1, setting{}) }, "pool 1 is there already"},
		"no pool":           {func(c *client) { c.submit(5, 1, submission{}, "x") }, "there is no pool 5"},
		"close of no pool":  {func(c *client) { c.send(header{typ: typeClose, pool: 5}, nil) }, "there is no pool 5"},
		"lease of no pool":  {func(c *client) { c.send(header{typ: typeLease, pool: 5}, nil) }, "there is no pool 5"},
		"kill with payload": {func(c *client) { c.send(header{typ: typeKill, pool: 1}, []byte("x")) }, "a kill frame with 1 bytes"},
		"job twice": {func(c *client) {
			c.submit(1, 1, submission{}, "hang")
			c.submit(1, 1, submission{}, "hang")
		}, "job 1 is there already"},
		"no tasks":      {func(c *client) { c.submit(1, 1, submission{}) }, "no tasks"},
		"flags":         {func(c *client) { c.send(header{typ: typeSubmit, pool: 1, flags: 2, count: 0}, work("f", 0, 0)) }, "flags 2"},
		"negative time": {func(c *client) { c.send(header{typ: typeSubmit, pool: 1, count: 1}, work("f", 1<<63, 0, 0)) }, "time limit -"},
		"short bodies":  {func(c *client) { c.send(header{typ: typeSubmit, pool: 1, count: 2}, work("f", 0, 5, 3, 3)) }, "shorter than their lengths"},
		"long bodies":   {func(c *client) { c.send(header{typ: typeSubmit, pool: 1, count: 2}, work("f", 0, 7, 3, 3)) }, "1 bytes too many"},
		"lengths that wrap": {func(c *client) {
			c.send(header{typ: typeSubmit, pool: 1, count: 2}, work("f", 0, 7, 1<<31, 1<<31))
		}, "shorter than their lengths"},
		"more than there is":   {func(c *client) { c.send(header{typ: typeSubmit, pool: 1, count: 1<<32 - 1}, work("f", 0, 7, 3)) }, "submit: malformed"},
		"extend of nothing":    {func(c *client) { c.extend(9, false, "x") }, "there is no open job 9"},
		"extend of a whole":    {func(c *client) { c.submit(1, 1, submission{}, "hang"); c.extend(1, false, "x") }, "there is no open job 1"},
		"started unasked":      {func(c *client) { c.send(header{typ: typeStarted, worker: 7}, u32s(77)) }, "worker 7 is not to be started"},
		"started twice":        {func(c *client) { c.send(header{typ: typeStarted, worker: 1}, u32s(77)) }, "worker 1 is not to be started"},
		"started the engine":   {func(c *client) { c.send(header{typ: typeStarted, worker: 1}, u32s(uint32(os.Getpid()))) }, "can't be a worker"},
		"unlease of nothing":   {func(c *client) { c.send(header{typ: typeUnlease, worker: 1}, make([]byte, 57)) }, "worker 1 is not leased"},
		"unlease short":        {func(c *client) { b := c.borrow(); c.send(header{typ: typeUnlease, worker: b.w.number}, nil) }, "unlease: malformed"},
		"unlease in the past":  {func(c *client) { b := c.borrow(); b.received = 0; b.back(0) }, "can't have come to chunk"},
		"unlease unnumbered":   {func(c *client) { b := c.borrow(); b.tasks = 3; b.back(0) }, "can't have come to chunk"},
		"unlease broken twice": {func(c *client) { b := c.borrow(); b.back(2) }, "broken is 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t)
			c.open(1, setting{})
			test.do(c)
			<-c.over
			<-c.read
			if c.err == nil || len(c.faults) != 1 || c.faults[0] != c.err.Error() || !strings.Contains(c.faults[0], test.want) {
				t.Errorf("the client was told %q, and Run returned %v; want %q", c.faults, c.err, test.want)
			}
		})
	}
}

// TestGreeting has a client begin in the wrong way.
func TestGreeting(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		h       header
		payload []byte
		want    string
	}{
		"another version": {header{typ: typeClientHello}, u32s(Version+1, 1), "version 3 of the protocol"},
		"not hello":       {header{typ: typeLease}, nil, "the first frame is lease, not hello"},
		"short":           {header{typ: typeClientHello}, u32s(Version), "hello: malformed"},
		"long":            {header{typ: typeClientHello}, u32s(Version, 1, 2), "4 bytes too many"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t)
			c.send(test.h, test.payload)
			<-c.over
			<-c.read
			if c.err == nil || len(c.faults) != 1 || !strings.Contains(c.faults[0], test.want) {
				t.Errorf("the client was told %q, and Run returned %v; want %q", c.faults, c.err, test.want)
			}
		})
	}
}

// FuzzClient has a client send anything. Whatever it is, the engine ends when the client does, and leaves nothing; what it
// says of it is one error frame, the last. A word of eight bytes begins each frame of the input: type, flags, count, pool,
// job, worker and two of the payload's length; the highest bit of the type adds a descriptor. No process is named that
// there could be: the engine would end it.
func FuzzClient(f *testing.F) {
	frame := func(h header, fd bool, payload []byte) []byte {
		b := []byte{byte(h.typ), h.flags, byte(h.count), byte(h.pool), byte(h.job), byte(h.worker)}
		if fd {
			b[0] |= 128
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(len(payload)))
		return append(b, payload...)
	}
	open := frame(header{typ: typeOpen, pool: 1}, true, setting{workers: 1}.payload())
	work := appendU32(appendU64(append(appendU64(appendString(nil, "f"), 0), u32s(0, 0)...), 0), 0)
	submit := frame(header{typ: typeSubmit, pool: 1, job: 1, count: 2, flags: more}, false, append(append(work, u32s(1, 2)...), "abb"...))
	f.Add([]byte(nil))
	f.Add(open)
	f.Add(join(open, frame(header{typ: typeStarted, worker: 1}, false, u32s(0, 0)), frame(header{typ: typeClose, pool: 1}, false, nil)))
	f.Add(join(open, submit, frame(header{typ: typeExtend, job: 1, count: 1}, false, append(appendU64(nil, 1), 1, 0, 0, 0, 'x'))))
	f.Add(join(open, submit, frame(header{typ: typeCancel, job: 1}, false, nil), frame(header{typ: typeStats, pool: 1}, false, nil)))
	f.Add(join(open, submit, frame(header{typ: typeKill, pool: 1}, false, nil), frame(header{typ: typeExtend, job: 1}, false, make([]byte, 8))))
	f.Add(join(open, frame(header{typ: typeLease, pool: 1}, false, nil), frame(header{typ: typeUnlease, worker: 1}, false, make([]byte, 57))))
	f.Add(join(open, frame(header{typ: typeStarted, worker: 1}, false, u32s(3)), open))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := dial(t)
		c.mu.Lock()
		c.refuse = "there are no workers here"
		c.mu.Unlock()
		c.send(header{typ: typeClientHello}, u32s(Version, 1))
		for len(b) >= 8 {
			h := header{typ: frameType(b[0] & 127), flags: b[1], count: uint32(b[2]), pool: uint32(b[3]), job: uint64(b[4]), worker: uint32(b[5])}
			n := min(int(binary.LittleEndian.Uint16(b[6:])), len(b)-8)
			payload := bytes.Clone(b[8 : 8+n])
			switch {
			case h.typ == typeOpen && n >= 4: // not too many of them
				binary.LittleEndian.PutUint32(payload, binary.LittleEndian.Uint32(payload)%3)
			case h.typ == typeStarted && n >= 4:
				never := []uint32{0, 1, maxPID, maxPID + 1}
				binary.LittleEndian.PutUint32(payload, never[payload[0]%4])
			}
			if b[0]&128 != 0 {
				c.send(h, payload, 0)
			} else {
				c.send(h, payload)
			}
			b = b[8+n:]
		}
		_ = unix.Shutdown(c.fd, unix.SHUT_WR)
		select {
		case <-c.over:
		case <-time.After(patience):
			t.Fatal("the engine did not end")
		}
		<-c.read
		if (c.err == nil) != (len(c.faults) == 0) || len(c.faults) > 1 {
			t.Errorf("the client was told %q, and Run returned %v", c.faults, c.err)
		}
	})
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }
