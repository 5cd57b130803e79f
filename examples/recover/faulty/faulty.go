// Package faulty stands for the library that everybody has: it works, but for the day on which it does this.
package faulty

import (
	"flag"
	"log"
	"os"
	"runtime"
	"slices"
	"sync"
)

// Bug is one of the ways in which the library fails its caller.
type Bug struct {
	Name string
	Run  func()
}

// Bugs are all that the library has in this build: those in C need cgo.
var Bugs = slices.Concat([]Bug{
	{"stack overflow", StackOverflow},
	{"concurrent map writes", ConcurrentMapWrites},
	{"unlock of unlocked mutex", UnlockTwice},
	{"panic in its own goroutine", PanicInBackground},
	{"os.Exit", Exit},
	{"log.Fatal", Fatal},
	{"flag.ExitOnError", ParseOptions},
	{"endless loop", LoopForever},
	{"out of memory", TakeAllMemory},
}, bugsInC)

// StackOverflow follows a list that leads back to itself.
func StackOverflow() {
	type node struct{ next *node }
	ring := &node{}
	ring.next = ring
	var length func(*node) int
	length = func(n *node) int {
		if n == nil {
			return 0
		}
		return 1 + length(n.next)
	}
	length(ring)
}

// ConcurrentMapWrites forgets a lock. The runtime finds out soon, though not at the first write.
func ConcurrentMapWrites() {
	m := make(map[int]int)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 10_000_000 {
				m[i%100] = i
			}
		})
	}
	wg.Wait()
}

// UnlockTwice gives back a lock that it doesn't have.
func UnlockTwice() {
	var mu sync.Mutex
	mu.Lock()
	for range 2 {
		mu.Unlock()
	}
}

// PanicInBackground panics where no deferred function of the caller's looks.
func PanicInBackground() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		var library struct{ cache map[string]int }
		library.cache["key"]++
	}()
	<-done
	select {} // the panic ends the process, not only its goroutine
}

// Exit takes its own trouble for the program's.
func Exit() { os.Exit(3) }

// Fatal does too, and says so.
func Fatal() { log.Fatal("faulty: can't find my settings") }

// ParseOptions leaves it to package flag what a bad option means.
func ParseOptions() {
	f := flag.NewFlagSet("faulty", flag.ExitOnError)
	_ = f.Parse([]string{"-colour"})
}

// LoopForever waits for a number that never comes.
func LoopForever() {
	for n := 1; n != 0; n += 2 {
		runtime.KeepAlive(n)
	}
}

// TakeAllMemory keeps what it should drop.
func TakeAllMemory() {
	type block struct {
		next *block
		_    [1 << 20]byte
	}
	for kept := new(block); ; {
		kept = &block{next: kept}
	}
}
