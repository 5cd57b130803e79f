package brine

import (
	"bytes"
	"os"
	"strconv"
)

// arenaShare is the part of the memory there is that arenas may take: one in so many.
const arenaShare = 8

// leastMemory is what a machine is taken to have that doesn't say.
const leastMemory = 1 << 30

// arenaMemory returns the default of Options.ArenaMemory.
func arenaMemory() int64 {
	have := physicalMemory()
	// The limit of the control group, as systemd, Docker and Kubernetes set it. Without one the file says "max".
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64); err == nil && n > 0 {
			have = min(have, n)
		}
	}
	return have / arenaShare
}
