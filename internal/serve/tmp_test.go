//go:build linux

package serve

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"syscall"

	"golang.org/x/sys/unix"
)

func BenchmarkRawCall(b *testing.B) {
	runtime.LockOSThread()
	fds, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	cmd := exec.Command(os.Getenv("ENGINE"), "engine")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(fds[1]), "x")}
	if err := cmd.Start(); err != nil { b.Fatal(err) }
	c := &client{t: b, fd: fds[0], workers: map[uint32]*child{}}
	buf := make([]byte, 1<<16)
	oob := make([]byte, 4096)
	var have []byte
	var fl []int
	next := func() (header, []byte) {
		for {
			if len(have) >= headerSize {
				var h header
				h.get(have)
				if len(have) >= headerSize+int(h.length) {
					p := have[headerSize:headerSize+int(h.length)]
					have = have[headerSize+int(h.length):]
					return h, p
				}
			}
			n, on, _, _, err := unix.Recvmsg(fds[0], buf, oob, 0)
			if err != nil || n == 0 { b.Fatal(err) }
			ms, _ := unix.ParseSocketControlMessage(oob[:on])
			for i := range ms { g, _ := unix.ParseUnixRights(&ms[i]); fl = append(fl, g...) }
			have = append([]byte(nil), append(have, buf[:n]...)...)
		}
	}
	c.send(header{typ: typeClientHello}, u32s(Version, uint32(os.Getpid())))
	h, p := next()
	os.Setenv("VER", string(p[12:]))
	null, _ := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	c.send(header{typ: typeOpen, pool: 1}, setting{workers: 1, arena: 1<<20}.payload(), int(null.Fd()))
	for {
		h, _ = next()
		if h.typ == typeStart { c.start(h, fl[:9]); fl = fl[9:]; continue }
		break
	}
	if h.typ != typeOpened { b.Fatal(h) }
	b.ResetTimer()
	for i := range b.N {
		c.submit(1, uint64(i), submission{}, "echo x")
		if h, _ := next(); h.typ != typeResults { b.Fatal(h) }
	}
	b.StopTimer()
	syscall.Close(fds[0])
	cmd.Wait()
}
