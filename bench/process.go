package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// closeGrace is how long an entrant may take to end in good order.
const closeGrace = 5 * time.Second

// process is an entrant in a process of its own, from the harness's side. It leads a process group, so that what it started can be
// killed with it.
type process struct {
	name     string
	cmd      *exec.Cmd
	commands *os.File
	answers  chan string // closed when the process closes its end
	stderr   *tail
	exited   chan struct{} // closed when the process is reaped
	state    error         // how it ended; read after exited
}

// startEntrant starts program as the named entrant and waits until it is ready. When it returns an error nothing is left running.
func startEntrant(ctx context.Context, program, name string, short bool) (*process, error) {
	args := entrant.RoleArgs("entrant", name)
	if short {
		args = append(args, "short")
	}
	theirIn, commands, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	answers, theirOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &process{name: name, commands: commands, answers: make(chan string, 1), stderr: &tail{}, exited: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	p.cmd.Stderr = p.stderr
	p.cmd.WaitDelay = time.Second // a grandchild that holds stderr must not hold the harness
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = p.cmd.Start()
	_ = theirIn.Close()
	_ = theirOut.Close()
	if err != nil {
		_ = commands.Close()
		_ = answers.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go p.read(answers)
	go p.wait()

	if _, err := p.answer(ctx); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

func (p *process) read(answers *os.File) {
	defer close(p.answers)
	defer answers.Close()
	for s := bufio.NewScanner(answers); s.Scan(); {
		p.answers <- s.Text() // at most one is on its way: the channel has room for it
	}
}

func (p *process) wait() {
	p.state = p.cmd.Wait()
	close(p.exited)
}

// sample has the entrant measure once.
func (p *process) sample(ctx context.Context) ([]float64, error) {
	if _, err := p.commands.WriteString("sample\n"); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, p.withStderr(err))
	}
	return p.answer(ctx)
}

func (p *process) answer(ctx context.Context) ([]float64, error) {
	select {
	case text, ok := <-p.answers:
		if !ok {
			<-p.exited
			return nil, fmt.Errorf("%s: ended without an answer: %w", p.name, p.withStderr(p.state))
		}
		values, err := entrant.ParseAnswer(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		return values, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", p.name, context.Cause(ctx))
	}
}

// close ends the entrant in good order, by force after the grace period.
func (p *process) close() error {
	_ = p.commands.Close()
	select {
	case <-p.exited:
		p.kill() // whatever it left behind in its group
		if p.state != nil {
			return fmt.Errorf("%s: closing: %w", p.name, p.withStderr(p.state))
		}
		return nil
	case <-time.After(closeGrace):
		p.kill()
		return fmt.Errorf("%s: had to be killed %v after its end", p.name, closeGrace)
	}
}

// kill ends the process and its group at once.
func (p *process) kill() {
	_ = p.commands.Close()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

func (p *process) withStderr(err error) error {
	if err == nil {
		err = errors.New("exit status 0")
	}
	if s := p.stderr.String(); s != "" {
		return fmt.Errorf("%w\n%s", err, s)
	}
	return err
}

// tail keeps the last part of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 4096

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
