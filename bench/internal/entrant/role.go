package entrant

import (
	"fmt"
	"os"
)

// RoleArg as the first argument makes a benchmark program a child of itself: an entrant, or the far side of a floor or a peer. The
// second argument names the role.
const RoleArg = "bench-role"

// Role returns the role that this process was started in and the role's own arguments, or "" if a person started it.
func Role() (name string, args []string) {
	if len(os.Args) < 3 || os.Args[1] != RoleArg {
		return "", nil
	}
	return os.Args[2], os.Args[3:]
}

// RoleArgs are the arguments that start a program in a role.
func RoleArgs(name string, args ...string) []string {
	return append([]string{RoleArg, name}, args...)
}

// Main serves one of the entrants: args are its name and, for the small sizes, "short". It returns the exit code of the process.
func Main(all map[string]Maker, args []string) int {
	if len(args) == 0 || all[args[0]] == nil {
		fmt.Fprintf(os.Stderr, "bench: no entrant of that name: %q\n", args)
		return 2
	}
	return Serve(all[args[0]], NewConfig(len(args) > 1 && args[1] == "short"))
}
