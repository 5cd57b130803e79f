package python_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/brinepool/brine/python"
)

func TestFilesAreThePackageAlone(t *testing.T) {
	t.Parallel()
	for _, want := range []string{"brine/py.typed", "brine/__main__.py", "site/sitecustomize.py"} {
		if _, err := fs.Stat(python.Files, want); err != nil {
			t.Error(err)
		}
	}
	err := fs.WalkDir(python.Files, ".", func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "_bin") || strings.Contains(path, "test") || strings.Contains(path, "__pycache__") {
			t.Errorf("%s is embedded", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// dirs gives the test a cache and a directory for temporary files of its own.
func dirs(t *testing.T) (cache, temporary string) {
	t.Helper()
	cache, temporary = t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache) // where macOS looks
	t.Setenv("TMPDIR", temporary)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return cache, temporary
}

func unpack(t *testing.T) string {
	t.Helper()
	site, err := python.Unpack()
	if err != nil {
		t.Fatal(err)
	}
	return site
}

// files returns what is in a directory, with the identity of each file.
func files(t *testing.T, dir string) map[string]os.FileInfo {
	t.Helper()
	found := map[string]os.FileInfo{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			name, _ := filepath.Rel(dir, path)
			found[filepath.ToSlash(name)] = info
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestUnpackWritesOnce(t *testing.T) {
	cache, _ := dirs(t)
	site := unpack(t)
	if !strings.HasPrefix(site, filepath.Join(cache, "brine")+"/") {
		t.Errorf("it is in %s, the cache is %s", site, cache)
	}
	first := files(t, site)
	for _, want := range []string{"sitecustomize.py", "brine/__main__.py", "brine/py.typed"} {
		if first[want] == nil {
			t.Errorf("there is no %s among %d files", want, len(first))
		}
	}
	if again := unpack(t); again != site {
		t.Errorf("the second time it is in %s", again)
	}
	for name, info := range files(t, site) {
		if !os.SameFile(info, first[name]) {
			t.Errorf("%s was written again", name)
		}
	}
}

func TestUnpackTrace(t *testing.T) {
	dirs(t)
	trace, err := python.UnpackTrace()
	if err != nil {
		t.Fatal(err)
	}
	site := files(t, unpack(t))
	found := files(t, trace)
	for _, want := range []string{"sitecustomize.py", "_brine_trace.py", "_brine_replace.py"} {
		if found[want] == nil {
			t.Errorf("there is no %s among %d files", want, len(found))
		}
	}
	for name := range found { // the program that is traced must not find more than it has
		if filepath.Dir(name) != "." || name != "sitecustomize.py" && !strings.HasPrefix(name, "_brine_") {
			t.Errorf("%s is on the path of programs that are traced", name)
		}
	}
	if site["_brine_trace.py"] != nil || site["_brine_replace.py"] == nil {
		t.Errorf("on the path of programs that are run: %v", site)
	}
}

func TestUnpackMends(t *testing.T) {
	dirs(t)
	site := unpack(t)
	want, err := os.ReadFile(filepath.Join(site, "sitecustomize.py"))
	if err != nil {
		t.Fatal(err)
	}
	for _, mend := range []func(string) error{
		os.Remove,
		func(file string) error { return os.WriteFile(file, want[:len(want)/2], 0o600) },
		func(string) error { return os.RemoveAll(filepath.Join(site, "brine")) },
	} {
		if err := mend(filepath.Join(site, "sitecustomize.py")); err != nil {
			t.Fatal(err)
		}
		unpack(t)
		got, err := os.ReadFile(filepath.Join(site, "sitecustomize.py"))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes are there, want %d: %v", len(got), len(want), err)
		}
		if _, err := os.Stat(filepath.Join(site, "brine", "py.typed")); err != nil {
			t.Error(err)
		}
	}
}

func TestUnpackAtATime(t *testing.T) {
	dirs(t)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if _, err := python.Unpack(); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for name := range files(t, unpack(t)) {
		if strings.HasPrefix(filepath.Base(name), ".new-") {
			t.Errorf("%s was left", name)
		}
	}
}

func TestUnpackWithoutACache(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, cache string){
		"a file is in its place": func(t *testing.T, cache string) {
			if err := os.MkdirAll(cache, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(cache, "brine"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"others can write to it": func(t *testing.T, cache string) {
			if err := os.MkdirAll(filepath.Join(cache, "brine"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(cache, "brine"), 0o777); err != nil { // past the umask
				t.Fatal(err)
			}
		},
		"no home": func(t *testing.T, _ string) {
			t.Setenv("XDG_CACHE_HOME", "")
			t.Setenv("HOME", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			cache, temporary := dirs(t)
			spoil(t, cache)
			if site := unpack(t); !strings.HasPrefix(site, temporary) {
				t.Errorf("it is in %s, not in %s", site, temporary)
			}
		})
	}
}

func TestUnpackNowhere(t *testing.T) {
	dirs(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", file)
	t.Setenv("HOME", file)
	t.Setenv("TMPDIR", file)
	site, err := python.Unpack()
	if err == nil || !strings.HasPrefix(err.Error(), "unpacking the Python package: ") {
		t.Errorf("%q and %v", site, err)
	}
}
