package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCustomWorkerKilled wants an error of the next round and of Close, and no hang.
func TestCustomWorkerKilled(t *testing.T) {
	checkNoChildren(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := openCustom(ctx, make([]int64, sizes[0]))
	if err != nil {
		t.Fatal(err)
	}
	lists := slices.Repeat([][]int64{{1, 2, 3}}, 10*workers)
	if _, err := p.Sums(ctx, lists); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(p.PIDs()[1], syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	for err == nil { // it may answer once more before the signal arrives
		_, err = p.Sums(ctx, lists)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Sums returned %v", err)
	}
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("Close returned %v", err)
	}
	if ctx.Err() != nil {
		t.Error("it took a minute")
	}
}

// TestCustomLargeRound has more lists and results than the pipes hold.
func TestCustomLargeRound(t *testing.T) {
	checkNoChildren(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := openCustom(ctx, slices.Repeat([]int64{7}, factor+1))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := p.Sums(ctx, slices.Repeat([][]int64{{1, 2}}, 100_000))
	if err != nil {
		t.Error(err)
	}
	for i, n := range sums {
		if n != 3*7 {
			t.Fatalf("sum %d is %d", i, n)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestServe(t *testing.T) {
	var whole bytes.Buffer
	w := bufio.NewWriter(&whole)
	for _, ints := range [][]int64{slices.Repeat([]int64{2}, factor+1), {1, 2, 3}, {}} {
		if err := writeInts(w, ints); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		input []byte
		want  string // in the error
	}{
		{"whole", whole.Bytes(), ""},
		{"empty", nil, "reading the fixed data: EOF"},
		{"cut in the data", whole.Bytes()[:1000], "reading the fixed data: unexpected EOF"},
		{"cut in a list", whole.Bytes()[:whole.Len()-10], "reading a list: unexpected EOF"},
		{"too little data", make([]byte, 8), "too few"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			err := serve(bufio.NewReader(bytes.NewReader(test.input)), bufio.NewWriter(&out))
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("the error is %v, want one with %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(&out)
			for _, want := range []int64{12, 0} {
				if got, err := readInt(r); err != nil || got != want {
					t.Errorf("read %d, %v, want %d", got, err, want)
				}
			}
		})
	}
}

// checkNoChildren fails a test that leaves processes, zombies included.
func checkNoChildren(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		files, err := filepath.Glob("/proc/self/task/*/children")
		if err != nil {
			t.Error(err)
		}
		for _, file := range files {
			if pids, _ := os.ReadFile(file); len(pids) > 0 {
				t.Errorf("processes left behind: %s", pids)
			}
		}
	})
}
