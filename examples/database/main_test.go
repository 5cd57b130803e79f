package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brinepool/brine"
)

func TestMain(m *testing.M) {
	brine.Main()
	os.Exit(m.Run())
}

// TestRun is the program itself, which checks what it stored.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, filepath.Join(t.TempDir(), "records.db")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"holds 20000 records", "every record is there once; integrity check: ok"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	// Those killed from outside may have been idle; the one at the worst moment never is.
	if strings.Contains(out.String(), " 0 batches were run again") {
		t.Errorf("nothing was retried:\n%s", &out)
	}
}
