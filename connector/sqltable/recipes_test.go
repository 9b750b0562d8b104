package sqltable_test

import (
	"database/sql"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Each Go block of docs/connectors/sqltable.md is in this file, so that it compiles, and a test
// runs it.

type Customer struct {
	ID        int64
	Name      string
	ChangedAt time.Time
}

func people(db *sql.DB) *dataflow.Flow {
	return dataflow.NewFlow("people",
		sqltable.Keyset[Customer](db, sqltable.Query{
			SQL: `select id, name, changed_at from customers`,
			Key: []string{"changed_at", "id"},
		}),
		dataflow.Identity[Customer](),
		sqltable.Upsert[Customer]("people", "id"), // in the client's own SQLite
		nil)
}

func TestRecipes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := dbtest.SQLite(t)
	for _, statement := range []string{
		`create table customers (id integer primary key, name text not null, changed_at timestamp not null)`,
		`create table people (id integer primary key, name text not null, changed_at timestamp not null)`,
		`insert into customers values (1, 'ada', '2026-01-02 03:04:05.000000000Z'), (2, 'grace', '2026-01-02 03:04:06.000000000Z')`,
	} {
		_, err := db.ExecContext(ctx, statement)
		require.NoError(t, err)
	}
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{people(db)}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(ctx))
	require.NoError(t, client.Register(ctx))
	run, err := client.Trigger(ctx, "people", nil)
	require.NoError(t, err)
	require.EqualValues(t, 2, run.Counters.Written)
}
