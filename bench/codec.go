package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// The compiled codec is internal to Brine, so its benchmark is a Go benchmark in that package, and this row runs it. The benchmark goes
// from one codec to the other in every iteration and reports the time of each; a round is a run.
const (
	codecPackage = "./internal/codec"
	codecBench   = "BenchmarkChunk"
	codecOurs    = "brine-ns/op"
	codecPeer    = "gob-ns/op"
)

// codecSampler runs the test binary of the codec package.
type codecSampler struct {
	program   string
	benchtime string
}

func startCodec(ctx context.Context, h *harness, _ string) (sampler, error) {
	c := &codecSampler{program: filepath.Join(h.temp, "codec.test"), benchtime: "500ms"}
	if h.short {
		c.benchtime = "100ms"
	}
	if err := goTool(ctx, filepath.Dir(h.source), "test", "-c", "-o", c.program, codecPackage); err != nil {
		return nil, err
	}
	return c, nil
}

// sample returns microseconds of an encode and a decode by the compiled codec and by gob.
func (c *codecSampler) sample(ctx context.Context) ([]float64, error) {
	cmd := exec.CommandContext(ctx, c.program, "-test.run=^$", "-test.bench=^"+codecBench+"$", "-test.benchtime="+c.benchtime)
	cmd.Dir = filepath.Dir(c.program)
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", codecBench, err, out)
	}
	ours, err := metric(out, codecOurs)
	if err != nil {
		return nil, err
	}
	peer, err := metric(out, codecPeer)
	if err != nil {
		return nil, err
	}
	return []float64{ours / 1e3, peer / 1e3}, nil
}

func (*codecSampler) close() error { return nil }
func (*codecSampler) kill()        {}

// metric finds a figure by its unit in the line that the benchmark printed.
func metric(out []byte, unit string) (float64, error) {
	re := regexp.MustCompile(`(?m)^` + codecBench + `(?:-\d+)?\s.*\s([0-9.e+]+) ` + regexp.QuoteMeta(unit))
	m := re.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("no %s of %s in %s:\n%s", unit, codecBench, codecPackage, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
