//go:build linux

package proc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/leaktest"
)

// childMode is the environment variable that makes this program the child of a test, and says what it does.
const childMode = "BRINE_PROC_TEST"

// quick has a child that is built with the race detector not wait a second before it exits.
const quick = "GORACE=atexit_sleep_ms=0"

const crashFD = 3

func child(mode string) {
	mode, arg, _ := strings.Cut(mode, " ")
	n, _ := strconv.Atoi(arg)
	switch mode {
	case "exit":
		os.Exit(n)
	case "print":
		fmt.Fprintln(os.Stdout, "to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
	case "sleep":
		fmt.Fprintln(os.Stdout, "ready")
		time.Sleep(time.Hour)
	case "hang": // and be deaf
		signal.Ignore(syscall.SIGQUIT)
		fmt.Fprintln(os.Stdout, "ready")
		time.Sleep(time.Hour)
	case "overflow":
		setCrashOutput()
		debug.SetMaxStack(1 << 20)
		var f func(int) int
		f = func(i int) int { return f(i+1) + 1 }
		f(0)
	case "panic":
		setCrashOutput()
		panic("at the disco")
	case "fatal": // a fatal line, and so many bytes behind it
		fmt.Fprintln(os.Stderr, "fatal error: the reason")
		line := strings.Repeat("x", 99) + "\n"
		for range n / len(line) {
			fmt.Fprint(os.Stderr, line)
		}
		fmt.Fprintln(os.Stderr, "the end")
	case "family": // a child of its own, in its group
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), childMode+"=sleep")
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			os.Exit(96)
		}
		fmt.Fprintln(os.Stdout, "child", cmd.Process.Pid)
		if arg == "leave" {
			os.Exit(0)
		}
		time.Sleep(time.Hour)
	case "orphan": // a child that left the group and keeps stderr open
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), childMode+"=wait")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Stderr = os.Stderr
		cmd.Stdin = os.NewFile(4, "the test's pipe")
		if err := cmd.Start(); err != nil {
			os.Exit(96)
		}
		fmt.Fprintln(os.Stderr, "last words")
	case "wait": // until the test lets go
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "blocking": // says which of its standard descriptors don't block
		for fd := range 3 {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			fmt.Println(fd, flags&unix.O_NONBLOCK != 0, err)
		}
	case "descriptors":
		list, _ := os.ReadDir("/proc/self/fd")
		for _, fd := range list {
			to, err := os.Readlink("/proc/self/fd/" + fd.Name())
			if err == nil && !strings.HasPrefix(to, "anon_inode:[event") && !strings.HasPrefix(to, "/proc/") {
				fmt.Println(fd.Name(), to)
			}
		}
	}
	os.Exit(0)
}

func setCrashOutput() {
	f := os.NewFile(crashFD, "crash")
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		os.Exit(96)
	}
	f.Close()
}

// start starts this program as a child. What it prints on stdout goes to the returned reader.
func start(t *testing.T, mode string, files ...int) (*Process, *bufio.Reader) {
	t.Helper()
	r, w := io.Pipe()
	p := startTo(t, mode, w, io.Discard, files...)
	go func() { <-p.gone; w.Close() }()
	t.Cleanup(func() { r.Close() }) // before the process's end is waited for, which waits for its output to be taken
	return p, bufio.NewReader(r)
}

func startTo(t *testing.T, mode string, stdout, stderr io.Writer, files ...int) *Process {
	t.Helper()
	crash := make([]int, 2)
	if err := unix.Pipe2(crash, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	p, err := Start(Spec{
		Path: "/proc/self/exe", Args: []string{"brine: test of " + mode}, Env: append(os.Environ(), childMode+"="+mode, quick),
		Stdout: stdout, Stderr: stderr, Files: append([]int{crash[1]}, files...), Crash: crash[0],
	})
	unix.Close(crash[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		p.Autopsy()
	})
	return p
}

// buffer is a writer that may be read meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func line(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	s, err := r.ReadString('\n')
	if err != nil {
		t.Fatal("nothing more from the child:", err)
	}
	return strings.TrimSpace(s)
}

