package main

import (
	"context"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"strconv"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// Echo is the service of the net/rpc peer, in the shape that net/rpc asks for.
type Echo struct{ payloads *side }

// Int answers with its argument.
func (Echo) Int(n int, out *int) error { *out = n; return nil }

// Trip is the worker's part of a payload row.
func (e Echo) Trip(b []byte, out *[]byte) (err error) {
	*out, err = e.payloads.Trip(context.Background(), b)
	return err
}

// rpcPeer is a child process that serves Echo by net/rpc (gob) over a unix stream socket.
type rpcPeer struct {
	child  *exec.Cmd
	client *rpc.Client
}

// startRPC starts the child, for payloads of size bytes, on one end of a socket pair: a unix socket without a name, so that no file is left behind.
func startRPC(size int) (*rpcPeer, error) {
	fds, err := socketPair()
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "rpc"), os.NewFile(uintptr(fds[1]), "rpc")
	defer ours.Close()
	defer theirs.Close()
	cmd, err := roleCommand("netrpc", strconv.Itoa(size))
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{theirs}
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("net/rpc socket: %w", err)
	}
	if err := cmd.Start(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start the net/rpc peer: %w", err)
	}
	return &rpcPeer{child: cmd, client: rpc.NewClient(conn)}, nil
}

// netrpcMain is the child of startRPC.
func netrpcMain(args []string) int {
	size, err := sizeArg(args)
	if err != nil {
		return 2
	}
	conn, err := net.FileConn(os.NewFile(3, "rpc"))
	if err != nil {
		return 2
	}
	s := rpc.NewServer()
	if err := s.RegisterName("Echo", Echo{workerSide(size)}); err != nil {
		return 2
	}
	s.ServeConn(conn)
	return 0
}

func (p *rpcPeer) int(n int) error {
	var out int
	if err := p.client.Call("Echo.Int", n, &out); err != nil {
		return err
	}
	return same(out, n)
}

func (p *rpcPeer) trip(s *side) error {
	var out []byte
	if err := p.client.Call("Echo.Trip", s.own, &out); err != nil {
		return err
	}
	return s.read(out)
}

// close ends the child by closing the socket, and waits for it.
func (p *rpcPeer) close() error {
	if err := p.client.Close(); err != nil {
		return err
	}
	return p.child.Wait()
}

// netrpcCall measures calls by net/rpc: one caller if callers is 1, in microseconds a call, else in thousands of calls a second.
func netrpcCall(callers int) entrant.Maker {
	return func(_ context.Context, c entrant.Config) (entrant.Entrant, error) {
		p, err := startRPC(0)
		if err != nil {
			return entrant.Entrant{}, err
		}
		call := func() error { return p.int(7) }
		if callers == 1 {
			return entrant.Latency(c, call, p.close)
		}
		return entrant.Throughput(c, callers, call, p.close)
	}
}

// netrpcPayload measures size bytes there and back.
func netrpcPayload(size int) entrant.Maker {
	return func(_ context.Context, c entrant.Config) (entrant.Entrant, error) {
		p, err := startRPC(size)
		if err != nil {
			return entrant.Entrant{}, err
		}
		s := parentSide(size)
		return entrant.Latency(c, func() error { return p.trip(s) }, p.close)
	}
}
