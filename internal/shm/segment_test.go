//go:build linux

package shm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// name is what the memory of a test is called, so that leaktest finds it, and the test itself.
func name(t testing.TB) string { return "brine journal of " + strings.ReplaceAll(t.Name(), "/", ".") }

// held counts the mappings and descriptors that this process has of the test's memory.
func held(t testing.TB) (mappings, descriptors int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	this := "/memfd:" + name(t) + " "
	mappings = strings.Count(string(maps), this)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, this) {
			descriptors++
		}
	}
	return mappings, descriptors
}

func holds(t testing.TB, mappings, descriptors int) {
	t.Helper()
	if m, d := held(t); m != mappings || d != descriptors {
		t.Errorf("%d mappings and %d descriptors, want %d and %d", m, d, mappings, descriptors)
	}
}

// pattern is n bytes that depend on the seed.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i) ^ seed
	}
	return b
}

func publish(t testing.TB, parts ...[]byte) *Segment {
	t.Helper()
	s, err := Publish(name(t), parts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// gone checks that a segment is good for nothing any more.
func gone(t testing.TB, s *Segment) {
	t.Helper()
	if b, err := s.Bytes(); !errors.Is(err, ErrClosed) || b != nil {
		t.Errorf("%d bytes of what is gone, %v", len(b), err)
	}
	if err := s.Retain(); !errors.Is(err, ErrClosed) {
		t.Errorf("retain of what is gone: %v", err)
	}
	if err := s.Seal(); !errors.Is(err, ErrClosed) {
		t.Errorf("seal of what is gone: %v", err)
	}
	if !s.Closed() {
		t.Error("not closed")
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	var seen sync.Map
	for _, c := range []struct {
		name  string
		parts [][]byte
	}{
		{"nothing", nil},
		{"nothing twice", [][]byte{nil, {}}},
		{"a byte", [][]byte{{7}}},
		{"a page", [][]byte{pattern(1, 4096)}},
		{"odd parts", [][]byte{pattern(2, 1), nil, pattern(3, 4097), pattern(4, 100_001)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := publish(t, c.parts...)
			want := bytes.Join(c.parts, nil)
			if _, known := seen.LoadOrStore(s.ID(), true); known || s.ID() == 0 {
				t.Errorf("number %d is not new", s.ID())
			}
			if s.Size() != int64(len(want)) || s.Adopted() || s.Closed() {
				t.Errorf("size %d, adopted %v, closed %v", s.Size(), s.Adopted(), s.Closed())
			}
			holds(t, 0, 1) // it is mapped when somebody looks
			for range 2 {
				if got, err := s.Bytes(); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
				}
			}
			holds(t, min(1, len(want)), 1)
			if err := s.Retain(); err != nil {
				t.Fatal(err)
			}
			s.Release()
			if s.Closed() {
				t.Error("closed, with a user")
			}
			holds(t, min(1, len(want)), 1)
			s.Release()
			gone(t, s)
			holds(t, 0, 0)
		})
	}
}

func TestMakeAndSeal(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 4096, 300_001} {
		for _, by := range []string{"seal", "retain", "nobody"} {
			t.Run(fmt.Sprintf("%d by %s", size, by), func(t *testing.T) {
				t.Parallel()
				s, err := Make(name(t), int64(size))
				if err != nil {
					t.Fatal(err)
				}
				b, err := s.Bytes()
				if err != nil || !bytes.Equal(b, make([]byte, size)) {
					t.Fatalf("%d bytes, not all zero, or %v", len(b), err)
				}
				var st unix.Stat_t
				if err := unix.Fstat(s.fd, &st); err != nil || st.Blocks*512 < int64(size) {
					t.Errorf("%d bytes of pages for %d (%v): a write could fail", st.Blocks*512, size, err)
				}
				want := pattern(9, size)
				copy(b, want)
				at := unsafe.SliceData(b)
				switch by {
				case "seal":
					err = errors.Join(s.Seal(), s.Seal())
				case "retain":
					err = s.Retain()
					defer s.Release()
				}
				if err != nil {
					t.Fatal(err)
				}
				if again, err := s.Bytes(); err != nil || unsafe.SliceData(again) != at || !bytes.Equal(b, want) || !bytes.Equal(again, want) {
					t.Errorf("the memory has moved or changed (%v)", err)
				}
				if size > 0 {
					if faults := faults(func() { b[size-1]++ }); faults != (by != "nobody") {
						t.Errorf("writing in place faults: %v", faults)
					}
				}
				if by != "nobody" {
					refusesWrites(t, s.fd, int64(size))
				}
				holds(t, min(1, size), 1)
				if s.Release(); by != "retain" {
					gone(t, s)
					holds(t, 0, 0)
				}
			})
		}
	}
}

// faults says whether f touches memory that it may not.
func faults(f func()) (faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { faulted = recover() != nil }()
	f()
	return
}

// refusesWrites tries all that there is to change sealed memory of which one has a descriptor.
func refusesWrites(t testing.TB, fd int, size int64) {
	t.Helper()
	for what, err := range writes(fd, size) {
		if err == nil {
			t.Errorf("sealed memory lets everybody %s", what)
		}
	}
}

// writes tries to change memory, through its descriptor and through one that is opened anew.
func writes(fd int, size int64) map[string]error {
	tried := make(map[string]error)
	again, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(again)
	}
	for how, fd := range map[string]int{"": fd, ", through another descriptor": again} {
		_, err := unix.Pwrite(fd, []byte("x"), 0)
		tried["write"+how] = err
		_, err = unix.Pwrite(fd, []byte("x"), size)
		tried["append"+how] = err
		tried["shrink"+how] = unix.Ftruncate(fd, max(0, size-1))
		tried["grow"+how] = unix.Ftruncate(fd, size+1)
		if size == 0 {
			delete(tried, "shrink"+how) // to what it is
			continue
		}
		tried["punch holes"+how] = unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, size)
		mem, err := Map(fd, size, true)
		Unmap(mem)
		tried["map it writable"+how] = err
		if mem, err = Map(fd, size, false); err == nil {
			before := mem[0]
			if err = unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE); err == nil {
				mem[0]++ // which nobody else may see
				var b [1]byte
				if _, err = unix.Pread(fd, b[:], 0); err == nil && b[0] == before {
					err = errors.New("only for itself")
				}
			}
			Unmap(mem)
			tried["make a mapping writable"+how] = err
		}
	}
	return tried
}

