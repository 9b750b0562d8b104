// Dataflow looks after data flows. It knows none itself: a program that has flows can have
// the same commands, by package dataflowcli.
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
