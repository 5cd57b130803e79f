package pickle

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// written is a pickle that Python wrote.
type written struct {
	Name     string
	Length   int
	Buffers  []int64
	Spans    [][2]int64
	Equal    bool
	Protocol int

	stream []byte
}

// values runs testdata/values.py.
func values(t testing.TB, what string, seed int) []written {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python(t), "testdata/values.py", what, strconv.Itoa(seed))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	var all []written
	r := bufio.NewReader(bytes.NewReader(out))
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			return all
		}
		n, err2 := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || err2 != nil {
			t.Fatalf("the length of a head: %q, %v", line, err)
		}
		head := make([]byte, n)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		var w written
		if err := json.Unmarshal(head, &w); err != nil {
			t.Fatal(err)
		}
		w.stream = make([]byte, w.Length)
		if _, err := io.ReadFull(r, w.stream); err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
}

// python returns an interpreter: that of the checkout, which has numpy and cloudpickle, or else the system's.
func python(t testing.TB) string {
	t.Helper()
	const own = "../../.cache/venv/bin/python"
	if _, err := os.Stat(own); err == nil {
		return own
	}
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("there is no Python: %v", err)
	}
	return path
}

// parse reads a pickle, and shows that all of it is accounted for.
func (w *written) parse(t testing.TB) *Value {
	t.Helper()
	v, err := Parse(w.stream, w.Buffers)
	if err != nil {
		t.Fatalf("%s: %v", w.Name, err)
	}
	want := int64(w.Length)
	for _, n := range w.Buffers {
		want += n
	}
	if v.Bytes() != want || v.Consumed() != int64(w.Length) {
		t.Errorf("%s: %d bytes, %d consumed; the stream has %d, with buffers %d", w.Name, v.Bytes(), v.Consumed(), w.Length, want)
	}
	return v
}
