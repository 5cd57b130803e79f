//go:build linux

package conformance

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/brinepool/brine/internal/link"
)

// testEndsItsProcess: nothing of what was finished before is lost, and the journal says who did it.
func testEndsItsProcess(t *testing.T, l *language) {
	for _, c := range []struct {
		verb   string
		status int
	}{{"exit 3", 3}, {"exit 0", 0}, {"kill", -9}} {
		for _, m := range []link.ChunkMessage{{Bound: 1}, {}} {
			w := begun(t, l, arenaSize)
			big := string(large(4, 50_000))
			first := w.chunkWith(m, "echo a")
			second := w.chunkWith(m, "echo b", "large 4 50000", "error oh", c.verb, "echo c")
			w.chunkWith(m, "echo d")
			var got []answer
			w.rest(func(f frame) {
				if f.Type != link.Results || (f.Chunk == first) != (len(got) == 0) || (f.Chunk == second && int(f.First) != len(got)-1) {
					t.Fatalf("%v of chunk %d from %d on, after %d results", f.Type, f.Chunk, f.First, len(got))
				}
				got = append(got, w.results(f)...)
			})
			if status := w.exit(); status != c.status {
				t.Errorf("%s: it ended with %d\n%s", c.verb, status, w.stderr.String())
			}
			if len(got) != 4 || got[3].status != link.Failed {
				t.Fatalf("%s: there are %d results: %+v", c.verb, len(got), got)
			}
			w.want(got[:3], "a", "b", big)
			if w.l.Journal.Current() != second {
				t.Errorf("%s: the journal has chunk %d, want %d", c.verb, w.l.Journal.Current(), second)
			}
		}
	}
}

// testKilled kills workers at random instants. What came and what the journal still has are all results of tasks that had
// ended, each once, and current has the task that had not.
func testKilled(t *testing.T, l *language) {
	kills := 30
	if testing.Short() || raceDetector {
		kills = 10
	}
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	total, tails := 0, 0
	for i := range kills {
		n, tail := killOne(t, l, int64(i%2)<<20, time.Duration(random.Int64N(int64(4*time.Millisecond))))
		if t.Failed() {
			t.Fatalf("kill %d of %d, after %d results", i, kills, n)
		}
		total += n
		if tail > 0 {
			tails++
		}
	}
	t.Logf("%d results, %d of %d journals had some", total, tails, kills)
	if tails == 0 {
		t.Error("no journal was ever needed: this shows nothing")
	}
}

func killOne(t *testing.T, l *language, arena int64, after time.Duration) (n, tail int) {
	t.Helper()
	const chunks, each = 300, 100
	count := filepath.Join(t.TempDir(), "count")
	if err := os.WriteFile(count, make([]byte, 8), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, l, arena)
	m := w.initial()
	m.Config = item(l.config("count " + count))
	w.init(m)
	w.ready()
	w.function()
	args := make([]string, each)
	for c := range chunks {
		for i := range args {
			args[i] = fmt.Sprint("tick ", c*each+i)
		}
		w.chunk(args...)
	}
	take := func(f frame) {
		chunk, index := position(n, each)
		if f.Type != link.Results || f.Chunk != chunk || f.First != index {
			t.Fatalf("%v of chunk %d from %d on, want task %d of chunk %d", f.Type, f.Chunk, f.First, index, chunk)
		}
		for _, a := range w.results(f) {
			if a.status != link.OK || a.value != string(ticked(n)) {
				t.Fatalf("result %d has status %d: %.40q", n, a.status, a.value)
			}
			n++
		}
	}
	take(w.next()) // from here on the instant is counted
	kill := time.AfterFunc(after, func() { _ = w.cmd.Process.Kill() })
	defer kill.Stop()
	tail = w.rest(take)
	if status := w.exit(); status != -int(syscall.SIGKILL) {
		t.Errorf("it ended with %d\n%s", status, w.stderr.String())
	}
	b, err := os.ReadFile(count)
	if err != nil {
		t.Fatal(err)
	}
	if counted := int(binary.LittleEndian.Uint64(b)); n != counted && n != counted-1 { // one may have been counted and not published yet
		t.Errorf("%d tasks have ended, and there are %d results", counted, n)
	}
	chunk, index := position(n, each)
	switch current := w.l.Journal.Current(); {
	case current == chunk && n < chunks*each:
	case index == 0 && (current == 0 || current == chunk-1):
	default:
		t.Errorf("the journal has chunk %d, and task %d of chunk %d is the first without a result", current, index, chunk)
	}
	return n, tail
}

func position(n, each int) (chunk uint64, index uint32) {
	return uint64(n/each) + 1, uint32(n % each)
}

// testHangUp ends the control socket, whatever the worker is doing: it ends at once, and so does what it has started.
func testHangUp(t *testing.T, l *language) {
	for _, task := range []string{"", "hold", "spin"} {
		w := begun(t, l, arenaSize)
		child := w.answers(w.chunk("child"), 1)[0].value
		if gone(child) {
			t.Fatalf("there is no child %q", child)
		}
		switch task {
		case "hold":
			g := newGate(t)
			w.chunk("hold " + g.path)
			g.entered()
		case "spin":
			id := w.chunk("echo a", "spin")
			w.want(w.answers(id, 1), "a")
		}
		w.hangUp()
		if status := w.exit(); status != -int(syscall.SIGKILL) {
			t.Errorf("task %q: it ended with %d", task, status)
		}
		until(t, "the end of the child", func() bool { return gone(child) })
	}
}
