package brine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

// footprint is what a process holds that a pool could leave behind.
type footprint struct {
	goroutines  map[string]string // by id, their stacks
	children    map[int]string    // by pid, their command lines
	descriptors map[string]string // by number, what they are of
	mappings    map[string]string // of memfds
}

var goroutineHeader = regexp.MustCompile(`^goroutine (\d+) `)

func takeFootprint() footprint {
	p := footprint{map[string]string{}, childProcesses(), map[string]string{}, map[string]string{}}
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if m := goroutineHeader.FindStringSubmatch(stack); m != nil {
			p.goroutines[m[1]] = stack
		}
	}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		// The directory's own descriptor is gone by now; the runtime's poller stays for good once it is used.
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(target, "anon_inode:[event") {
			p.descriptors[e.Name()] = target
		}
	}
	lines, _ := os.ReadFile("/proc/self/maps")
	for line := range bytes.Lines(lines) {
		if bytes.Contains(line, []byte("memfd:")) {
			p.mappings[string(line)] = ""
		}
	}
	return p
}

// childProcesses are the children of this process, zombies too, by all of its threads.
func childProcesses() map[int]string {
	children := map[int]string{}
	files, _ := filepath.Glob("/proc/self/task/*/children")
	for _, file := range files {
		list, _ := os.ReadFile(file)
		for field := range strings.FieldsSeq(string(list)) {
			pid, _ := strconv.Atoi(field)
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			children[pid] = strings.ReplaceAll(string(command), "\x00", " ")
		}
	}
	return children
}

// left says what is there now and was not in p, after at most d in which it may go.
func (p footprint) left(d time.Duration) string {
	for deadline := time.Now().Add(d); ; time.Sleep(5 * time.Millisecond) {
		now := takeFootprint()
		var b strings.Builder
		added(&b, "goroutine", p.goroutines, now.goroutines)
		added(&b, "child process", p.children, now.children)
		added(&b, "descriptor", p.descriptors, now.descriptors)
		added(&b, "mapping", p.mappings, now.mappings)
		if b.Len() == 0 || time.Now().After(deadline) {
			return b.String()
		}
	}
}

func added[K int | string](b *strings.Builder, what string, before, now map[K]string) {
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if was, ok := before[key]; !ok || what == "descriptor" && was != now[key] {
			fmt.Fprintf(b, "%s %v: %s\n", what, key, now[key])
		}
	}
}

// checkLeaks fails a test that leaves anything. The test must not be parallel.
func checkLeaks(t *testing.T) {
	t.Helper()
	before := takeFootprint()
	t.Cleanup(func() {
		if left := before.left(5 * time.Second); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
	})
}

// TestNothingIsLeft takes a pool through every way to its end; not parallel, so that what is left is its own.
func TestNothingIsLeft(t *testing.T) {
	background := context.Background()
	two := &brine.Options{Workers: 2, Grace: 100 * time.Millisecond}
	timeout := brine.Limits{Timeout: 50 * time.Millisecond}
	ends := []struct {
		name string
		run  func(t *testing.T, pool *brine.Pool[struct{}])
	}{
		{"close at once", func(t *testing.T, pool *brine.Pool[struct{}]) {}},
		{"kill", func(t *testing.T, pool *brine.Pool[struct{}]) { pool.Kill() }},
		{"kill with work", func(t *testing.T, pool *brine.Pool[struct{}]) {
			for range 100 {
				brine.Go(background, pool, do, deed{How: "wait"})
			}
			pool.Kill()
		}},
		{"map", func(t *testing.T, pool *brine.Pool[struct{}]) {
			if _, err := brine.Map(background, pool, do, make([]deed, 1000)); err != nil {
				t.Error(err)
			}
		}},
		{"large payloads", func(t *testing.T, pool *brine.Pool[struct{}]) {
			for range 5 {
				if _, err := brine.Map(background, pool, echoBytes, [][]byte{make([]byte, 1<<20), make([]byte, 5<<20), make([]byte, 100_000)}); err != nil {
					t.Error(err)
				}
			}
		}},
		{"crash", func(t *testing.T, pool *brine.Pool[struct{}]) {
			_, _ = brine.Map(background, pool, do, []deed{{How: "exit", N: 3}, {}, {How: "kill"}})
		}},
		{"timeout", func(t *testing.T, pool *brine.Pool[struct{}]) {
			_, _ = brine.Map(background, pool, do.With(timeout), []deed{{How: "loop"}, {}, {How: "wait"}})
		}},
		{"break", func(t *testing.T, pool *brine.Pool[struct{}]) {
			for range brine.All(background, pool, double, endless) {
				break
			}
			for range brine.Unordered(background, pool, double, endless) {
				break
			}
		}},
		{"cancel", func(t *testing.T, pool *brine.Pool[struct{}]) {
			ctx, cancel := context.WithCancel(background)
			f := brine.Go(ctx, pool, do, deed{How: "loop"})
			g := brine.Go(ctx, pool, do, deed{How: "wait"})
			cancel()
			<-f.Done()
			<-g.Done()
		}},
		{"panic of the sequence", func(t *testing.T, pool *brine.Pool[struct{}]) {
			defer func() { _ = recover() }()
			for range brine.All(background, pool, double, func(yield func(int) bool) { yield(1); panic("sequence") }) {
				continue
			}
		}},
		{"panic of the loop", func(t *testing.T, pool *brine.Pool[struct{}]) {
			defer func() { _ = recover() }()
			for range brine.All(background, pool, double, endless) {
				panic("loop")
			}
		}},
		{"callbacks", func(t *testing.T, pool *brine.Pool[struct{}]) {
			for range 10 {
				brine.Go(background, pool, double, 1).Then(func(int, error) {})
			}
		}},
	}
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			checkLeaks(t)
			pool, err := brine.Open(background, brine.Stateless, struct{}{}, two)
			if err != nil {
				t.Fatal(err)
			}
			within(t, 30*time.Second, end.name, func() { end.run(t, pool) })
			within(t, 30*time.Second, "Close", func() { pool.Close() })
			gone(t, pool.Stats())
		})
	}
	for _, how := range []string{"error", "panic", "exit", "goexit", "kill"} {
		t.Run("open fails by "+how, func(t *testing.T) {
			checkLeaks(t)
			if _, err := brine.Open(background, fragiles, fragileConfig{Open: how}, two); err == nil {
				t.Error("no error")
			}
		})
	}
	t.Run("open is cancelled", func(t *testing.T) {
		checkLeaks(t)
		ctx, cancel := context.WithTimeout(background, 100*time.Millisecond)
		defer cancel()
		if _, err := brine.Open(ctx, fragiles, fragileConfig{Open: "wait"}, two); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open returned %v", err)
		}
	})
}
