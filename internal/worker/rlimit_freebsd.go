package worker

import "golang.org/x/sys/unix"

func rlimit(n int64) unix.Rlimit { return unix.Rlimit{Cur: n, Max: n} }
