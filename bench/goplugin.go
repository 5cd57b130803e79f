package main

import (
	"context"
	"fmt"

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
	Bytes(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error)
}

type echoPlugin struct{}

func (echoPlugin) Int(_ context.Context, n *wrapperspb.Int64Value) (*wrapperspb.Int64Value, error) { //nolint:unparam // the shape of a gRPC method
	return wrapperspb.Int64(n.GetValue()), nil
}

func (echoPlugin) Bytes(_ context.Context, b *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) { //nolint:unparam // the shape of a gRPC method
	return wrapperspb.Bytes(b.GetValue()), nil
}

// echoService is what protoc-gen-go-grpc would write for the two methods, by hand, with the well-known wrapper messages.
var echoService = grpc.ServiceDesc{
	ServiceName: "brine.bench.Echo",
	HandlerType: (*echoServer)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Int", Handler: unary("Int", echoServer.Int)},
		{MethodName: "Bytes", Handler: unary("Bytes", echoServer.Bytes)},
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
}

func (grpcEcho) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error { //nolint:unparam // go-plugin's interface
	s.RegisterService(&echoService, echoPlugin{})
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

// startPlugin starts the child with go-plugin's own defaults: gRPC over a unix socket, no TLS.
func startPlugin() (*pluginPeer, error) {
	cmd, err := roleCommand("goplugin")
	if err != nil {
		return nil, err
	}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{"echo": grpcEcho{}},
		Cmd:              cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
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
func gopluginMain() int {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{"echo": grpcEcho{}},
		GRPCServer:      plugin.DefaultGRPCServer,
		Logger:          hclog.NewNullLogger(),
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

func (p *pluginPeer) bytes(ctx context.Context, b []byte) error {
	var out wrapperspb.BytesValue
	if err := p.conn.Invoke(ctx, "/brine.bench.Echo/Bytes", wrapperspb.Bytes(b), &out); err != nil {
		return err
	}
	return same(len(out.GetValue()), len(b))
}

func (p *pluginPeer) close() error {
	p.client.Kill()
	return nil
}

// gopluginCall measures calls by go-plugin: one caller if callers is 1, in microseconds a call, else in thousands of calls a second.
func gopluginCall(callers int) entrant.Maker {
	return func(ctx context.Context, c entrant.Config) (entrant.Entrant, error) {
		p, err := startPlugin()
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
		p, err := startPlugin()
		if err != nil {
			return entrant.Entrant{}, err
		}
		b := payload(size)
		return entrant.Latency(c, func() error { return p.bytes(ctx, b) }, p.close)
	}
}
