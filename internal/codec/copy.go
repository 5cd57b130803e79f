package codec

import (
	"runtime"
	"sync"
)

// copyPart is what a goroutine copies at least, when several share the work: one
// processor does not use all of the memory's bandwidth.
const copyPart = 2 << 20

// appendLarge is append for what may be very large.
func appendLarge(dst, src []byte) []byte {
	if n := len(dst); len(src) >= 2*copyPart && cap(dst)-n >= len(src) {
		dst = dst[:n+len(src)]
		copyLarge(dst[n:], src)
		return dst
	}
	return append(dst, src...)
}

// copyLarge copies src to dst, which is as long.
func copyLarge(dst, src []byte) {
	parts := min(runtime.GOMAXPROCS(0), 4, len(src)/copyPart)
	if parts < 2 {
		copy(dst, src)
		return
	}
	size := (len(src)/parts + 63) &^ 63
	var wg sync.WaitGroup
	for at := size; at < len(src); at += size {
		end := min(at+size, len(src))
		wg.Go(func() { copy(dst[at:end], src[at:end]) })
	}
	copy(dst[:size], src[:size])
	wg.Wait()
}