func TestExit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(*Process) // once it runs; nil: it ends by itself
		mode string
		want string
	}{
		{"code 0", nil, "exit 0", "exit status 0"},
		{"code 7", nil, "exit 7", "exit status 7"},
		{"killed", (*Process).Kill, "sleep", "signal: killed"},
		{"killed though deaf", (*Process).Kill, "hang", "signal: killed"},
		{"quit", (*Process).Quit, "sleep", "exit status 2"},
		{"terminated", func(p *Process) { _ = syscall.Kill(p.Pid(), syscall.SIGTERM) }, "sleep", "signal: terminated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, out := start(t, c.mode)
			if c.do != nil {
				if got := line(t, out); got != "ready" {
					t.Fatal(got)
				}
				select {
				case <-p.Ended():
					t.Fatal("it has ended by itself")
				default:
				}
				c.do(p)
			}
			<-p.Ended()
			a := p.Autopsy()
			if got := a.State.String(); got != c.want {
				t.Errorf("ended with %q, want %q\n%s", got, c.want, a.Stderr)
			}
			if a.State.Pid() != p.Pid() {
				t.Errorf("the state is that of %d, not %d", a.State.Pid(), p.Pid())
			}
			if m := a.Memory; m != 0 && (m < 1<<20 || m > 1<<34) {
				t.Errorf("peak memory %d", m)
			}
			p.Kill() // harmless
			p.Quit()
		})
	}
	if peakMemory(nil, 0) != 0 {
		t.Error("memory of nobody")
	}
}

func TestQuitPrintsStacks(t *testing.T) {
	t.Parallel()
	p, out := start(t, "sleep")
	line(t, out)
	p.Quit()
	if a := p.Autopsy(); !bytes.Contains(a.Stderr, []byte("SIGQUIT")) || !bytes.Contains(a.Stderr, []byte("proc.child")) {
		t.Errorf("no stack in\n%s", a.Stderr)
	}
}

// TestKillTakesTheFamily looks that a child of the process dies with it, however it ends.
func TestKillTakesTheFamily(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"kill", "leave"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p, out := start(t, "family "+how)
			pid := 0
			for pid == 0 {
				if _, err := fmt.Sscanf(line(t, out), "child %d", &pid); err != nil {
					pid = 0
				}
			}
			fd, err := unix.PidfdOpen(pid, 0)
			if errors.Is(err, unix.ESRCH) {
				return // gone already
			}
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if how == "kill" {
				p.Kill()
			}
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			for {
				n, err := unix.Poll(fds, 10_000)
				if errors.Is(err, unix.EINTR) {
					continue
				}
				if n != 1 || err != nil {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					t.Errorf("process %d outlives its parent (%v)", pid, err)
				}
				break
			}
		})
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	var stdout, stderr buffer
	p := startTo(t, "print", &stdout, &stderr)
	a := p.Autopsy()
	if stdout.String() != "to stdout\n" || stderr.String() != "to stderr\n" || string(a.Stderr) != "to stderr\n" {
		t.Errorf("stdout %q, stderr %q, autopsy %q", &stdout, &stderr, a.Stderr)
	}
	if len(a.Report) > 0 {
		t.Errorf("crash report %q", a.Report)
	}
}

func TestOutputToFile(t *testing.T) {
	t.Parallel()
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := startTo(t, "print", f, f)
	a := p.Autopsy()
	got, err := os.ReadFile(f.Name())
	if s := string(got); err != nil || !strings.Contains(s, "to stdout\n") || !strings.Contains(s, "to stderr\n") || string(a.Stderr) != "to stderr\n" {
		t.Errorf("the file holds %q (%v), autopsy %q", got, err, a.Stderr)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// TestFailingWriter has the program's writer fail: the process goes on, and the autopsy has its output all the same.
func TestFailingWriter(t *testing.T) {
	t.Parallel()
	p := startTo(t, "fatal 300000", failing{}, failing{})
	if a := p.Autopsy(); a.State.ExitCode() != 0 || !bytes.HasSuffix(a.Stderr, []byte("the end\n")) {
		t.Errorf("%v, stderr ends with %q", a.State, a.Stderr[max(0, len(a.Stderr)-20):])
	}
}

func TestFatalLineFarBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 10_000, 2*tailSize - 50, 2 * tailSize, 200_000, 1_000_000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			p := startTo(t, fmt.Sprint("fatal ", n), io.Discard, io.Discard)
			s := p.Autopsy().Stderr
			if !bytes.Contains(s, []byte("fatal error: the reason\n")) || !bytes.HasSuffix(s, []byte("the end\n")) {
				t.Errorf("%d bytes begin with %q and end with %q", len(s), s[:min(50, len(s))], s[max(0, len(s)-50):])
			}
			if len(s) > 2*tailSize+fatalSize+100 {
				t.Errorf("%d bytes are kept", len(s))
			}
		})
	}
}

