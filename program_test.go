package brine_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// programs are built at most once per test binary.
var programs struct {
	mu  sync.Mutex
	dir string
}

func removePrograms() {
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
}

// program builds a program of testdata.
func program(t *testing.T, name string) string {
	t.Helper()
	programs.mu.Lock()
	defer programs.mu.Unlock()
	if programs.dir == "" {
		dir, err := os.MkdirTemp("", "brine-test-") //nolint:usetesting // all tests share it; TestMain removes it
		if err != nil {
			t.Fatal(err)
		}
		programs.dir = dir
	}
	path := filepath.Join(programs.dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./testdata/"+name).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// runProgram returns what a program prints within a minute, on both outputs.
func runProgram(t *testing.T, name string, env []string, args ...string) string {
	t.Helper()
	path := program(t, name)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	starts := t.TempDir() + "/starts"
	cmd.Env = append(append(os.Environ(), "STARTS="+starts), env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		t.Fatalf("%s %v %v: %v\n%s", name, env, args, err, out)
	}
	if n := marks(t, starts); n > 10 {
		t.Errorf("%s %v %v: started %d times: it breeds\n%s", name, env, args, n, out)
	}
	return string(out)
}

// Mistakes in registration are panics at start-up that say what to do.
func TestRegistrationMistakes(t *testing.T) {
	t.Parallel()
	for which, texts := range map[string][]string{
		"method twice":    {"Add", "twice"},
		"kind twice":      {"openState", "twice"},
		"name twice":      {"one name"},
		"kind name twice": {"one name"},
		"generic":         {"generic", "Named"},
		"generic kind":    {"generic", "DefineNamed"},
		"nil open":        {"nil"},
		"nil method":      {"nil"},
		"nil kind":        {"nil"},
		"nil plain":       {"nil"},
		"empty name":      {"name"},
		"closures":        {"PlainNamed"},
		"codec twice":     {"gob"},
		"nil codec":       {"nil"},
		"chan type":       {"chan"},
	} {
		out := runProgram(t, "program", []string{"CASE=" + which})
		if !strings.HasPrefix(out, "panic: brine: ") && !strings.HasPrefix(out, "panic: ") {
			t.Errorf("%s: %s", which, out)
			continue
		}
		t.Logf("%s: %s", which, strings.TrimSpace(out))
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("%s: the panic does not mention %q: %s", which, text, out)
			}
		}
		if strings.Contains(out, "runtime error") || !strings.Contains(out, "brine: ") {
			t.Errorf("%s: not a message of brine's: %s", which, out)
		}
	}
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  []string
		verb string
		want []string
	}{
		{"plain", nil, "plain", []string{"107 <nil>"}},
		{"without Main", nil, "nomain", []string{"error: brine: ", "Main"}},
		{"open before main", []string{"CASE=open"}, "plain", []string{"error: brine: ", "Main"}},
		{"registration after Main", nil, "late", []string{"panic: brine: ", "Main"}},
		{"environment", nil, "environ", []string{"ONE=1", "TWO=2"}},
		{"depth by hand", []string{"BRINE_DEPTH=x"}, "plain", nil},
		{"depth by hand, empty", []string{"BRINE_DEPTH="}, "plain", []string{"107 <nil>"}},
		{"depth by hand, zero", []string{"BRINE_DEPTH=0"}, "plain", []string{"107 <nil>"}},
		{"depth by hand, negative", []string{"BRINE_DEPTH=-5"}, "plain", nil},
		{"depth by hand, large", []string{"BRINE_DEPTH=99"}, "plain", []string{"brine: ", "deep"}},
	}
	for _, test := range tests {
		out := runProgram(t, "program", test.env, test.verb)
		t.Logf("%s: %s", test.name, out)
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: want %q, got %s", test.name, want, out)
			}
		}
	}
}

// The variable that makes a process a worker, set by hand, ends in a clear error; it neither hangs nor breeds.
func TestMarkerByHand(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "0", "1", "x", "3:4:5", "99999"} {
		begun := time.Now()
		out := runProgram(t, "program", []string{"BRINE_WORKER=" + value}, "plain")
		t.Logf("BRINE_WORKER=%s: %s", value, out)
		if d := time.Since(begun); d > 10*time.Second {
			t.Errorf("BRINE_WORKER=%s took %v", value, d)
		}
		if out != "107 <nil>\n" && !strings.Contains(out, "brine: ") {
			t.Errorf("BRINE_WORKER=%s: neither works nor says why not: %s", value, out)
		}
	}
}

