package python

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Unpack writes Files where Python can import them from, and returns the directory to put on PYTHONPATH: a part of the
// user's cache, or where there is none that can be written, of the directory for temporary files. Its name has a hash of
// the content, so that each version has its own, and is written once. Several processes may do so at a time.
func Unpack() (string, error) {
	files, version, err := read()
	if err != nil {
		return "", err
	}
	var errs []error
	for _, base := range bases() {
		site := filepath.Join(base, version, "site")
		err := unpack(base, site, files)
		if err == nil {
			return site, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("unpacking the Python package: %w", errors.Join(errs...))
}

// UnpackTrace does the same, and returns the directory that a program which is traced has on PYTHONPATH.
func UnpackTrace() (string, error) {
	site, err := Unpack()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(site), "trace"), nil
}

// shared is the module that both directories have.
const shared = "_brine_replace.py"

// bases are the directories that may have the versions, the best first.
func bases() []string {
	temporary := filepath.Join(os.TempDir(), "brine-"+strconv.Itoa(os.Getuid()))
	cache, err := os.UserCacheDir()
	if err != nil { // there is no home
		return []string{temporary}
	}
	return []string{filepath.Join(cache, "brine"), temporary}
}

// read returns the embedded files by their path in the directory that Python is to search, and a name for their content.
func read() (files map[string][]byte, version string, err error) {
	files = map[string][]byte{}
	sum := sha256.New()
	err = fs.WalkDir(Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(Files, path)
		if err != nil {
			return err
		}
		switch name, site := strings.CutPrefix(path, "site/"); {
		case strings.HasPrefix(path, "trace/"):
			files["../"+path] = content
		case site && name == shared:
			files["../trace/"+name] = content
			files[name] = content
		default:
			files[name] = content
		}
		sum.Write(fmt.Appendf(nil, "%s %d\n", path, len(content)))
		sum.Write(content)
		return nil
	})
	return files, hex.EncodeToString(sum.Sum(nil)[:8]), err
}

// unpack writes those files to site, a directory below base, that are not there as they should be.
func unpack(base, site string, files map[string][]byte) error {
	if err := os.MkdirAll(base, 0o700); err != nil {
		return err
	}
	if err := ours(base); err != nil {
		return err
	}
	for path, content := range files {
		if err := put(filepath.Join(site, filepath.FromSlash(path)), content); err != nil {
			return err
		}
	}
	return nil
}

// ours errs if others than the user can write to a directory: they could have their code run by whoever uses it.
func ours(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case !known || int(stat.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to another user", dir)
	case info.Mode()&0o022 != 0:
		return fmt.Errorf("%s can be written by other users: %s", dir, info.Mode())
	}
	return nil
}

// put has a file hold the content. Whoever reads it meanwhile finds all of the old or all of the new.
func put(path string, content []byte) error {
	old, err := os.ReadFile(path) //nolint:gosec // a file of ours, in the user's own cache
	if err == nil && bytes.Equal(old, content) {
		return nil
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}
