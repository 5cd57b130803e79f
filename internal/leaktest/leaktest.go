//go:build linux

// Package leaktest finds out whether tests have left goroutines, processes, descriptors or shared memory behind.
package leaktest

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Main runs the tests and exits with their code, or with 1 when they have left something behind. What a fuzzing run
// holds is not looked at.
func Main(m *testing.M) {
	flag.Parse()
	before := Holdings()
	code := m.Run()
	if f := flag.Lookup("test.fuzz"); code == 0 && (f == nil || f.Value.String() == "") {
		code = leaks(before)
	}
	os.Exit(code)
}

func leaks(before map[string]int) int {
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(5 * time.Millisecond) { // what was ended takes its time
		after := Holdings()
		if maps.Equal(before, after) {
			return 0
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			fmt.Printf("LEAK: held %v before the tests and %v after them\n%s\n", before, after, buf[:runtime.Stack(buf, true)])
			return 1
		}
	}
}

// Holdings counts what this process holds.
func Holdings() map[string]int {
	held := map[string]int{"goroutines": runtime.NumGoroutine()}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && !strings.HasPrefix(to, "anon_inode:[event") && !strings.HasPrefix(to, "/proc/") {
			kind, _, _ := strings.Cut(to, ":")
			held["descriptor of "+kind]++
		}
	}
	threads, _ := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		children, _ := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
		if n := len(strings.Fields(string(children))); n > 0 {
			held["children"] += n
		}
	}
	mappings, _ := os.ReadFile("/proc/self/maps")
	if n := strings.Count(string(mappings), "/memfd:brine"); n > 0 {
		held["mappings"] = n
	}
	return held
}
