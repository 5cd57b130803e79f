package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// op says what a frame tells. The numbers are those of python/trace/_brine_wire.py.
type op uint8

const (
	opHello     op = iota + 1 // the first frame: who is speaking
	opDumps                   // something was pickled; the stream comes along
	opLoads                   // something was unpickled
	opName                    // what a process of multiprocessing is called
	opBye                     // its end has begun
	opStarted                 // it has started another
	opExited                  // it knows how another ended
	opSignalled               // it has sent another a signal
	opPool                    // it has made a pool
	opReady                   // a worker is ready for tasks
	opEnd                     // the program has ended, and waits for the bill
)

// kind says what was pickled.
type kind uint8

const (
	message     kind = iota
	task             // of a pool or an executor
	result           // of one
	process          // a process object, for a process that isn't forked
	preparation      // what goes before that
	answer           // of a manager
	signal           // of a pool or an executor, to itself or its workers
)

// shape says where function and arguments are in a task, and the value in a result.
type shape uint8

const (
	plain     shape = iota
	bare            // of a pool: (job, index, function, arguments, keywords) and (job, index, (success, value))
	chunk           // function and arguments are in the arguments of mapstar or starmapstar
	item            // of an executor: attributes of a _CallItem and a _ResultItem
	itemChunk       // function and arguments are those of _process_chunk
	worker          // of a process: it is a worker of a pool or an executor
)

// Flags.
const (
	failed     = 1 // of a result
	ofExecutor = 2 // of a process: a worker of an executor
)

// What an object in a task is.
const (
	isFunction uint8 = iota
	isSelf
	isArgument
)

// byAddress is a bit of an object's number: that it is the object's address, which can be another object's by now.
const byAddress = 1 << 63

// object is something in a task that could be the same in another.
type object struct {
	number   uint64
	what     uint8
	index    int32 // of the argument, -1 for none
	subindex int32 // in that, if it is a tuple of arguments
}

// frame is what a process tells of one event. Moments are of the system's monotonic clock, which all processes share.
type frame struct {
	op      op
	kind    kind
	shape   shape
	flags   uint8
	number  uint32 // of tasks in a chunk; of loads, the key of the stream
	index   int64  // of a chunk in a job; an exit status or signal; of hello, the parent process
	job     uint64 // or a process id
	begin   int64
	time    int64
	size    int64
	memory  int64 // KiB, the most so far; 0 if it isn't said
	text    []string
	objects []object
	body    []byte
}

const (
	prefixSize = 12
	headerSize = 56
	objectSize = 17
	maxHeader  = 64 << 10
	maxBody    = 1 << 30
	firstPiece = 16 << 20 // of a body, which must have come before memory is taken for the rest
	maxNumber  = 1 << 56  // for sizes and times: sums of them don't overflow
)

var errFrame = errors.New("a frame that makes no sense")

// readFrame reads a frame. The body is appended to buffer, and valid until that is used again.
func readFrame(r io.Reader, buffer []byte) (*frame, []byte, error) {
	var prefix [prefixSize]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, buffer, err
	}
	head, body := binary.LittleEndian.Uint32(prefix[:]), binary.LittleEndian.Uint64(prefix[4:])
	if head < headerSize || head > maxHeader || body > maxBody {
		return nil, buffer, fmt.Errorf("%w: a header of %d bytes and a body of %d", errFrame, head, body)
	}
	header := make([]byte, head)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, buffer, err
	}
	f, err := parseHeader(header)
	if err != nil {
		return nil, buffer, err
	}
	buffer, err = readBody(r, buffer[:0], int(body))
	f.body = buffer
	return f, buffer, err
}

// readBody takes memory for what has been promised only when a good deal of it has come.
func readBody(r io.Reader, buffer []byte, size int) ([]byte, error) {
	for len(buffer) < size {
		n := len(buffer)
		until := min(size, max(n, firstPiece))
		if n >= firstPiece {
			until = size
		}
		if cap(buffer) < until {
			buffer = append(make([]byte, 0, until), buffer...)
		}
		buffer = buffer[:until]
		if _, err := io.ReadFull(r, buffer[n:]); err != nil {
			return buffer[:n], err
		}
	}
	return buffer, nil
}

func parseHeader(b []byte) (*frame, error) {
	u64 := binary.LittleEndian.Uint64
	f := &frame{
		op: op(b[0]), kind: kind(b[1]), shape: shape(b[2]), flags: b[3], number: binary.LittleEndian.Uint32(b[4:]),
		index: int64(u64(b[8:])), job: u64(b[16:]), begin: int64(u64(b[24:])), time: int64(u64(b[32:])),
		size: int64(u64(b[40:])), memory: int64(u64(b[48:])),
	}
	if f.op < opHello || f.op > opEnd || f.kind > signal || f.shape > worker {
		return nil, fmt.Errorf("%w: op %d, kind %d, shape %d", errFrame, f.op, f.kind, f.shape)
	}
	for _, n := range []int64{f.begin, f.time, f.size, f.memory} {
		if n < 0 || n > maxNumber {
			return nil, fmt.Errorf("%w: a number of %d", errFrame, n)
		}
	}
	return f, f.parseRest(b[headerSize:])
}

// parseRest reads what has no fixed length: strings and objects.
func (f *frame) parseRest(b []byte) error {
	if len(b) < 1 {
		return errFrame
	}
	count := int(b[0])
	for b = b[1:]; count > 0; count-- {
		if len(b) < 2 || len(b)-2 < int(binary.LittleEndian.Uint16(b)) {
			return fmt.Errorf("%w: a string is cut off", errFrame)
		}
		n := 2 + int(binary.LittleEndian.Uint16(b))
		f.text = append(f.text, string(b[2:n]))
		b = b[n:]
	}
	if len(b) < 2 || len(b)-2 != objectSize*int(binary.LittleEndian.Uint16(b)) {
		return fmt.Errorf("%w: its objects are cut off", errFrame)
	}
	for b = b[2:]; len(b) > 0; b = b[objectSize:] {
		f.objects = append(f.objects, object{
			number: binary.LittleEndian.Uint64(b), what: b[8],
			index: int32(binary.LittleEndian.Uint32(b[9:])), subindex: int32(binary.LittleEndian.Uint32(b[13:])),
		})
	}
	return nil
}

// string returns the nth string, or none.
func (f *frame) string(n int) string {
	if n < len(f.text) {
		return f.text[n]
	}
	return ""
}
