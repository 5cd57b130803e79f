package brine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/brinepool/brine"
)

func TestMain(m *testing.M) {
	brine.Main()
	os.Exit(m.Run())
}

type counter struct{ base, calls int }

func openCounter(_ context.Context, base int) (*counter, error) { return &counter{base: base}, nil }

func (c *counter) Add(_ context.Context, n int) (int, error) {
	c.calls++
	return c.base + n, nil
}

func (c *counter) Misbehave(ctx context.Context, how string) (int, error) {
	switch how {
	case "error":
		return 0, fmt.Errorf("wrapped: %w", os.ErrNotExist)
	case "panic":
		panic("at the disco")
	case "exit":
		os.Exit(3)
	case "overflow":
		return recurse(0), nil
	case "loop":
		for {
		}
	case "cooperative":
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return 1, nil
}

func recurse(n int) int {
	if n < 0 {
		return 0
	}
	return recurse(n+1) + 1
}

var (
	counters  = brine.Define(openCounter)
	add       = brine.Method(counters, (*counter).Add)
	misbehave = brine.Method(counters, (*counter).Misbehave)
)

func TestFirst(t *testing.T) {
	ctx := context.Background()
	pool, err := brine.Open(ctx, counters, 100, &brine.Options{Workers: 2, Grace: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	n, err := brine.Call(ctx, pool, add, 7)
	if n != 107 || err != nil {
		t.Fatal(n, err)
	}
	ins := make([]int, 1000)
	for i := range ins {
		ins[i] = i
	}
	outs, err := brine.Map(ctx, pool, add, ins)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range outs {
		if n != 100+i {
			t.Fatal(i, n)
		}
	}
	res, err := brine.Map(ctx, pool, misbehave, []string{"", "error", "", "panic", "", "exit", "", "overflow", ""})
	t.Log(res, err)
	_, err = brine.Map(ctx, pool, misbehave.With(brine.Limits{Timeout: 100 * time.Millisecond}), []string{"", "loop", "", "cooperative"})
	if !errors.Is(err, brine.ErrTimeout) {
		t.Fatal(err)
	}
	for _, s := range []string{"error", "panic", "exit", "overflow"} {
		_, err = brine.Call(ctx, pool, misbehave, s)
		t.Log(err)
		if err == nil {
			t.Error("no error")
		}
	}
	i := 0
	for n, err := range brine.All(ctx, pool, add, func(yield func(int) bool) {
		for i := 0; yield(i); i++ {
		}
	}) {
		if n != 100+i || err != nil {
			t.Fatal(n, err)
		}
		if i++; i == 50000 {
			break
		}
	}
	pool.Report(os.Stdout)
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
}
