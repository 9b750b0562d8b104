package memory_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// Each Go block of docs/connectors/memory.md is in this file, so that it compiles, and an example
// runs it.

func squares() *dataflow.Flow {
	return dataflow.NewFlow("squares",
		memory.Slice([]int{1, 2, 3}),
		dataflow.Map(func(_ context.Context, n int) (int, error) { return n * n, nil }),
		memory.ToFunc(func(_ context.Context, n int) error { fmt.Println(n); return nil }),
		nil)
}

func ExampleSlice_flow() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	check(err)
	defer func() { check(db.Close()) }()
	db.SetMaxOpenConns(1)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{squares()}, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	_, err = client.Trigger(ctx, "squares", nil)
	check(err)
	// Output:
	// 1
	// 4
	// 9
}
