package shm

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Total returns the memory that the program can have, in bytes: the machine's, or what its control group may use. It is
// found out once: every Open asks, and it takes a dozen files to read.
var Total = sync.OnceValue(func() int64 {
	have := total()
	if limit, _, ok := group(); ok {
		have = min(have, limit)
	}
	return have
})

// room returns an error for size bytes that there is no memory for. The system would not refuse them: it would end
// some process when the last page is gone, perhaps this one.
func room(size int64) error {
	have := available()
	if limit, used, ok := group(); ok {
		have = min(have, limit-used)
	}
	if size > have {
		return fmt.Errorf("no room for %d bytes of shared memory: %d are available", size, max(0, have))
	}
	return nil
}

// group returns what the program's control group, and those above it, let it have, and what is used of that. Pages of
// files that the system can drop don't count as used.
func group() (limit, used int64, ok bool) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, 0, false
	}
	free := int64(math.MaxInt64)
	for line := range strings.Lines(string(b)) {
		// hierarchy:controllers:path; with version 2 there is one, whose number is 0 and which has no controllers.
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		root, names := "/sys/fs/cgroup", [...]string{"memory.max", "memory.current", "inactive_file", "active_file"}
		switch {
		case f[0] == "0" && f[1] == "":
		case slices.Contains(strings.Split(f[1], ","), "memory"):
			root, names = "/sys/fs/cgroup/memory", [...]string{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file"}
		default:
			continue
		}
		// In a container, the path may be that of the host, and the group the root.
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			l, ok1 := number(path.Join(root, dir, names[0])) // a group without a limit says max
			u, ok2 := number(path.Join(root, dir, names[1]))
			if ok1 && ok2 {
				u -= stat(path.Join(root, dir, "memory.stat"), names[2], names[3])
				if l-u < free {
					limit, used, free, ok = l, u, l-u, true
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit, used, ok
}

// stat adds up lines of a file of names and numbers.
func stat(file string, names ...string) (sum int64) {
	b, err := os.ReadFile(file) //nolint:gosec // of the control group
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && slices.Contains(names, f[0]) {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			sum += n
		}
	}
	return sum
}

func number(file string) (int64, bool) {
	b, err := os.ReadFile(file) //nolint:gosec // of the control group
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return n, err == nil && n > 0
}
