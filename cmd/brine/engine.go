package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/brinepool/brine/internal/serve"
)

// engineFD is where the engine finds the socket to its client.
const engineFD = 3

func engineCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "engine",
		Short:  "Serve the program that started this one (docs/PROTOCOL.md)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return runEngine(cmd.Context()) },
	}
}

// runEngine serves until the client ends. What a terminal sends to all that run in it is for the client to act upon.
func runEngine(ctx context.Context) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	if _, err := syscall.Getpeername(engineFD); err != nil {
		return errors.New("descriptor 3 is not a socket to a client: this command is for programs that use Brine, and not to be run by hand")
	}
	syscall.CloseOnExec(engineFD)
	_ = os.Unsetenv("BRINE_WORKER")
	return serve.Run(ctx, engineFD, version())
}
