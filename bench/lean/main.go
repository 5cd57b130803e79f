// Command lean is the rows on process start in a program that links Brine and the standard library alone. The bench program builds and
// runs it: with gRPC linked in, both a worker and its floor spend most of their start on gRPC's initialization, and the ratio flatters.
package main

import (
	"fmt"
	"os"

	"github.com/brinepool/brine"

	"github.com/brinepool/brine/bench/internal/entrant"
	"github.com/brinepool/brine/bench/internal/start"
)

func main() {
	start.ReadyMain()
	brine.Main()
	name, args := entrant.Role()
	if name != "entrant" {
		fmt.Fprintln(os.Stderr, "lean: this program is started by bench: go run ./bench -run start/lean")
		os.Exit(2)
	}
	os.Exit(entrant.Main(map[string]entrant.Maker{
		"start/brine":  start.Brine,
		"start/call":   start.BrineCall,
		"start/reexec": start.Reexec,
	}, args))
}
