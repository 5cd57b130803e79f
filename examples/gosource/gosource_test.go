package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

func TestMain(m *testing.M) {
	brine.Main()
	os.Exit(m.Run())
}

// tree makes a directory of four Go files that parse, one that doesn't and one that isn't Go's.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go":              "package a\n\nfunc A() {}\n",
		"a_test.go":         "package a\n",
		"b/b.go":            "package b\n\ntype T int\n\nfunc (T) M() {}\n\nfunc B() {}\n",
		"b/c/c.go":          "package c\n",
		"b/testdata/bad.go": "package bad\n\nfunc {\n",
		"README.md":         "func\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// survey runs the program with arguments.
func survey(t *testing.T, args ...string) (string, error) {
	t.Helper()
	s, err := parseSettings(args, io.Discard)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = run(t.Context(), s, &out, io.Discard)
	return out.String(), err
}

func TestSurvey(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"workers", "goroutines"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			args := []string{"-workers=2", "-v", tree(t)}
			if where == "goroutines" {
				args = append([]string{"-inprocess"}, args...)
			}
			out, err := survey(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				`(?m)^4 files, 12 lines, 3 functions \(1 of them methods\)$`,
				`files/s: 5 files in .* s, 2 ` + where,
				`(?m)^ +7 +1 +2 +b$`,
				`(?m)^ +4 +2 +1 +\.$`,
				`1 file does not parse, 1 of them in testdata directories\n  b/testdata/bad.go:3:6: expected`,
			} {
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("nothing matches %s in:\n%s", want, out)
				}
			}
			if strings.Contains(out, "failed\n") {
				t.Errorf("a file failed:\n%s", out)
			}
		})
	}
}

func TestInject(t *testing.T) {
	t.Parallel()
	for way, want := range map[string]struct{ cause, frame string }{
		"panic":    {"panic in .*: this can't happen", `\.misjudge  gosource/inject\.go:`},
		"exit":     {"exit status 3", "leaves no stack"},
		"overflow": {"fatal error: stack overflow", `\.descend  gosource/inject\.go:`},
		"loop":     {"timed out after 300ms", `\.loop  gosource/inject\.go:`},
		"oom":      {"(out of|cannot allocate) memory|ThreadSanitizer failed to allocate", `\.takeAllMemory  gosource/inject\.go:`},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			timeout := "-timeout=1m"
			if way == "loop" {
				timeout = "-timeout=300ms"
			}
			out, err := survey(t, "-workers=2", timeout, "-inject="+way, "-inject-at=b/b.go", tree(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				`(?m)^3 files, 5 lines, 1 function `, // all others are counted
				`1 file does not parse`,
				`(?m)^1 file failed\n  b/b\.go: .*` + want.cause,
				want.frame,
			} {
				if want == `\.takeAllMemory  gosource/inject\.go:` && strings.Contains(out, "ThreadSanitizer") {
					continue // with -race it is not the runtime that runs out, and there is no stack
				}
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("nothing matches %s in:\n%s", want, out)
				}
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	for want, args := range map[string][]string{
		"which directory?":             {},
		"one directory, please":        {dir, dir},
		"doesn't exist":                {filepath.Join(dir, "nowhere")},
		"not a directory":              {filepath.Join(dir, "a.go")},
		"no Go files in":               {t.TempDir()},
		"-workers is 0":                {"-workers=0", dir},
		"can't be negative":            {"-timeout=-1s", dir},
		"none of exit, loop":           {"-inject=boredom", dir},
		"-inject-at needs -inject":     {"-inject-at=a.go", dir},
		"no such file among the 5":     {"-inject=exit", "-inject-at=z.go", dir},
		"needs a -memory other than 0": {"-inject=oom", "-memory=0", dir},
		"needs a -timeout other":       {"-inject=loop", "-timeout=0", dir},
		"at least":                     {"-memory=1", dir}, // brine's own
	} {
		if _, err := survey(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", args, err, want)
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := &progress{w: &out, total: 2000, start: time.Now().Add(-time.Second)}
	p.step()
	p.clear()
	if got := out.String(); !strings.HasPrefix(got, "\r1 of 2,000 files") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("progress wrote %q", got)
	}
}
