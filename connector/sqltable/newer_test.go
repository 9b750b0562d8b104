package sqltable_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// A backfill leaves newer rows alone, and mends those of the same time.
func TestKeyset_BackfillOnlyIfNewer(t *testing.T) {
	t.Parallel()
	type customer struct {
		ID        int64
		Name      string
		UpdatedAt time.Time
	}
	db := setup(t, `create table customers (id integer primary key, name text, updated_at text)`, `create table customer_copy (id integer primary key, name text, updated_at text)`,
		`insert into customers values (1, 'one', '2024-01-01 01:00:00.000000000Z'), (2, 'two', '2024-01-01 02:00:00.000000000Z')`)
	mended := ""
	transform := dataflow.Map(func(_ context.Context, c customer) (customer, error) { c.Name += mended; return c, nil })
	source := sqltable.Keyset[customer](db, sqltable.Query{SQL: `select id, name, updated_at from customers`, Key: []string{"updated_at", "id"}})
	flow := dataflow.NewFlow("customers", source, transform, sqltable.Upsert[customer]("customer_copy", "id"), nil)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	_, err = client.Trigger(t.Context(), "customers", nil)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `update customer_copy set name = 'newer', updated_at = '2024-01-01T03:00:00Z' where id = 1`)
	require.NoError(t, err)
	mended = "!"
	_, err = client.Backfill(t.Context(), "customers", nil)
	require.NoError(t, err)
	runs, err := client.Tick(t.Context())
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 2, Written: 1, Updated: 1, Redundant: 1}, runs[0].Counters)
	var names string
	require.NoError(t, db.QueryRowContext(t.Context(), `select group_concat(name) from (select name from customer_copy order by id)`).Scan(&names))
	require.Equal(t, "newer,two!", names)
}
