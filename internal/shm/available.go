package shm

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// Total returns the memory that the program can have, in bytes: the machine's, or what its control group may use.
func Total() int64 {
	have := total()
	if limit, _, ok := group(); ok {
		have = min(have, limit)
	}
	return have
}

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

// group returns the limit of the program's control group, as systemd, Docker and Kubernetes set it, and what of it is
// used. A group without a limit says max.
func group() (limit, used int64, ok bool) {
	for _, files := range [][2]string{
		{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
		{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
	} {
		limit, ok1 := number(files[0])
		used, ok2 := number(files[1])
		if ok1 && ok2 {
			return limit, used, true
		}
	}
	return 0, 0, false
}

func number(file string) (int64, bool) {
	b, err := os.ReadFile(file) //nolint:gosec // one of the above
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return n, err == nil && n > 0
}
