//go:build linux

package conformance

import "testing"

// cases is what is asked of a worker. All that holds for one language only, or not in the same way, says so.
var cases = []struct {
	name    string
	only    string // language
	differs string // why it is that language's alone, or what is not the same
	run     func(t *testing.T, l *language)
}{
	{name: "begins and ends", run: testBeginsAndEnds},
	{name: "another version", run: testAnotherVersion, differs: "after a ready frame that says why not, Go exits with 70 and Python with 1: the page names none"},
	{name: "another build", run: testAnotherBuild, only: "go", differs: "a Python worker has no build of its own"},
	{name: "unknown kind", run: testUnknownKind, only: "go", differs: "Python has no kinds"},
	{name: "initializer fails", run: testInitializerFails, differs: "the exit status, as with another version"},
	{name: "initializer panics", run: testInitializerPanics, only: "go", differs: "Python has no panics"},
	{name: "closing fails", run: testClosingFails, only: "go", differs: "Python's state has nothing that closes it"},
	{name: "configuration in the arena", run: testConfigurationInTheArena},
	{name: "memory cap", run: testMemoryCap},
	{name: "inheritance", run: testInheritance},

	{name: "tasks", run: testTasks},
	{name: "tasks without bound arguments", run: testAlone},
	{name: "frames in pieces", run: testPieces},
	{name: "frames larger than pipes", run: testLargeFrames},
	{name: "many tiny tasks", run: testTiny},
	{name: "several chunks outstanding", run: testOutstanding},
	{name: "bound arguments", run: testBound},
	{name: "bound arguments that can't be decoded", run: testUnbindable, differs: "Go has status 4 for it; Python 1, so that the exception comes with it"},
	{name: "unknown function", run: testUnknownFunction, only: "go", differs: "to Python names of functions mean nothing, bodies have the functions"},
	{name: "function without a name", run: testNamelessFunction, only: "python", differs: "only Python's calls carry their functions"},
	{name: "errors", run: testErrors, differs: "the error's type is of the language"},
	{name: "panics", run: testPanics, only: "go", differs: "Python has no panics"},
	{name: "ended goroutines", run: testGoexit, only: "go", differs: "Python has no goroutines"},
	{name: "results while a task runs", run: testEarly},
	{name: "accounts", run: testAccounts},

	{name: "cancel a running chunk", run: testCancelRunning},
	{name: "cancel a waiting chunk", run: testCancelWaiting},
	{name: "cancel a chunk to come", run: testCancelToCome},
	{name: "cancel tells the task", run: testCancelTells, only: "go", differs: "Python's tasks have no context"},
	{name: "time limit", run: testLimit},
	{name: "time limit, and an error", run: testLimitAndError},
	{name: "time limit that is kept", run: testLimitKept},

	{name: "large arguments", run: testLargeArguments, differs: "flag 1 has Go read in place; Python reads a copy, which is not to be seen"},
	{name: "arguments in place", run: testInPlace, only: "go", differs: "Python reads no arguments in this arena in place"},
	{name: "large results", run: testLargeResults, differs: "Python's are stored payloads"},
	{name: "leases", run: testLeases},
	{name: "results that are kept", run: testKept},
	{name: "no arenas", run: testNoArenas},
	{name: "shared data", run: testShared, differs: "Python's payloads refer to none: what a Go task reads there is tested in internal/worker"},

	{name: "task that ends its process", run: testEndsItsProcess},
	{name: "killed at any moment", run: testKilled},
	{name: "end of the control socket", run: testHangUp},
	{name: "broken rules on the task pipe", run: testBrokenTasks},
	{name: "broken rules in the first frame", run: testBrokenFirst, differs: "Go's hello comes before it has read the frame, and it may say why in a ready frame"},
	{name: "broken rules on the control socket", run: testBrokenControl},
}
