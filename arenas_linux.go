package brine

import "golang.org/x/sys/unix"

func physicalMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return leastMemory
	}
	return int64(info.Totalram) * int64(info.Unit) //nolint:unconvert // narrower on some machines
}
