#!/usr/bin/env bash
# github.com/cschleiden/go-workflows v1.2.0 with its SQLite backend.
#
# A good guess: a signal that a workflow instance has accepted, with a nil error, waits until the workflow receives it,
# also if the workflow continues as new meanwhile, which its guide shows as the way to keep the history short: the
# instance has the same id before and after. Seen, without an error: signals that wait when the workflow returns
# ContinueAsNew are lost. Of five orders, a workflow that takes one in each execution gets the first, and the signal that
# is sent after that. Taken in one execution, all arrive. Its documentation does not say so.
# And GetWorkflowResult, which waits for the workflow to finish by its comment, returns at the first ContinueAsNew, with a
# zero value and a nil error.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cschleiden/go-workflows/backend"
	"github.com/cschleiden/go-workflows/backend/sqlite"
	"github.com/cschleiden/go-workflows/client"
	"github.com/cschleiden/go-workflows/worker"
	"github.com/cschleiden/go-workflows/workflow"
)

// taken gets what a workflow has received in all of its executions.
var taken = make(chan []string, 1)

// Collect takes orders until the last one. It continues as new after each, if it is told to.
func Collect(ctx workflow.Context, asNew bool, orders []string) (int, error) {
	signals := workflow.NewSignalChannel[string](ctx, "order")
	for {
		order, _ := signals.Receive(ctx)
		orders = append(orders, order)
		if order == "last" {
			taken <- orders
			return len(orders), nil
		}
		if asNew {
			return 0, workflow.ContinueAsNew(ctx, asNew, orders)
		}
	}
}

func main() {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	for _, asNew := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		store := sqlite.NewInMemoryBackend(sqlite.WithBackendOptions(backend.WithLogger(logger)))
		c := client.New(store)
		instance, err := c.CreateWorkflowInstance(ctx, client.WorkflowInstanceOptions{InstanceID: "orders"}, Collect, asNew, []string(nil))
		check(err)
		for _, order := range []string{"a", "b", "c", "d", "e"} {
			check(c.SignalWorkflow(ctx, "orders", "order", order))
		}
		w := worker.New(store, nil)
		check(w.RegisterWorkflow(Collect))
		check(w.Start(ctx))
		if asNew {
			result, err := client.GetWorkflowResult[int](ctx, c, instance, time.Minute)
			fmt.Println("the result, before the last order: error", err, "-", result)
		}
		check(c.SignalWorkflow(ctx, "orders", "order", "last"))
		select {
		case orders := <-taken:
			fmt.Printf("continues as new %t: %v\n", asNew, orders)
		case <-time.After(time.Minute):
			panic("the workflow has not ended")
		}
		cancel()
		check(w.WaitForCompletion())
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get github.com/cschleiden/go-workflows@v1.2.0 && go mod tidy) >get.log 2>&1 || { cat get.log; exit 1; }
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
continues as new false: [a b c d e last]
the result, before the last order: error <nil> - 0
continues as new true: [a last]
SEEN
