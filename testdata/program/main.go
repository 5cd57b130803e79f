// Command program is what the tests of package brine start where a process of its own is the point: its first argument,
// or the variable CASE for what happens before main, says what it does.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/brinepool/brine"
)

type state struct{ n int }

func openState(_ context.Context, n int) (*state, error) { return &state{n}, nil }

func (s *state) Add(_ context.Context, n int) (int, error) { return s.n + n, nil }

func (s *state) Die(_ context.Context, n int) (int, error) { os.Exit(n); return 0, nil }

func (s *state) Stick(ctx context.Context, how string) (int, error) {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	fmt.Println("stuck", os.Getpid())
	switch how {
	case "loop":
		for {
		}
	case "hang":
		select {}
	}
	return 0, nil
}

func (s *state) Environ(context.Context, int) ([]string, error) { return os.Environ(), nil }

var (
	states  = brine.Define(openState)
	add     = brine.Method(states, (*state).Add)
	die     = brine.Method(states, (*state).Die)
	stick   = brine.Method(states, (*state).Stick)
	environ = brine.Method(states, (*state).Environ)
)

func generic[T any](_ context.Context, v T) (T, error) { return v, nil }

func genericOpen[T any](_ context.Context, v T) (T, error) { return v, nil }

func init() {
	limitStarts(os.Getenv("STARTS"))
	defer func() {
		if v := recover(); v != nil {
			fmt.Println("panic:", v)
			os.Exit(0)
		}
	}()
	register(os.Getenv("CASE"))
}

// limitStarts counts the starts of this program in a file, and ends what would otherwise breed without end.
func limitStarts(file string) {
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Println(err)
		os.Exit(8)
	}
	f.Write([]byte{'x'})
	info, err := f.Stat()
	f.Close()
	if err != nil || info.Size() > 20 {
		fmt.Println("started more than 20 times")
		os.Exit(9)
	}
}

func register(which string) {
	switch which {
	case "":
		return
	case "method twice":
		brine.Method(states, (*state).Add)
	case "kind twice":
		brine.Define(openState)
	case "name twice":
		brine.PlainNamed("one name", generic[int])
		brine.PlainNamed("one name", generic[string])
	case "kind name twice":
		brine.DefineNamed("one name", genericOpen[int])
		brine.DefineNamed("one name", genericOpen[string])
	case "generic":
		brine.Plain(generic[int])
	case "generic kind":
		brine.Define(genericOpen[int])
	case "nil open":
		brine.Define[int, int](nil)
	case "nil method":
		brine.Method[int, *state, int, int](states, nil)
	case "nil kind":
		brine.Method[int, *state](nil, (*state).Add)
	case "nil plain":
		brine.Plain[int, int](nil)
	case "empty name":
		brine.PlainNamed("", generic[int])
	case "closures":
		for i := range 2 {
			brine.Plain(func(context.Context, int) (int, error) { return i, nil })
		}
	case "codec twice":
		brine.RegisterCodec(brine.Gob)
	case "nil codec":
		brine.RegisterCodec(nil)
	case "chan type":
		brine.RegisterType(make(chan int))
	case "open":
		_, err := brine.Open(context.Background(), states, 1, nil)
		fmt.Println("error:", err)
		os.Exit(0)
	}
	fmt.Println("no panic")
	os.Exit(0)
}

func main() {
	verb := "plain"
	if len(os.Args) > 1 {
		verb = os.Args[1]
	}
	if verb == "nomain" {
		_, err := brine.Open(context.Background(), states, 1, nil)
		fmt.Println("error:", err)
		return
	}
	brine.Main()
	brine.Main() // does nothing
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := run(ctx, verb); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, verb string) error {
	opts := &brine.Options{Workers: 2}
	switch verb {
	case "late":
		defer func() { fmt.Println("panic:", recover()) }()
		brine.PlainNamed("late", generic[int])
		return nil
	case "environ":
		opts.Env = []string{"ONE=1", "TWO=2"}
	}
	pool, err := brine.Open(ctx, states, 100, opts)
	if err != nil {
		return err
	}
	defer pool.Close()
	switch verb {
	case "plain":
		n, err := brine.Call(ctx, pool, add, 7)
		fmt.Println(n, err)
		if path := os.Getenv("OUTPUT"); path != "" { // where there is no stdout
			outs, err2 := brine.Map(ctx, pool, add, make([]int, 1000))
			return os.WriteFile(path, fmt.Append(nil, n, err, len(outs), err2), 0o600)
		}
		return err
	case "environ":
		list, err := brine.Call(ctx, pool, environ, 0)
		fmt.Println(strings.Join(list, " "))
		return err
	case "exit": // without Close
		fmt.Println("pids", pids(pool))
		os.Exit(0)
	case "idle", "loop", "hang":
		fmt.Println("pids", pids(pool))
		if verb != "idle" {
			for range 4 {
				brine.Go(ctx, pool, stick.With(brine.Limits{Chunk: 1}), verb)
			}
		}
		select {}
	case "nofile":
		return withoutDescriptors(ctx, pool)
	case "replaced":
		return replaced(ctx, pool)
	}
	return errors.New("unknown verb " + verb)
}

func pids(pool *brine.Pool[*state]) string {
	var list []string
	for _, p := range pool.Stats().Processes {
		if p.PID != os.Getpid() && p.PID != 0 {
			list = append(list, strconv.Itoa(p.PID))
		}
	}
	return strings.Join(list, " ")
}

// withoutDescriptors has a worker die while its successor can't be started, and goes on when it can.
func withoutDescriptors(ctx context.Context, pool *brine.Pool[*state]) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	low := limit
	low.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		return err
	}
	_, err := brine.Open(ctx, states, 1, nil)
	fmt.Println("open:", err)
	n, err := brine.Call(ctx, pool, add, 1)
	fmt.Println("call:", n, err)
	_, err = brine.Call(ctx, pool, die, 3)
	fmt.Println("die:", err)
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	n, err = brine.Call(short, pool, add, 2)
	cancel()
	fmt.Println("call:", n, err)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	other, err := brine.Open(ctx, states, 1, nil)
	fmt.Println("reopen:", err)
	if err == nil {
		other.Close()
	}
	outs, err := brine.Map(ctx, pool, add, make([]int, 100))
	fmt.Println("map:", len(outs), err)
	return nil
}

// replaced waits for a line on stdin, by which its file is another, and has its workers replaced.
func replaced(ctx context.Context, pool *brine.Pool[*state]) error {
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	for range 3 {
		_, err := brine.Call(ctx, pool, die, 3)
		if err == nil {
			return errors.New("die did not")
		}
	}
	outs, err := brine.Map(ctx, pool, add, make([]int, 1000))
	if err != nil {
		return err
	}
	other, err := brine.Open(ctx, states, 5, nil)
	if err != nil {
		return err
	}
	defer other.Close()
	n, err := brine.Call(ctx, other, add, 5)
	fmt.Println("map", len(outs), "other", n, err)
	return err
}