// A program without standard descriptors has a pool all the same: the protocol's must not become 0, 1 or 2.
func TestClosedStandardDescriptors(t *testing.T) {
	t.Parallel()
	path := program(t, "program")
	file := t.TempDir() + "/out"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+path+" plain <&- >&- 2>&-")
	cmd.Env = append(os.Environ(), "OUTPUT="+file)
	err := cmd.Run()
	if out, _ := os.ReadFile(file); string(out) != "107 <nil> 1000 <nil>" && string(out) != "107 <nil> 1000<nil>" {
		t.Errorf("%q, %v", out, err)
	}
}

// readPIDs reads "word pid pid …" lines until one begins with the word.
func readPIDs(t *testing.T, r *bufio.Reader, word string) []int {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("no line %q: %v", word, err)
		}
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != word {
			continue
		}
		var pids []int
		for _, field := range fields[1:] {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		return pids
	}
}

// The parent killed, no worker is left after two seconds, though it be stuck.
func TestParentKilled(t *testing.T) {
	t.Parallel()
	path := program(t, "program")
	for _, verb := range []string{"idle", "loop", "hang", "exit"} {
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			t.Run(fmt.Sprint(verb, " ", sig), func(t *testing.T) {
				t.Parallel()
				cmd := exec.CommandContext(t.Context(), path, verb)
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				cmd.Stdout = w
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				w.Close()
				out := bufio.NewReader(r)
				defer cmd.Process.Kill()
				var pids []int
				within(t, 20*time.Second, "the program's start", func() {
					pids = readPIDs(t, out, "pids")
					if verb == "loop" || verb == "hang" {
						for range pids {
							readPIDs(t, out, "stuck")
						}
					}
				})
				if verb != "exit" {
					cmd.Process.Signal(sig)
				}
				cmd.Wait()
				if len(pids) != 2 {
					t.Fatalf("workers %v", pids)
				}
				eventually(t, 2*time.Second, "the workers' end", func() bool {
					return !slices.ContainsFunc(pids, alive)
				})
			})
		}
	}
}

func TestDescriptorsExhausted(t *testing.T) {
	t.Parallel()
	out := runProgram(t, "program", nil, "nofile")
	t.Log(out)
	lines := map[string][]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		lines[key] = append(lines[key], value)
	}
	want := func(key string, i int, texts ...string) {
		if len(lines[key]) <= i {
			t.Errorf("no line %d of %q", i, key)
			return
		}
		for _, text := range texts {
			if !strings.Contains(lines[key][i], text) {
				t.Errorf("%s: %q lacks %q", key, lines[key][i], text)
			}
		}
	}
	want("open", 0, "too many open files")
	want("call", 0, "101 <nil>")
	want("die", 0, "exit")
	want("call", 1, "102 <nil>") // by the other worker
	want("reopen", 0, "<nil>")
	want("map", 0, "100 <nil>")
}

func TestBinaryReplaced(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"renamed over", "removed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(program(t, "program"))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "copy")
			if err := os.WriteFile(path, content, 0o700); err != nil { // it is to be run
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), path, "replaced")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdin, _ := cmd.StdinPipe()
			stdout, _ := cmd.StdoutPipe()
			for { // a fork elsewhere in this process may hold the file open for writing
				if err = cmd.Start(); err == nil || !strings.Contains(err.Error(), "text file busy") {
					break
				}
				t.Skip("text file busy")
			}
			if err != nil {
				t.Fatal(err)
			}
			out := bufio.NewReader(stdout)
			if line, err := out.ReadString('\n'); line != "ready\n" {
				t.Fatal(line, err)
			}
			if how == "removed" {
				err = os.Remove(path)
			} else if err = os.WriteFile(path+"2", []byte("#!/bin/sh\necho another build\nexit 1\n"), 0o700); err == nil {
				err = os.Rename(path+"2", path)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(stdin, "go\n"); err != nil {
				t.Error(err)
			}
			rest, _ := io.ReadAll(out)
			cmd.Wait()
			if got := strings.TrimSpace(string(rest)); got != "map 1000 other 10 <nil>" {
				t.Errorf("%s\n%s", got, stderr.String())
			}
		})
	}
}

func TestSegfaultInC(t *testing.T) {
	t.Parallel()
	if out, _ := exec.CommandContext(t.Context(), "go", "env", "CGO_ENABLED").Output(); strings.TrimSpace(string(out)) != "1" {
		t.Skip("no cgo")
	}
	out := runProgram(t, "segfault", nil)
	t.Log(out)
	for _, want := range []string{"[1 2 0 4 5]", "SIGSEGV", "in C: true"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in what the program prints", want)
		}
	}
}
