package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/brinepool/brine"
)

// summary is what there is to say at the end.
type summary struct {
	total    count
	packages map[string]*count // by directory
	invalid  []result          // files that the parser refuses: its answer, not its failure
	failed   []result          // files that were never answered for
}

type result = brine.Result[string, contents]

type count struct {
	files int
	contents
}

func newSummary() *summary { return &summary{packages: make(map[string]*count)} }

func (s *summary) add(r result) {
	switch _, answered := answer(r.Err); {
	case r.Err == nil:
		dir := path.Dir(r.In)
		if s.packages[dir] == nil {
			s.packages[dir] = new(count)
		}
		s.packages[dir].add(r.Out)
		s.total.add(r.Out)
	case answered:
		s.invalid = append(s.invalid, r)
	default:
		s.failed = append(s.failed, r)
	}
}

// answer returns the error that Parse itself returned, if it did; in this process it comes as it is.
func answer(err error) (text string, answered bool) {
	var task *brine.TaskError
	var remote *brine.RemoteError
	switch {
	case err == nil:
		return "", false
	case errors.As(err, &remote):
		return remote.Message, true
	default:
		return err.Error(), !errors.As(err, &task)
	}
}

func (c *count) add(in contents) {
	c.files++
	c.Lines += in.Lines
	c.Functions += in.Functions
	c.Methods += in.Methods
}

func (s *summary) print(w io.Writer, took time.Duration, set settings) error {
	all := s.total.files + len(s.invalid) + len(s.failed)
	where := "workers"
	if set.inProcess {
		where = "goroutines"
	}
	fmt.Fprintf(w, "%s, %s, %s (%s of them methods)\n",
		plural(s.total.files, "file", "files"), plural(s.total.Lines, "line", "lines"), plural(s.total.Functions, "function", "functions"), commas(s.total.Methods))
	fmt.Fprintf(w, "%s files/s: %s files in %.2f s, %d %s\n\n", commas(rate(all, took)), commas(all), took.Seconds(), set.workers, where)
	if err := s.printLargest(w, 10); err != nil {
		return err
	}
	s.printInvalid(w, set.verbose)
	s.printFailed(w, set.verbose)
	return nil
}

func (s *summary) printLargest(w io.Writer, n int) error {
	names := slices.SortedFunc(maps.Keys(s.packages), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.packages[b].Lines, s.packages[a].Lines), cmp.Compare(a, b))
	})
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "lines\tfiles\tfunctions\t  largest packages")
	for _, name := range names[:min(n, len(names))] {
		p := s.packages[name]
		fmt.Fprintf(t, "%s\t%s\t%s\t  %s\n", commas(p.Lines), commas(p.files), commas(p.Functions), name)
	}
	return t.Flush()
}

func (s *summary) printInvalid(w io.Writer, verbose bool) {
	if len(s.invalid) == 0 {
		return
	}
	byName(s.invalid)
	deliberate := 0
	for _, r := range s.invalid {
		if slices.Contains(strings.Split(r.In, "/"), "testdata") {
			deliberate++
		}
	}
	fmt.Fprintf(w, "\n%s not parse, %d of them in testdata directories\n", plural(len(s.invalid), "file does", "files do"), deliberate)
	if !verbose {
		return
	}
	const most = 20
	for _, r := range s.invalid[:min(most, len(s.invalid))] {
		text, _ := answer(r.Err)
		fmt.Fprintf(w, "  %s\n", text)
	}
	if more := len(s.invalid) - most; more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}

func (s *summary) printFailed(w io.Writer, verbose bool) {
	if len(s.failed) == 0 {
		return
	}
	byName(s.failed)
	fmt.Fprintf(w, "\n%s failed\n", plural(len(s.failed), "file", "files"))
	for _, r := range s.failed {
		fmt.Fprintf(w, "  %s: %s\n", r.In, cause(r.Err))
		printStack(w, r.Err, verbose)
	}
}

func byName(rs []result) {
	slices.SortFunc(rs, func(a, b result) int { return cmp.Compare(a.In, b.In) })
}

func rate(n int, d time.Duration) int { return int(float64(n) / d.Seconds()) }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return commas(n) + " " + many
}

// commas writes a number with its thousands apart.
func commas(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