func TestCrashPipe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mode, stderr, report string }{
		{"overflow", "fatal error: stack overflow", "proc.child"},
		{"panic", "panic: at the disco", "proc.child"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			p := startTo(t, c.mode, io.Discard, io.Discard)
			a := p.Autopsy()
			if a.State.ExitCode() != 2 || !bytes.Contains(a.Stderr, []byte(c.stderr)) || !bytes.Contains(a.Report, []byte(c.report)) {
				t.Errorf("%v\nstderr: %s\nreport: %s", a.State, a.Stderr, a.Report)
			}
		})
	}
}

// TestOrphanHoldsStderr has a grandchild, which left the group, keep stderr open as long as the test runs.
func TestOrphanHoldsStderr(t *testing.T) {
	t.Parallel()
	hold := make([]int, 2)
	if err := unix.Pipe2(hold, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(hold[1]) // lets the grandchild end
	p := startTo(t, "orphan", io.Discard, io.Discard, hold[0])
	unix.Close(hold[0])
	done := make(chan Autopsy, 1)
	go func() { done <- p.Autopsy() }()
	select {
	case a := <-done:
		if !bytes.Contains(a.Stderr, []byte("last words")) {
			t.Errorf("stderr: %q", a.Stderr)
		}
	case <-time.After(10 * time.Second):
		t.Error("the autopsy waits for somebody else's child")
	}
}

// TestStandardDescriptorsBlock: a program whose stdout doesn't block loses what it prints when the pipe is full.
func TestStandardDescriptorsBlock(t *testing.T) {
	t.Parallel()
	var out buffer
	p := startTo(t, "blocking", &out, io.Discard)
	p.Autopsy()
	if want := "0 false <nil>\n1 false <nil>\n2 false <nil>\n"; out.String() != want {
		t.Errorf("descriptor, nonblocking:\n%s", &out)
	}
}

func TestChildHasNoOtherDescriptors(t *testing.T) {
	t.Parallel()
	var out buffer
	p := startTo(t, "descriptors", &out, io.Discard)
	p.Autopsy()
	for s := range strings.SplitSeq(strings.TrimSpace(out.String()), "\n") {
		number, to, _ := strings.Cut(s, " ")
		fd, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("the child has descriptors\n%s", &out)
		}
		if fd > crashFD && strings.HasPrefix(to, "pipe:") && mine(to) {
			t.Errorf("the child has descriptor %d, %s, of this process", fd, to)
		}
	}
}

// mine says whether this process has such a descriptor that is not to be handed down. What it was itself given open, it
// hands down.
func mine(to string) bool {
	list, _ := os.ReadDir("/proc/self/fd")
	for _, e := range list {
		fd, _ := strconv.Atoi(e.Name())
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if got, _ := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && got == to && flags&unix.FD_CLOEXEC != 0 {
			return true
		}
	}
	return false
}

func TestStartFailureLeavesNothing(t *testing.T) {
	// Not parallel: it counts this process's descriptors.
	before := leaktest.Holdings()
	for _, c := range []struct {
		name string
		spec func(*Spec)
	}{
		{"no such program", func(s *Spec) { s.Path = "/no/such/program" }},
		{"not a program", func(s *Spec) { s.Path = "/dev/null" }},
		{"bad descriptor", func(s *Spec) { s.Files = []int{1 << 20} }},
		{"bad crash descriptor", func(s *Spec) { syscall.Close(s.Crash) }},
	} {
		for _, w := range []io.Writer{nil, io.Discard} {
			crash := make([]int, 2)
			if err := unix.Pipe2(crash, unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			s := Spec{Path: "/proc/self/exe", Args: []string{"x"}, Stdout: w, Stderr: w, Crash: crash[0], Env: []string{childMode + "=exit 0"}}
			c.spec(&s)
			p, err := Start(s)
			unix.Close(crash[1])
			if err == nil {
				t.Errorf("%s: started", c.name)
				p.Autopsy()
			} else if !strings.HasPrefix(err.Error(), "starting a worker process: ") {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
	if after := leaktest.Holdings(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("held %v before and %v after", before, after)
	}
}

// TestManyAtOnce starts and kills from many goroutines, also a process twice at once and just as it ends.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			mode := "exit 3"
			if i%2 == 0 {
				mode = "sleep"
			}
			p := startTo(t, mode, io.Discard, io.Discard)
			var two sync.WaitGroup
			two.Go(p.Kill)
			two.Go(p.Kill)
			two.Wait()
			if a := p.Autopsy(); a.State == nil || a.State.Success() {
				t.Errorf("ended with %v", a.State)
			}
		})
	}
	wg.Wait()
}
