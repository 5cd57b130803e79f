package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
)

// memory returns how many bytes of memory processes have together, where a page that n processes have counts 1/n in
// each, or -1 on systems that don't tell.
func memory(pids []int) (int64, error) {
	if runtime.GOOS != "linux" {
		return -1, nil
	}
	var sum int64
	for _, pid := range pids {
		path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
		b, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		_, after, _ := bytes.Cut(b, []byte("\nPss:"))
		var kib int64
		if _, err := fmt.Sscanf(string(after), "%d kB", &kib); err != nil {
			return 0, fmt.Errorf("%s: Pss: %w", path, err)
		}
		sum += kib << 10
	}
	return sum, nil
}
