package sched

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts in testdata print into them")

// TestScripts runs testdata/*.txt. A line that begins in the first column is a command or a comment; the indented lines
// below a command are what it prints. See run for the commands.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := script{jobs: make(map[string]*Job)}
			var got strings.Builder
			for at, line := range strings.Split(strings.TrimSuffix(string(want), "\n"), "\n") {
				if strings.HasPrefix(line, " ") {
					continue
				}
				got.WriteString(line + "\n")
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				out, err := s.run(strings.Fields(line))
				if err != nil {
					t.Fatalf("%s:%d: %s: %v", file, at+1, line, err)
				}
				for _, l := range out {
					got.WriteString("    " + l + "\n")
				}
			}
			switch {
			case got.String() == string(want):
			case *rewrite:
				if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			default:
				t.Errorf("%s is now (run with -rewrite to keep it):\n%s", file, got.String())
			}
		})
	}
}

type script struct {
	q    Queue
	jobs map[string]*Job
}

// run runs one command:
//
//	job NAME TASKS [CHUNK]       extend NAME TASKS       cost NAME DURATION       credit NAME
//	take WORKERS workers [MOST]  return NAME LO HI [ATTEMPT]  drop NAME  died NAME TASK  len
func (s *script) run(words []string) ([]string, error) {
	var n []int
	for _, w := range words[1:] {
		if i, err := strconv.Atoi(w); err == nil {
			n = append(n, i)
		}
	}
	var j *Job
	if len(words) > 1 {
		j = s.jobs[words[1]]
	}
	n = append(n, 0, 0, 0) // what is left out
	switch words[0] {
	case "job":
		j = &Job{Owner: words[1], Cost: new(Cost), Chunk: n[1]}
		s.jobs[words[1]] = j
		s.q.Extend(j, n[0])
	case "extend":
		s.q.Extend(j, n[0])
	case "cost":
		d, err := time.ParseDuration(words[2])
		*j.Cost = Cost{}
		j.Cost.Observe(1, d)
		return nil, err
	case "credit":
		return []string{strconv.Itoa(j.Credit())}, nil
	case "take":
		most := 1 << 30
		if n[1] > 0 || words[len(words)-1] == "0" {
			most = n[1]
		}
		return show(s.q.Take(nil, n[0], most), "nothing"), nil
	case "return":
		if !s.q.Return(Span{Job: j, Lo: n[0], Hi: n[1], Attempt: n[2]}) {
			return []string{"dropped"}, nil
		}
	case "drop":
		return show(s.q.Drop(j), "nothing"), nil
	case "died":
		return []string{fmt.Sprintf("%d times", j.Died(n[0]))}, nil
	case "len":
		return []string{strconv.Itoa(s.q.Len())}, nil
	default:
		return nil, fmt.Errorf("no such command")
	}
	return nil, nil
}

func show(spans []Span, none string) (lines []string) {
	for _, s := range spans {
		line := fmt.Sprintf("%v [%d,%d)", s.Job.Owner, s.Lo, s.Hi)
		if s.Attempt > 0 {
			line += fmt.Sprintf(" attempt %d", s.Attempt)
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return []string{none}
	}
	return lines
}
