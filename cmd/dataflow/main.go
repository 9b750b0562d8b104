// Dataflow is the command line to look after data flows. It has no flows of its own. A program
// with flows can offer the same commands by package dataflowcli.
package main

import (
	"context"
	"os"

	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow/dataflowcli"
)

func main() {
	os.Exit(dataflowcli.Main(context.Background(), os.Args[1:], &dataflowcli.Options{Name: "dataflow"}))
}