// TestSealed tries to write to what is sealed, here and in another process that has the descriptor.
func TestSealed(t *testing.T) {
	t.Parallel()
	want := pattern(3, 70_000)
	s := publish(t, want)
	defer s.Release()
	refusesWrites(t, s.fd, s.Size())
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "segment")
	defer f.Close()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childMode+"=70000", "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{f}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("another process: %v\n%s", err, out)
	}
	if b, err := s.Bytes(); err != nil || !bytes.Equal(b, want) {
		t.Errorf("it has changed (%v)", err)
	}
}

// childMode is the environment variable that makes this program one that was passed a segment, of so many bytes.
const childMode = "BRINE_SHM_TEST"

func child(mode string) {
	size, _ := strconv.Atoi(mode)
	s, err := Adopt(3, int64(size))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	code := 0
	b, err := s.Bytes()
	if err != nil || !bytes.Equal(b, pattern(3, size)) {
		fmt.Println("it reads something else:", err)
		code = 1
	}
	for what, err := range writes(3, int64(size)) {
		if err == nil {
			fmt.Println("it can", what)
			code = 1
		}
	}
	if !faults(func() { b[0] = 1 }) {
		fmt.Println("it can write in place")
		code = 1
	}
	runtime.KeepAlive(s)
	os.Exit(code)
}

