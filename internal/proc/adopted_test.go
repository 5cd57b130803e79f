//go:build linux

package proc

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// foreign is a process that a test started, and reaps, and an adoption of it.
type foreign struct {
	cmd    *exec.Cmd
	p      *Adopted
	stderr lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// adopt starts a shell, whose descriptor 3 is the crash pipe, waits until it says that it is ready, and adopts it.
func adopt(t *testing.T, script string) *foreign {
	t.Helper()
	pipe := func() (r int, w *os.File) {
		var fds [2]int
		if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		return fds[0], os.NewFile(uintptr(fds[1]), "pipe")
	}
	f := &foreign{cmd: exec.Command("sh", "-c", script)}
	errs, errsW := pipe()
	crash, crashW := pipe()
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.cmd.Stderr, f.cmd.ExtraFiles = errsW, []*os.File{crashW}
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = f.cmd.Start()
	errsW.Close()
	crashW.Close()
	if err != nil {
		t.Fatal(err)
	}
	if f.p, err = Adopt(Foreign{PID: f.cmd.Process.Pid, Errors: errs, Crash: crash, Stderr: &f.stderr}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.p.Kill()
		f.p.Autopsy()
		_ = f.cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return f
}

// status waits for the process's end, first as who adopted it, then as who started it.
func (f *foreign) status(t *testing.T) (Autopsy, syscall.WaitStatus) {
	t.Helper()
	select {
	case <-f.p.Ended():
	case <-time.After(20 * time.Second):
		t.Fatal("it did not end")
	}
	a := f.p.Autopsy()
	_ = f.cmd.Wait()
	ws, _ := f.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return a, ws
}

func TestAdoptExit(t *testing.T) {
	t.Parallel()
	f := adopt(t, `echo; echo said >&2; echo crashed >&3; exit 5`)
	a, ws := f.status(t)
	if ws.ExitStatus() != 5 || a.State != nil || string(a.Report) != "crashed\n" || string(a.Stderr) != "said\n" || f.stderr.String() != "said\n" {
		t.Errorf("it ended with %v: %q, %q, passed on %q", ws, a.Report, a.Stderr, &f.stderr)
	}
}

// TestAdoptKill ends a process and what it has started.
func TestAdoptKill(t *testing.T) {
	t.Parallel()
	f := adopt(t, `sleep 1000 & echo; wait`)
	f.p.Kill()
	_, ws := f.status(t)
	if ws.Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", ws)
	}
	f.p.Kill() // of nobody
}

// TestAdoptLeftBehind has a process exit whose child goes on.
func TestAdoptLeftBehind(t *testing.T) {
	t.Parallel()
	f := adopt(t, `sleep 1000 & echo $! >&2; echo`)
	start := time.Now()
	if _, ws := f.status(t); ws.ExitStatus() != 0 || time.Since(start) > 5*time.Second {
		t.Errorf("it ended with %v after %v", ws, time.Since(start))
	}
}

// TestAdoptStop asks for stacks: who prints them has as long as that takes, and no longer.
func TestAdoptStop(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script string
		report string
		most   time.Duration
	}{
		"prints":     {`trap 'echo a stack >&3; echo quiet >&2' QUIT; echo; while :; do sleep 0.01; done`, "a stack\n", StackWait - 50*time.Millisecond},
		"says no":    {`trap '' QUIT; echo; while :; do sleep 0.01; done`, "", time.Minute},
		"ends of it": {`trap 'echo bye >&3; exit 3' QUIT; echo; while :; do sleep 0.01; done`, "bye\n", StackWait - 50*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := adopt(t, test.script)
			start := time.Now()
			f.p.Stop()
			a, ws := f.status(t)
			took := time.Since(start)
			if string(a.Report) != test.report || strings.Contains(f.stderr.String(), "quiet") {
				t.Errorf("report %q, passed on %q", a.Report, &f.stderr)
			}
			if name != "ends of it" && ws.Signal() != syscall.SIGKILL {
				t.Errorf("it ended with %v", ws)
			}
			if test.report == "" && took < StackWait {
				t.Errorf("it was ended after %v", took)
			}
			if took > test.most {
				t.Logf("it took %v", took) // a busy machine may be late
			}
		})
	}
}

func TestAdoptNobody(t *testing.T) {
	t.Parallel()
	var fds [4]int
	for i := 0; i < len(fds); i += 2 {
		if err := syscall.Pipe2(fds[i:i+2], syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	defer syscall.Close(fds[1])
	defer syscall.Close(fds[3])
	if _, err := Adopt(Foreign{PID: 1 << 22, Errors: fds[0], Crash: fds[2]}); err == nil {
		t.Error("a process was adopted that can't be")
	}
}
