package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const prSetChildSubreaper = 36 // linux/prctl.h

// adoptOrphans makes this process the parent of every descendant whose own parent ends before it, so that none can hide from reapOrphans.
func adoptOrphans() error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("become a subreaper: %w", errno)
	}
	return nil
}

// reapOrphans kills the processes running one of programs that the entrants of a finished row left behind, and returns their command
// lines. A process that is on its way out has a moment to get there; call it only when this process has no children of its own.
func reapOrphans(programs ...string) []string {
	var left []string
	for try := range 20 {
		pids := slices.DeleteFunc(children(os.Getpid()), func(pid int) bool { return !runsOneOf(pid, programs) })
		if len(pids) == 0 {
			return left
		}
		for _, pid := range pids {
			if got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); err != nil || got == pid {
				continue // already dead, or not ours to wait for
			}
			if try < 10 {
				continue
			}
			left = append(left, commandLine(pid))
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return left
}

// children lists the processes whose parent is pid.
func children(pid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var found []int
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // gone since
		}
		_, rest, ok := strings.Cut(string(b), ") ") // past the command's name, which may hold anything
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			found = append(found, child)
		}
	}
	return found
}

// runsOneOf says whether pid runs one of programs. A dead process runs none that can be told: that counts as yes, since it is to be reaped.
func runsOneOf(pid int, programs []string) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err != nil || slices.Contains(programs, strings.TrimSuffix(exe, " (deleted)"))
}

func commandLine(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " ")))
}