// TestFixed has memory that is written again and again: its size stays, whoever has a descriptor, and one of those that
// are for reading can't be mapped for writing.
func TestFixed(t *testing.T) {
	t.Parallel()
	const size = 8192
	fd, err := Create(name(t), size)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, n := range []int64{0, size - 1, size + 1} {
		if err := unix.Ftruncate(fd, n); err == nil {
			t.Errorf("it can be made %d bytes", n)
		}
	}
	if n, err := Size(fd); err != nil || n != size {
		t.Errorf("size %d, %v", n, err)
	}
	if _, err := Size(-1); err == nil {
		t.Error("the size of nothing")
	}
	mem, err := Map(fd, size, true)
	if err != nil {
		t.Fatal(err)
	}
	defer Unmap(mem)
	ro, err := ReadOnly(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ro)
	if m, err := Map(ro, size, true); err == nil {
		Unmap(m)
		t.Error("a descriptor for reading can be mapped for writing")
	}
	view, err := Map(ro, size, false)
	if err != nil {
		t.Fatal(err)
	}
	defer Unmap(view)
	if mem[5000] = 42; view[5000] != 42 {
		t.Error("it is not the same memory")
	}
	if !faults(func() { view[0] = 1 }) {
		t.Error("a mapping for reading can be written")
	}
	Unmap(nil)
}

func TestReserveAndDiscard(t *testing.T) {
	t.Parallel()
	const size, part = 1 << 20, 64 << 10
	fd, err := Create(name(t), size)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	mem, err := Map(fd, size, true)
	if err != nil {
		t.Fatal(err)
	}
	defer Unmap(mem)
	pages := func(want int64) {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Blocks*512 != want {
			t.Errorf("%d bytes of pages (%v), want %d", st.Blocks*512, err, want)
		}
	}
	pages(0)
	if err := Reserve(fd, part, 2*part); err != nil {
		t.Fatal(err)
	}
	pages(2 * part)
	copy(mem[part:], pattern(1, 2*part))
	Discard(fd, 2*part, part)
	pages(part)
	if !bytes.Equal(mem[part:2*part], pattern(1, 2*part)[:part]) || !bytes.Equal(mem[2*part:3*part], make([]byte, part)) {
		t.Error("what was kept has changed, or what was given back has not")
	}
	if err := Reserve(-1, 0, 1); err == nil {
		t.Error("pages of nothing")
	}
}

// adopt passes s on to this process.
func adopt(t testing.TB, s *Segment, size int64) (*Segment, error) {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return Adopt(fd, size)
}

// TestAdopt has an adopted segment live until it is both released and out of reach.
func TestAdopt(t *testing.T) {
	t.Parallel()
	want := pattern(5, 50_000)
	s := publish(t, want)
	func() {
		a, err := adopt(t, s, s.Size())
		if err != nil {
			t.Fatal(err)
		}
		s.Release() // the maker's end doesn't matter
		holds(t, 1, 1)
		if !a.Adopted() || a.Closed() || a.ID() == s.ID() {
			t.Errorf("adopted %v, closed %v, number %d like %d", a.Adopted(), a.Closed(), a.ID(), s.ID())
		}
		look := func() {
			t.Helper()
			if b, err := a.Bytes(); err != nil || !bytes.Equal(b, want) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		}
		look()
		a.Release()
		for range 3 {
			runtime.GC()
		}
		look() // for somebody has kept it
		if err := a.Retain(); err != nil {
			t.Errorf("what is within reach can be passed on, but %v", err)
		}
		a.Release()
		holds(t, 1, 1)
		runtime.KeepAlive(a)
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		if m, d := held(t); m+d == 0 {
			return
		}
		if time.Now().After(deadline) {
			holds(t, 0, 0)
			return
		}
	}
}

// TestAdoptRefuses has a parent claim more than there is: the descriptor is closed.
func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	s := publish(t, pattern(5, 5000))
	defer s.Release()
	for _, size := range []int64{5001, 1 << 40, 1<<63 - 1, -1} {
		if a, err := adopt(t, s, size); err == nil {
			t.Errorf("%d bytes of 5000 are there: %d", size, a.Size())
		}
	}
	if _, err := Adopt(-1, 1); err == nil {
		t.Error("a segment of nothing")
	}
	holds(t, 0, 1)
}
