package main

import (
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// oddSize is no multiple of what anything is done in.
const oddSize = 70_001

// TestPayloadEntrants has every entrant send and check bytes.
func TestPayloadEntrants(t *testing.T) {
	t.Parallel()
	for who, maker := range payloadMakers(oddSize) {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			e, err := maker(t.Context(), entrant.Config{Window: 5 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if values, err := e.Sample(t.Context()); err != nil || len(values) != 1 || values[0] <= 0 {
				t.Errorf("sample %v, error %v", values, err)
			}
			if err := e.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// TestSideReads shows that no byte can be wrong, and none missing.
func TestSideReads(t *testing.T) {
	t.Parallel()
	const size = 101
	parent, worker := parentSide(size), workerSide(size)
	answer, err := worker.Trip(t.Context(), parent.own)
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.read(answer); err != nil {
		t.Fatal(err)
	}
	for i := range answer {
		answer[i] ^= 1
		if parent.read(answer) == nil {
			t.Errorf("byte %d is wrong, and no error", i)
		}
		answer[i] ^= 1
	}
	if parent.read(answer[:size-1]) == nil {
		t.Error("a byte is missing, and no error")
	}
	if parent.read(parent.own) == nil {
		t.Error("an echo is no answer, and no error")
	}
}

// TestWireRefuses shows that the other side of a floor reads what it gets.
func TestWireRefuses(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{wirePipes, wireOneWrite, wireSocket, wireFresh, wireArena, wireCopyOut} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f, err := startFarSide(kind, oddSize)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.send(workerSide(oddSize).own); err != nil {
				t.Error(err)
			}
			if _, err := f.recv(); err == nil {
				t.Error("an answer to wrong bytes")
			}
			var exit *exec.ExitError
			if err := f.close(); !errors.As(err, &exit) || exit.ExitCode() != sumMismatch {
				t.Errorf("the child's end: %v, want exit status %d", err, sumMismatch)
			}
		})
	}
}
