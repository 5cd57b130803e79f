//go:build linux

package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brinepool/brine/internal/link"
)

// language is what there is to know of a language's workers, so that the cases need not.
//
// Tasks take bytes and give bytes: a verb, and behind a blank what it is about. registry, and testdata/tasks.py in the same
// way, have the verbs.
type language struct {
	name string
	path string
	args []string // with the name, first
	env  []string

	config   func(what string) []byte             // the encoded configuration; empty for none
	bound    func(mark string) []byte             // the encoded bound arguments: results begin with the mark
	argument func(x []byte) []byte                // of a task with bound arguments
	alone    func(x []byte) []byte                // of a task without
	result   func(item link.Item) (string, error) // the value of a result

	unbindable []byte      // bound arguments that can't be decoded
	unbound    link.Status // of their tasks
	refused    int         // exit status after a ready frame that says why the state is not open
	stack      string      // what the stack of a task has
}

// golang returns Go. Bodies are the bytes themselves.
func golang() *language {
	same := func(x []byte) []byte { return x }
	return &language{
		name: "go", path: "/proc/self/exe", args: []string{"brine: worker of a test"},
		env:    []string{"GORACE=atexit_sleep_ms=0"}, // else a child that is built with the race detector waits a second
		config: func(what string) []byte { return []byte(what) },
		bound:  func(mark string) []byte { return []byte(mark) },
		alone:  same, argument: same,
		result:     func(item link.Item) (string, error) { return string(item.Body), nil },
		unbindable: []byte("unbindable"), unbound: link.BadArg, refused: 70, stack: "conformance.verb",
	}
}

// Opcodes of pickles, as Python's pickletools has them.
const (
	opProto      = '\x80' // u8 version
	opFrame      = '\x95' // u64 length
	opMemoize    = '\x94'
	opBytes8     = 'C' // u8 length
	opBytes32    = 'B' // u32 length
	opBytes64    = '\x8e'
	opGlobal     = 'c'
	opMark       = '('
	opTuple      = 't'
	opTuple1     = '\x85'
	opTuple2     = '\x86'
	opTuple3     = '\x87'
	opReduce     = 'R'
	opFalse      = '\x89'
	opEmptyDict  = '}'
	opStop       = '.'
	formPlain    = 0
	modeItem     = 2
	flagNamed    = 1
	storedMagic  = 0x6e697262
	storedAlign  = 4096
	storedPickle = 64 // where the pickle of a stored payload without buffers begins
)

// python returns Python. Bodies are pickles, as docs/PROTOCOL.md says under "Python's payloads".
func python(t *testing.T) *language {
	t.Helper()
	root := moduleRoot(t)
	path, err := interpreter()
	if err != nil {
		t.Fatalf("%v; PYTHON=... names it, and BRINE_WITHOUT_PYTHON=1 leaves these tests out", err)
	}
	read(t, filepath.Join(root, "python", "brine"))
	tasks, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	plain := func(pickle ...[]byte) []byte {
		return append(append([]byte{formPlain, opProto, 4}, bytes.Join(pickle, nil)...), opStop)
	}
	do := plain(global("tasks", "do"))
	return &language{
		name: "python", path: path, args: []string{"python", "-S", "-m", "brine._worker"}, // -S: without what is installed, it starts faster
		env: []string{"PYTHONPATH=" + filepath.Join(root, "python") + string(filepath.ListSeparator) + tasks},
		config: func(what string) []byte {
			if what == "" {
				return nil
			}
			return plain(global("tasks", "begin"), pickled([]byte(what)), []byte{opTuple1, opFalse, opTuple3})
		},
		bound: func(mark string) []byte {
			f := do
			if mark != "" {
				f = plain(global("functools", "partial"), []byte{opMark}, global("tasks", "marked"), pickled([]byte(mark)), []byte{opTuple, opReduce})
			}
			return append([]byte{modeItem}, f...)
		},
		argument: func(x []byte) []byte { return plain(pickled(x)) },
		alone: func(x []byte) []byte {
			b := binary.LittleEndian.AppendUint32([]byte{flagNamed}, uint32(len(do)))
			return append(append(b, do...), plain(pickled(x), []byte{opTuple1, opEmptyDict, opTuple2})...)
		},
		result:     pythonResult,
		unbindable: append([]byte{modeItem}, plain(global("tasks", "nothing"))...), unbound: link.Failed, refused: 1, stack: "in hold",
	}
}

// moduleRoot returns the directory of go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("these tests run in a checkout of Brine, and there is no go.mod")
		}
		dir = up
	}
}

// interpreter returns a Python that Brine runs on. What PATH has may be a script that looks for one.
func interpreter() (string, error) {
	name := os.Getenv("PYTHON")
	if name == "" {
		name = "python3"
	}
	out, err := exec.Command(name, "-c", "import sys; print(sys.executable if sys.version_info >= (3, 9) else '')").Output()
	if err != nil {
		return "", fmt.Errorf("no Python: %w", err)
	}
	path := strings.TrimSpace(string(out))
	if path == "" {
		return "", fmt.Errorf("%s is older than Python 3.9", name)
	}
	return path, nil
}

// read reads the worker's source, so that the go command doesn't take the result of a run with another one.
func read(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.py"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no Python in %s: %v", dir, err)
	}
	for _, file := range append(files, "testdata/tasks.py") {
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
}

func global(module, name string) []byte {
	return []byte(string(rune(opGlobal)) + module + "\n" + name + "\n")
}

// pickled is a bytes object in a pickle.
func pickled(x []byte) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{opBytes32}, uint32(len(x))), x...)
}

// pythonResult returns what is in a payload, which is a bytes object.
func pythonResult(item link.Item) (string, error) {
	b := item.Body
	if item.Place.Len == 0 {
		if len(b) == 0 || b[0] != formPlain {
			return "", fmt.Errorf("a payload that is not plain: %.20q", b)
		}
		return unpickled(b[1:])
	}
	if item.Place.Off%storedAlign != 0 || len(b) < storedPickle {
		return "", fmt.Errorf("a stored payload of %d bytes at %d", len(b), item.Place.Off)
	}
	magic, buffers, n := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint64(b[8:])
	if magic != storedMagic || buffers != 0 || n != uint64(len(b)-storedPickle) {
		return "", fmt.Errorf("a stored payload of %d bytes begins %.16q", len(b), b)
	}
	return unpickled(b[storedPickle:])
}

// unpickled returns the bytes object that a pickle has.
func unpickled(b []byte) (s string, err error) {
	p := link.Parser{Rest: b}
	for {
		switch op := p.U8(); op {
		case opProto:
			p.U8()
		case opFrame:
			p.U64()
		case opMemoize:
		case opBytes8:
			s = string(p.Take(int(p.U8())))
		case opBytes32:
			s = string(p.Bytes())
		case opBytes64:
			s = string(p.Take(int(p.U64())))
		case opStop:
			if len(p.Rest) > 0 {
				err = errors.New("bytes behind a pickle")
			}
			return s, errors.Join(err, p.Err("pickle"))
		default:
			return "", fmt.Errorf("a pickle with %q: %.40q", op, b)
		}
	}
}
