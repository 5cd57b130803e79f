//go:build linux

package frozen

import (
	"os"
	"sync"
	"syscall"
	"testing"
)

// shared returns memory as a table has it in use: of small pages that processes could share.
func shared(tb testing.TB, n int64) []byte {
	tb.Helper()
	mem, err := syscall.Mmap(-1, 0, int(n), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = syscall.Munmap(mem) })
	return mem
}

// region is memory with a page behind it that may not be touched. It is kept, as a fuzz target runs very often.
var region = sync.OnceValues(func() ([]byte, error) {
	const size = 1 << 20
	mem, err := syscall.Mmap(-1, 0, size+os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, err
	}
	return mem[:size:size], syscall.Mprotect(mem[size:], syscall.PROT_NONE)
})

// guard returns the n bytes at the end of the region. A test that reads beyond them crashes. There is one at a time.
func guard(tb testing.TB, n int) []byte {
	tb.Helper()
	mem, err := region()
	if err != nil {
		tb.Fatal(err)
	}
	if n > len(mem) {
		tb.Skipf("%d bytes are too many", n)
	}
	return mem[len(mem)-n:]
}
