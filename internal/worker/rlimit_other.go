//go:build unix && !freebsd

package worker

import "golang.org/x/sys/unix"

func rlimit(n int64) unix.Rlimit { return unix.Rlimit{Cur: uint64(n), Max: uint64(n)} }
