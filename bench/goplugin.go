package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// handshake is what go-plugin wants both sides to agree on.
var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "BRINE_BENCH_PLUGIN", MagicCookieValue: "echo"}

// echoServer is the service of the go-plugin peer.
type echoServer interface {
	Int(context.Context, *wrapperspb.Int64Value) (*wrapperspb.Int64Value, error)
	Trip(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error)
}

type echoPlugin struct{ payloads *side }

func (echoPlugin) Int(_ context.Context, n *wrapperspb.Int64Value) (*wrapperspb.Int64Value, error) { //nolint:unparam // the shape of a gRPC method
	return wrapperspb.Int64(n.GetValue()), nil
}

// Trip is the worker's part of a payload row.
func (e echoPlugin) Trip(ctx context.Context, b *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	out, err := e.payloads.Trip(ctx, b.GetValue())
	return wrapperspb.Bytes(out), err
}

// echoService is what protoc-gen-go-grpc would write for the two methods, by hand, with the well-known wrapper messages.
var echoService = grpc.ServiceDesc{
	ServiceName: "brine.bench.Echo",
	HandlerType: (*echoServer)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Int", Handler: unary("Int", echoServer.Int)},
		{MethodName: "Trip", Handler: unary("Trip", echoServer.Trip)},
	},
}

// unary adapts a method of echoServer to the handler that grpc calls.
func unary[In, Out any](name string, method func(echoServer, context.Context, *In) (*Out, error)) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, chain grpc.UnaryServerInterceptor) (any, error) {
		in := new(In)
		if err := decode(in); err != nil {
			return nil, err
		}
		if chain == nil {
			return method(srv.(echoServer), ctx, in)
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: "/brine.bench.Echo/" + name}
		return chain(ctx, in, info, func(ctx context.Context, req any) (any, error) {
			return method(srv.(echoServer), ctx, req.(*In))
		})
	}
}

// grpcEcho tells go-plugin how to serve and how to reach the service.
type grpcEcho struct {
	plugin.NetRPCUnsupportedPlugin
	size int // of payloads, in the child
}

func (e grpcEcho) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error { //nolint:unparam // go-plugin's interface
	s.RegisterService(&echoService, echoPlugin{workerSide(e.size)})
	return nil
}

func (grpcEcho) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// pluginPeer is a child process that go-plugin started and talks gRPC with.
type pluginPeer struct {
	client *plugin.Client
	conn   *grpc.ClientConn
}

// maxMessage is above every payload of the rows. gRPC's own limit, 4 MiB, is below some.
const maxMessage = 256 << 20

// startPlugin starts the child, for payloads of size bytes, with go-plugin's own defaults but for the size of messages: gRPC over a unix
// socket, no TLS.
func startPlugin(size int) (*pluginPeer, error) {
	cmd, err := roleCommand("goplugin", strconv.Itoa(size))
	if err != nil {
		return nil, err
	}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{"echo": grpcEcho{}},
		Cmd:              cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		},
		Logger: hclog.NewNullLogger(),
	})
	conn, err := dispense(client)
	if err != nil {
		client.Kill()
		return nil, fmt.Errorf("start the go-plugin peer: %w", err)
	}
	return &pluginPeer{client: client, conn: conn}, nil
}

func dispense(client *plugin.Client) (*grpc.ClientConn, error) {
	proto, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := proto.Dispense("echo")
	if err != nil {
		return nil, err
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return nil, fmt.Errorf("dispensed a %T", raw)
	}
	return conn, nil
}

// gopluginMain is the child of startPlugin.
func gopluginMain(args []string) int {
	size, err := sizeArg(args)
	if err != nil {
		return 2
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{"echo": grpcEcho{size: size}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return plugin.DefaultGRPCServer(append(opts, grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage)))
		},
		Logger: hclog.NewNullLogger(),
	})
	return 0
}

func (p *pluginPeer) int(ctx context.Context, n int64) error {
	var out wrapperspb.Int64Value
	if err := p.conn.Invoke(ctx, "/brine.bench.Echo/Int", wrapperspb.Int64(n), &out); err != nil {
		return err
	}
	return same(out.GetValue(), n)
}

func (p *pluginPeer) trip(ctx context.Context, s *side) error {
	var out wrapperspb.BytesValue
	if err := p.conn.Invoke(ctx, "/brine.bench.Echo/Trip", wrapperspb.Bytes(s.own), &out); err != nil {
		return err
	}
	return s.read(out.GetValue())
}

func (p *pluginPeer) close() error {
	p.client.Kill()
	return nil
}

// gopluginCall measures calls by go-plugin: one caller if callers is 1, in microseconds a call, else in thousands of calls a second.
func gopluginCall(callers int) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		p, err := startPlugin(0)
		if err != nil {
			return entrant.Entrant{}, err
		}
		call := func() error { return p.int(ctx, 7) }
		if callers == 1 {
			return entrant.Latency(c, call, p.close)
		}
		return entrant.Throughput(c, callers, call, p.close)
	}
}

// gopluginPayload measures size bytes there and back.
func gopluginPayload(size int) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		p, err := startPlugin(size)
		if err != nil {
			return entrant.Entrant{}, err
		}
		s := parentSide(size)
		return entrant.Latency(c, func() error { return p.trip(ctx, s) }, p.close)
	}
}
