//go:build linux

package serve

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/bill"
)

// storedAt writes a stored payload of a pickle and buffers to the memory fd, as Python's client does, and returns the body that
// refers to it.
func storedAt(t *testing.T, fd int, offset int64, pickle string, buffers ...int) string {
	t.Helper()
	b := appendU64(u32s(storedMagic, uint32(len(buffers))), uint64(len(pickle)))
	for _, n := range buffers {
		b = appendU64(b, uint64(n))
	}
	b = append(b, make([]byte, align(int64(len(b)), storedAlign)-int64(len(b)))...)
	b = append(b, pickle...)
	for _, n := range buffers {
		at := align(int64(len(b)), storedAlign)
		if n >= storedLarge {
			at = align(at, storedPage)
		}
		b = append(b, make([]byte, at-int64(len(b))+int64(n))...)
	}
	if _, err := unix.Pwrite(fd, b, offset); err != nil {
		t.Fatal(err)
	}
	return string(appendU64(appendU64([]byte{formStored}, uint64(offset)), uint64(len(b))))
}

// clientArena returns shared memory such as Python's client has, which must not become smaller.
func clientArena(t *testing.T, seals int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("client", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, 64<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return fd
}

// openWith opens a pool that has the client's arena.
func (c *client) openWith(number uint32, arena int) {
	c.t.Helper()
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer unix.Close(null)
	c.send(header{typ: typeOpen, pool: number, flags: hasArena}, setting{workers: 1}.payload(), null, arena)
	c.awaitOpened(number)
}

// A pair of buffers.
const pickled = "\x80\x05\x97\x97\x86."

// TestArenaOnTheBill: what lies in the client's arena is counted, looked into, and known again.
func TestArenaOnTheBill(t *testing.T) {
	t.Parallel()
	c := connect(t)
	fd := clientArena(t, unix.F_SEAL_SHRINK)
	c.openWith(1, fd)
	large := storedAt(t, fd, 4096, pickled, 2<<20, 100)
	small := storedAt(t, fd, 16<<20, pickled, 40, 50)
	c.submit(1, 1, submission{bound: "\x01twine"}, large, large, small, large)
	c.results(1, 4)
	var b bill.Bill
	if err := json.Unmarshal([]byte(c.statistics()), &b); err != nil {
		t.Fatal(err)
	}
	var argument bill.Line
	for _, l := range b.Lines {
		if l.Class == bill.Argument {
			argument = l
		}
	}
	n := int64(len(pickled))
	if want := 4*n + 3*(2<<20+100) + 90; argument.Encode.Bytes != want || argument.Decode.Bytes != want || argument.Encode.Max != n+2<<20+100 {
		t.Errorf("arguments have %+v, want %d bytes", argument, want)
	}
	if len(b.Repeats) != 1 || b.Repeats[0].Count != 3 || b.Repeats[0].Bytes != 2<<20 {
		t.Errorf("repeats: %+v", b.Repeats)
	}
	if len(b.Parts) == 0 || b.Parts[0].Class != bill.Argument || b.Parts[0].Heaviest() != "[0]" {
		t.Errorf("parts: %+v", b.Parts)
	}
}

// TestArenaAfterTheEnd: frames that refer to the client's arena may come when the pool that it came with has ended.
func TestArenaAfterTheEnd(t *testing.T) {
	t.Parallel()
	c := connect(t)
	fd := clientArena(t, unix.F_SEAL_SHRINK)
	c.openWith(1, fd)
	body := storedAt(t, fd, 4096, pickled, 2<<20)
	c.submit(1, 1, submission{bound: "\x01twine", more: true}, "echo a")
	c.results(1, 1)
	c.send(header{typ: typeKill, pool: 1}, nil)
	c.awaitClosed(1)
	c.extend(1, false, body, body)
	c.submit(1, 2, submission{}, body)
	c.results(2, 1)
	c.openWith(2, fd) // and the engine is well
}

// TestBadArenas: memory that could become smaller is not mapped, and what makes no sense is left off the bill.
func TestBadArenas(t *testing.T) {
	t.Parallel()
	at := func(offset, length uint64) string {
		return string(appendU64(appendU64([]byte{formStored}, offset), length))
	}
	head := func(b []byte, offset int, n, buffers uint32, length uint64, sizes ...uint64) {
		binary.LittleEndian.PutUint32(b[offset:], n)
		binary.LittleEndian.PutUint32(b[offset+4:], buffers)
		binary.LittleEndian.PutUint64(b[offset+8:], length)
		for i, s := range sizes {
			binary.LittleEndian.PutUint64(b[offset+16+8*i:], s)
		}
	}
	const most = 1<<64 - 1
	mem := make([]byte, 1<<16)
	head(mem, 0, storedMagic, 0, 10)
	head(mem, 4096, storedMagic+1, 0, 10)
	head(mem, 8192, storedMagic, 0, most)
	head(mem, 12288, storedMagic, 1, 10, most)
	head(mem, 16384, storedMagic, 1<<32-1, 10)
	head(mem, 20480, storedMagic, 2, 10, 1<<62, 1<<62)
	a := arena{mem}
	for body, want := range map[string]int64{
		at(0, 1024): 0, // less than the reference to it
		at(0, 16):   0, at(0, 0): 0, at(most, 1): 0, at(1, most): 0, at(1<<16, 1): 0, at(1<<16-8, 8): 0,
		at(4096, 1024): 0, at(8192, 1024): 0, at(12288, 1024): 0, at(16384, 1024): 0, at(20480, 1024): 0,
		"": 0, "\x01": 0, "\x07" + strings.Repeat("x", 16): 0,
	} {
		if got := a.beside([]byte(body)); got != want {
			t.Errorf("%x has %d bytes elsewhere, want %d", body, got, want)
		}
		if stream, _, ok := a.look([]byte(body)); ok && len(stream) > 100 {
			t.Errorf("%x is %d bytes", body, len(stream))
		}
		if got := (arena{}).beside([]byte(body)); got != 0 {
			t.Errorf("without an arena, %x has %d bytes elsewhere", body, got)
		}
	}

	c := connect(t)
	fd := clientArena(t, unix.F_SEAL_GROW)
	c.openWith(1, fd)
	body := storedAt(t, fd, 4096, pickled, 2<<20)
	if err := unix.Ftruncate(fd, 0); err != nil {
		t.Fatal(err)
	}
	c.submit(1, 1, submission{bound: "\x01twine"}, body, body)
	c.results(1, 2)
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte{formPlain, 'N', '.'}, []byte{})
	f.Add(append([]byte{formStored}, make([]byte, 16)...), make([]byte, 200))
	f.Add(append([]byte{formBuffers}, appendU64(u32s(1), 3)...), make([]byte, 10))
	f.Add([]byte{0, 3, 0, 0, 0, 1, 2, 3, 0, 'N', '.'}, []byte("nirb\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, body, mem []byte) {
		a := arena{mem}
		function, arguments, ok := single(body)
		for _, b := range [][]byte{body, function, arguments} {
			if n := a.beside(b); n < 0 || n > int64(len(mem)) {
				t.Errorf("%d bytes of %d lie elsewhere", n, len(mem))
			}
			if stream, _, ok := a.look(b); ok && len(stream) > len(mem)+len(b) {
				t.Errorf("a pickle of %d bytes", len(stream))
			}
		}
		_ = ok
		if stream, _, ok := lookStored(mem); ok && len(stream) > len(mem) {
			t.Errorf("a pickle of %d bytes in %d", len(stream), len(mem))
		}
	})
}
