//go:build linux

package conformance

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/brinepool/brine/internal/link"
)

func testBeginsAndEnds(t *testing.T, l *language) {
	w := start(t, l, arenaSize)
	w.init(w.initial())
	if m := w.ready(); m.Status != link.OK || len(m.Body) > 0 {
		t.Fatalf("ready is %+v", m)
	}
	w.quit()
}

// refuses has the worker say why the state is not open, and end.
func (w *peer) refuses(why string) {
	w.t.Helper()
	m := w.ready()
	if m.Status != link.Failed {
		w.t.Fatalf("ready has status %d: %q", m.Status, m.Body)
	}
	if f := w.failure(string(m.Body)); !strings.Contains(f.message, why) {
		w.t.Errorf("it says %q, want %q", f.message, why)
	}
	w.exits(w.lang.refused)
}

// exits waits for the end, ahead of which no frame may come.
func (w *peer) exits(status int) {
	w.t.Helper()
	if f := w.next(); f.Type != 0 {
		w.t.Errorf("%v comes last", f.Type)
	}
	if got := w.exit(); got != status {
		w.t.Errorf("it ended with %d, want %d\n%s", got, status, w.stderr.String())
	}
}

func testAnotherVersion(t *testing.T, l *language) {
	w := start(t, l, arenaSize)
	m := w.initial()
	m.Version++
	w.init(m)
	w.refuses("protocol")
}

func testAnotherBuild(t *testing.T, l *language) {
	w := start(t, l, arenaSize)
	m := w.initial()
	m.Build = "another"
	w.init(m)
	w.refuses("another build")
}

func testUnknownKind(t *testing.T, l *language) {
	w := start(t, l, arenaSize)
	m := w.initial()
	m.Kind = "unknown"
	w.init(m)
	w.refuses("kind unknown")
}

func testInitializerFails(t *testing.T, l *language) {
	w := start(t, l, arenaSize)
	m := w.initial()
	m.Config = item(l.config("fail no luck"))
	w.init(m)
	w.refuses("no luck")
}

func testInitializerPanics(t *testing.T, l *language) {
	w := start(t, l, arenaSize)
	m := w.initial()
	m.Config = item(l.config("panic at the start"))
	w.init(m)
	ready := w.ready()
	var p link.PanicMessage
	if err := p.Parse(ready.Body); ready.Status != link.Panicked || err != nil || p.Value != "at the start" || !strings.Contains(p.Stack, "conformance.begin") {
		t.Errorf("ready has status %d: %+v, %v", ready.Status, p, err)
	}
	w.exits(l.refused)
}

func testClosingFails(t *testing.T, l *language) {
	w := start(t, l, arenaSize)
	m := w.initial()
	m.Config = item(l.config("bad end"))
	w.init(m)
	w.ready()
	w.send(link.Header{Type: link.Quit}, nil)
	f := w.next()
	var bye link.ReadyMessage
	if err := bye.Parse(f.payload); f.Type != link.Bye || err != nil || bye.Status != link.Failed || w.failure(string(bye.Body)).message != "bad end" {
		t.Errorf("the last frame is %v: %+v, %v", f.Type, bye, err)
	}
	w.exits(0)
}

func testConfigurationInTheArena(t *testing.T, l *language) {
	w := start(t, l, arenaSize)
	why := strings.Repeat("no luck ", 2000)
	m := w.initial()
	m.Config = w.placed(l.config("fail " + why))
	w.init(m)
	w.refuses(why)
}

func testMemoryCap(t *testing.T, l *language) {
	w := start(t, l, arenaSize)
	m := w.initial()
	m.MaxMemory = 1 << 45 // which the race detector can do with
	w.init(m)
	if m := w.ready(); m.Status != link.OK {
		t.Fatalf("ready has status %d: %q", m.Status, m.Body)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", w.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(limits), "Max data size")
	line, _, _ = strings.Cut(line, "\n")
	if want := fmt.Sprint(1 << 45); strings.Join(strings.Fields(line), " ") != want+" "+want+" bytes" {
		t.Errorf("the limit on data is %q, want %s", line, want)
	}
	w.quit()
}

// testInheritance looks at what a worker's child finds.
func testInheritance(t *testing.T, l *language) {
	w := begun(t, l, arenaSize)
	got := w.answers(w.chunk(`shell for fd in 3 4 5 6 7 8; do [ -e /proc/self/fd/$fd ] && echo $fd; done; echo "<$BRINE_WORKER>"`), 1)
	w.want(got, "<>\n")
	w.quit()
}
