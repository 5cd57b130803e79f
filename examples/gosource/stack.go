package main

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/brinepool/brine"
)

// cause says in a line why a task failed.
func cause(err error) string {
	if task, ok := errors.AsType[*brine.TaskError](err); ok {
		err = task.Err
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// stackOf returns the stack that comes with a task's error.
func stackOf(err error) string {
	var panicked *brine.PanicError
	var crashed *brine.CrashError
	switch {
	case errors.As(err, &panicked):
		return panicked.Stack
	case errors.Is(err, brine.ErrTimeout):
		_, stack, _ := strings.Cut(err.Error(), "\n")
		return stack
	case errors.As(err, &crashed):
		return string(crashed.Report)
	}
	return ""
}

// printStack prints the frames of an error's stack that are not the runtime's and not brine's, or the whole.
func printStack(w io.Writer, err error, whole bool) {
	stack := stackOf(err)
	if whole {
		fmt.Fprint(w, indent(stack))
		return
	}
	const most = 6
	shown := interesting(stack)
	for _, f := range shown[:min(most, len(shown))] {
		fmt.Fprintf(w, "      %s  %s", f.function, f.place)
		if f.times > 1 {
			fmt.Fprintf(w, "  (%d times and more)", f.times)
		}
		fmt.Fprintln(w)
	}
	switch {
	case stack == "":
		fmt.Fprintln(w, "      (an end like this leaves no stack)")
	default:
		fmt.Fprintf(w, "      (%d lines in all: -v)\n", strings.Count(stack, "\n"))
	}
}

// frame is one call of a stack, or several of the same function in a row.
type frame struct {
	function, place string
	times           int
}

// interesting returns the frames of the first goroutine that has any in code that is neither the runtime's nor brine's.
// The one that called Main only waits.
func interesting(stack string) []frame {
	for goroutine := range strings.SplitSeq(stack, "\n\n") {
		if strings.Contains(goroutine, "github.com/brinepool/brine.Main(") {
			continue
		}
		if frames := framesOf(goroutine); len(frames) > 0 {
			return frames
		}
	}
	return nil
}

func framesOf(goroutine string) []frame {
	var frames []frame
	lines := strings.Split(goroutine, "\n")
	for i := 0; i+1 < len(lines); i++ {
		end := strings.LastIndexByte(lines[i], '(') // of its arguments
		if end <= 0 || !strings.HasPrefix(lines[i+1], "\t") || ours(lines[i]) {
			continue
		}
		f := frame{function: lines[i][:end], place: place(lines[i+1]), times: 1}
		if n := len(frames); n > 0 && frames[n-1].function == f.function {
			frames[n-1].times++
			continue
		}
		frames = append(frames, f)
	}
	return frames
}

// ours says that a frame belongs to the machinery.
func ours(line string) bool {
	for _, prefix := range []string{"runtime.", "runtime/", "internal/", "panic(", "created by ", "github.com/brinepool/brine.", "github.com/brinepool/brine/internal/"} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// place shortens "\t/a/long/way/to/package/file.go:12 +0x34" to "package/file.go:12".
func place(line string) string {
	line, _, _ = strings.Cut(strings.TrimSpace(line), " +0x")
	return path.Join(path.Base(path.Dir(line)), path.Base(line))
}

func indent(s string) string {
	if s == "" {
		return "      (an end like this leaves no stack)\n"
	}
	return "      " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n      ") + "\n"
}
