package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"
)

// printer shows results as they come.
type printer interface {
	begin(m machine)
	row(results []result, left []string) // left: processes that the row left behind
	end() error
}

// machine is where and when the figures were taken.
type machine struct {
	Time string `json:"time"`
	Go   string `json:"go"`
	OS   string `json:"os"`
	CPUs int    `json:"cpus"`
	Load string `json:"load"` // of the last minute, before the first row
}

func machineNow() machine {
	load, _ := os.ReadFile("/proc/loadavg")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	first, _, _ := strings.Cut(string(load), " ")
	return machine{
		Time: time.Now().UTC().Format(time.RFC3339),
		Go:   runtime.Version(),
		OS:   runtime.GOOS + "/" + runtime.GOARCH + " " + strings.TrimSpace(string(kernel)),
		CPUs: runtime.NumCPU(),
		Load: first,
	}
}

// table prints a line as soon as its row is done, in columns of fixed width.
type table struct {
	w         io.Writer
	ok, short int
	failed    int
}

func newTable(w io.Writer) *table { return &table{w: w} }

// widths of the columns; negative means flush right.
var widths = []int{23, -12, 21, -12, -7, 7, 5}

func (t *table) begin(m machine) {
	fmt.Fprintf(t.w, "%s, %s, %d CPUs, load %s, %s\n\n", m.Go, m.OS, m.CPUs, m.Load, m.Time)
	t.line("row", "Brine", "beside", "its figure", "ratio", "bar", "")
	t.line("---", "-----", "------", "----------", "-----", "---", "")
}

func (t *table) row(results []result, left []string) {
	seen := map[string]bool{} // an error once, though every line of the row has it
	var notes []string
	for _, r := range results {
		v := r.verdict()
		ours, theirs, ratio := figure(r.ourFigure, r.unit), figure(r.theirFigure, r.unit), strings.TrimSuffix(figure(r.ratio, "x"), " x")
		if len(r.ourRounds) == 0 {
			ours, theirs, ratio = "?", "?", "?"
		}
		switch v {
		case "ok":
			t.ok++
		case "short":
			t.short++
		case "error":
			t.failed++
		}
		t.line(r.name, ours, r.peer, theirs, ratio, r.bar.String(), v)
		if r.err != nil && !seen[r.err.Error()] {
			seen[r.err.Error()] = true
			notes = append(notes, r.err.Error())
		}
	}
	for _, l := range left {
		notes = append(notes, "left behind: "+l)
	}
	for _, n := range notes {
		fmt.Fprintf(t.w, "    ! %s\n", strings.ReplaceAll(n, "\n", "\n      "))
	}
}

func (t *table) end() error {
	_, err := fmt.Fprintf(t.w, "\n%d ok, %d short of their bar, %d without a figure\n", t.ok, t.short, t.failed)
	return err
}

func (t *table) line(cells ...string) {
	var b strings.Builder
	for i, c := range cells {
		pad := strings.Repeat(" ", max(0, abs(widths[i])-utf8.RuneCountInString(c)))
		if widths[i] < 0 {
			c = pad + c
		} else {
			c += pad
		}
		b.WriteString(c)
		b.WriteString("  ")
	}
	fmt.Fprintln(t.w, strings.TrimRight(b.String(), " "))
}

func abs(n int) int { return max(n, -n) }

// figure prints three significant digits and the unit.
func figure(v float64, unit string) string {
	digits := 0
	if v > 0 && v < 100 {
		digits = max(0, 2-int(math.Floor(math.Log10(v))))
	}
	if unit == "x" && v < 100 {
		digits = max(digits, 2) // 1.05 is a bar
	}
	return fmt.Sprintf("%.*f %s", digits, v, unit)
}

func (b bar) String() string {
	if b == (bar{}) {
		return ""
	}
	sign := "<="
	if b.atLeast {
		sign = ">="
	}
	s := fmt.Sprintf("%s %g", sign, b.limit)
	if b.ofValue {
		s += " *"
	}
	return s
}

// jsonPrinter prints one document at the end.
type jsonPrinter struct {
	w   io.Writer
	doc document
}

type document struct {
	Machine machine    `json:"machine"`
	Lines   []jsonLine `json:"lines"`
	Left    []string   `json:"left_behind,omitempty"`
}

// jsonLine is a line of the table with all its samples.
type jsonLine struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Brine   float64   `json:"brine"`
	Beside  string    `json:"beside"`
	Figure  float64   `json:"figure"`
	Ratio   float64   `json:"ratio"`
	Faster  bool      `json:"ratio_is_times_faster,omitempty"`
	Bar     string    `json:"bar,omitempty"`
	Verdict string    `json:"verdict"`
	Ours    []float64 `json:"brine_rounds"`
	Theirs  []float64 `json:"figure_rounds"`
	Error   string    `json:"error,omitempty"`
}

func (j *jsonPrinter) begin(m machine) { j.doc.Machine = m }

func (j *jsonPrinter) row(results []result, left []string) {
	for _, r := range results {
		l := jsonLine{
			Name: r.name, Unit: r.unit, Brine: r.ourFigure, Beside: r.peer, Figure: r.theirFigure, Ratio: r.ratio, Faster: r.inverse,
			Bar: r.bar.String(), Verdict: r.verdict(), Ours: r.ourRounds, Theirs: r.theirRounds,
		}
		if r.err != nil {
			l.Error = r.err.Error()
		}
		j.doc.Lines = append(j.doc.Lines, l)
	}
	j.doc.Left = append(j.doc.Left, left...)
}

func (j *jsonPrinter) end() error {
	e := json.NewEncoder(j.w)
	e.SetIndent("", "  ")
	return e.Encode(j.doc)
}
