// Command brine is the engine of programs in other languages, and the tools around it. See brine help.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	if err := root().ExecuteContext(context.Background()); err != nil {
		os.Exit(1)
	}
}

// root returns the command with all that it can do: a function for each, in a file of its name.
func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "brine",
		Short:         "Worker processes for functions, and an account of what crosses to them",
		SilenceUsage:  true,
		SilenceErrors: false,
		Version:       version(),
	}
	cmd.SetErrPrefix("brine:")
	cmd.AddCommand(billCommand(), collectCommand(), engineCommand(), explainCommand(), runCommand(), traceCommand(), versionCommand())
	return cmd
}
