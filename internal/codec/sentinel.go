package codec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"sync"
)

// Sentinels registers errors that errors.Is is to find in the errors that come
// from a worker. Like [Register] it belongs into the start-up of the program,
// which parent and worker share. io.EOF and its neighbours, those of fs, os and
// context, errors.ErrUnsupported and those of strconv are registered already.
// Sentinels panics for nil and for an error that == cannot compare.
func Sentinels(errs ...error) {
	for _, err := range errs {
		if err == nil {
			panic("brine: Sentinels(nil): there is no error to find")
		}
		if !reflect.TypeOf(err).Comparable() {
			panic(fmt.Sprintf("brine: Sentinels: errors of type %T cannot be compared, so errors.Is cannot find them; register a pointer", err))
		}
		sentinels().add(err)
	}
}

// A sentinel is an error with the key under which it crosses: its text, and a
// number if others have the same.
type sentinel struct {
	err error
	key string
}

type sentinelSet struct {
	mu    sync.RWMutex
	list  []sentinel
	byKey map[string]error
}

// sentinels returns the sentinels of the process, which begin with the common
// ones of the standard library.
var sentinels = sync.OnceValue(func() *sentinelSet {
	s := &sentinelSet{byKey: make(map[string]error)}
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, io.ErrShortWrite, io.ErrShortBuffer, io.ErrNoProgress,
		fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid, fs.ErrClosed,
		context.Canceled, context.DeadlineExceeded,
		os.ErrDeadlineExceeded, os.ErrProcessDone, os.ErrNoDeadline,
		errors.ErrUnsupported, strconv.ErrRange, strconv.ErrSyntax,
	} {
		s.add(err)
	}
	return s
})

func (s *sentinelSet) add(err error) {
	text := message(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.list {
		if other.err == err { //nolint:errorlint // the very same
			return
		}
	}
	key := text
	for i := 2; s.byKey[key] != nil; i++ {
		key = text + "\x00" + strconv.Itoa(i)
	}
	s.list = append(s.list, sentinel{err, key})
	s.byKey[key] = err
}

// all returns the sentinels in the order in which they were registered. The
// slice is not to be changed.
func (s *sentinelSet) all() []sentinel {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clip(s.list)
}

// keys returns the keys of those among errs that are sentinels.
func (s *sentinelSet) keys(errs []error) []string {
	var keys []string
	for _, err := range errs {
		for _, known := range s.all() {
			if known.err == err { //nolint:errorlint // the very same
				keys = append(keys, known.key)
				break
			}
		}
	}
	return keys
}

func (s *sentinelSet) ofKey(key []byte) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byKey[string(key)]
}
