package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/pickle"
)

// explainOptions are the flags of `brine explain`.
type explainOptions struct {
	python  string
	call    bool
	json    bool
	depth   int
	breadth int

	pickle  string // a pickle to explain, in the place of an object
	buffers int    // lengths of out-of-band buffers before it
}

func explainCommand() *cobra.Command {
	var options explainOptions
	cmd := &cobra.Command{
		Use:   "explain [flags] module:object",
		Short: "Show what of a Python object would be sent to a worker, by its parts",
		Long: `Show what of a Python object would be sent to a worker, by its parts, the largest
first: the object is pickled as Brine does it, to the byte.

The module is imported from the current directory, or wherever Python finds it; or
it is a script, by its path, whose part under "if __name__ == '__main__'" is not
run. The object is a name in it, with dots for what is in that: Converter.convert.
What can't be sent is in the tree, with the reason.`,
		Example: `  brine explain package.module:CONFIG
  brine explain script.py:Converter.convert
  brine explain --call script.py:make_task`,
		Args: func(_ *cobra.Command, args []string) error { return checkExplain(&options, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if options.pickle != "" {
				return explainPickle(cmd.InOrStdin(), cmd.OutOrStdout(), &options)
			}
			return explainObject(&options, args[0])
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&options.call, "call", false, "explain what the object returns, called without arguments")
	flags.BoolVar(&options.json, "json", false, "print the tree as JSON")
	flags.IntVar(&options.depth, "depth", 6, "levels of the tree")
	flags.IntVar(&options.breadth, "breadth", 12, "parts of each that are shown, the largest")
	flags.StringVar(&options.python, "python", "python3", "the Python to run it with: 3.9 or newer")
	flags.StringVar(&options.pickle, "pickle", "", "explain a pickle in a file, or on standard input (-)")
	flags.IntVar(&options.buffers, "buffers", 0, "the pickle comes after this number of lengths of out-of-band buffers")
	for _, name := range []string{"pickle", "buffers"} {
		flags.Lookup(name).Hidden = true // for the Python package
	}
	return cmd
}

func checkExplain(o *explainOptions, args []string) error {
	switch {
	case o.depth < 1 || o.breadth < 1:
		return errors.New("--depth and --breadth are at least 1")
	case o.pickle != "" && len(args) > 0:
		return fmt.Errorf("a pickle is to be explained, and %s too", args[0])
	case o.pickle != "":
		return nil
	case len(args) != 1:
		return errors.New("which object? Name it as module:object, or script.py:object")
	}
	module, object, ok := cutTarget(args[0])
	if !ok || module == "" || object == "" {
		return fmt.Errorf("%q names no object: write module:object, or script.py:object", args[0])
	}
	if !isScript(module) {
		return nil
	}
	return checkProgram(false, []string{module})
}

// cutTarget divides module:object. A path may have colons of its own.
func cutTarget(s string) (module, object string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

func isScript(module string) bool {
	return strings.HasSuffix(module, ".py") || strings.ContainsRune(module, os.PathSeparator)
}

// explainObject becomes Python, which imports the object and has it explained. It returns only if that fails.
func explainObject(o *explainOptions, target string) error {
	interpreter, err := findPython(o.python)
	if err != nil {
		return err
	}
	if err := prepare(report{}); err != nil {
		return err
	}
	module, object, _ := cutTarget(target)
	kind := "module"
	if isScript(module) {
		kind = "script"
	}
	return become(interpreter, true, []string{
		"brine._explain_object", kind, module, object,
		strconv.Itoa(o.depth), strconv.Itoa(o.breadth), strconv.FormatBool(o.call), strconv.FormatBool(o.json),
	})
}

// explained is the answer to the Python package.
type explained struct {
	Part bill.Part `json:"part"`
	Text string    `json:"text"`
}

// maxBuffers bounds how many lengths are read; each buffer takes a byte of the pickle.
const maxBuffers = 1 << 26

// explainPickle shows a pickle. Before it come the lengths of its out-of-band buffers, of 8 bytes each, least
// significant first.
func explainPickle(in io.Reader, out io.Writer, o *explainOptions) error {
	if o.pickle != "-" {
		f, err := os.Open(o.pickle)
		if err != nil {
			return fmt.Errorf("the pickle: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	if o.buffers < 0 || o.buffers > maxBuffers {
		return fmt.Errorf("%d out-of-band buffers", o.buffers)
	}
	r := bufio.NewReaderSize(in, 1<<16)
	var lengths []int64
	for range o.buffers {
		var b [8]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return fmt.Errorf("reading the lengths of %d buffers: %w", o.buffers, err)
		}
		lengths = append(lengths, int64(binary.LittleEndian.Uint64(b[:])))
	}
	stream, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("reading the pickle: %w", err)
	}
	value, err := pickle.Parse(stream, lengths)
	if err != nil {
		return err
	}
	if n := value.Consumed(); n != int64(len(stream)) {
		return fmt.Errorf("the pickle has %d bytes, and after it come %d more", n, int64(len(stream))-n)
	}
	part := value.Part(pickle.Options{Depth: o.depth, Breadth: o.breadth})
	if !o.json {
		_, err := io.WriteString(out, part.Text())
		return err
	}
	return json.NewEncoder(out).Encode(explained{part, part.Text()})
}
