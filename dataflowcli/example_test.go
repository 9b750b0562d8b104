package dataflowcli_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowcli"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) {
	if err := os.Unsetenv("DATABASE_URL"); err != nil { // the example has a database of its own
		panic(err)
	}
	os.Exit(dbtest.Main(m))
}

type row struct{ Name string }

func flows() []*dataflow.Flow {
	return []*dataflow.Flow{dataflow.NewFlow("greetings",
		memory.Slice([]row{{"ada"}, {"grace"}}), dataflow.Identity[row](), sqltable.Insert[row]("greeting"), nil)}
}

// A program offers its own flows in its command line. It passes os.Args[1:] to Main, and the
// exit code to os.Exit.
func Example() {
	file, end := migrated() // as the command migrate up does
	defer end()
	opts := &dataflowcli.Options{
		Name:       "shop",
		DefaultURL: file,
		Configure: func(context.Context, dataflowcli.Database) (*dataflow.Config, error) {
			return &dataflow.Config{Flows: flows()}, nil
		},
	}
	for _, args := range [][]string{{"enqueue", "greetings"}, {"run-due"}, {"schedule", "next", "greetings"}} {
		code := dataflowcli.Main(context.Background(), args, opts)
		fmt.Println("exit code", code)
	}
	// Output:
	// Run 1 of flow "greetings" is pending.
	// A started client works it, or shop run-due.
	// No process works it: no started client is alive. Only shop run-due or a call of the heartbeat endpoint would.
	// shop run show 1 --follow shows its progress.
	// exit code 0
	// 0 runs started by schedule, 0 ticks skipped, 0 rescued, 1 worked here.
	// Run 1 of flow "greetings" is success: 2 read, 2 written, 0 redundant, 0 filtered, 0 dropped, 0 dead-lettered.
	// exit code 0
	// FLOW       STATE   TICK
	// greetings  active  -
	// exit code 0
}

// migrated makes a migrated database in a file, and returns a function that removes it.
func migrated() (file string, end func()) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "dataflowcli")
	must(err)
	file = filepath.Join(dir, "shop.db")
	db, err := sql.Open("sqlite", file)
	must(err)
	defer func() { must(db.Close()) }()
	db.SetMaxOpenConns(1)
	ctx := context.Background()
	_, err = db.ExecContext(ctx, `create table greeting (name text not null)`)
	must(err)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: flows(), Logger: slog.New(slog.DiscardHandler)})
	must(err)
	must(client.Migrate(ctx))
	must(client.Register(ctx))
	return file, func() { must(os.RemoveAll(dir)) }
}

func TestDatabase_Exec(t *testing.T) {
	t.Parallel()
	const statements = `create table one (n integer); create table two (n integer); insert into two (n) values (2)`
	for kind, db := range map[string]dataflowcli.Database{
		"Postgres": {Postgres: dbtest.Postgres(t)},
		"SQLite":   {SQLite: dbtest.SQLite(t)},
	} {
		require.NoError(t, db.Exec(t.Context(), statements), kind)
		require.Error(t, db.Exec(t.Context(), statements), kind)
	}
}

// Main without options is cmd/dataflow.
func TestMain_NoOptions(t *testing.T) {
	t.Parallel()
	require.Equal(t, 2, dataflowcli.Main(t.Context(), []string{"run", "show"}, nil))
}
