package pgtable_test

import (
	"context"
	"log/slog"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// For a role that may write but not create, the error gives the statement to run.
// The sink works after that.
func TestUpsertTo_MayNotCreate(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	address := dbtest.PostgresURL(t)
	owner, err := pgxpool.New(ctx, address)
	require.NoError(t, err)
	t.Cleanup(owner.Close)
	u, err := url.Parse(address)
	require.NoError(t, err)
	role := "writer_" + u.Path[1:]
	exec := func(sql string) {
		t.Helper()
		_, err := owner.Exec(ctx, sql)
		require.NoError(t, err, sql)
	}
	exec(`create role ` + role)
	t.Cleanup(func() { _, _ = owner.Exec(context.WithoutCancel(ctx), `drop owned by `+role+`; drop role `+role) })
	exec(`revoke create on schema public from public`)
	exec(`create table numbers (n bigint primary key)`)
	exec(`grant select, insert, update on numbers to ` + role)

	config, err := pgxpool.ParseConfig(address)
	require.NoError(t, err)
	config.ConnConfig.RuntimeParams["role"] = role
	writer, err := pgxpool.NewWithConfig(ctx, config)
	require.NoError(t, err)
	t.Cleanup(writer.Close)
	flow := dataflow.NewFlow("far", memory.Slice(numberRows(20)), dataflow.Identity[number](), pgtable.UpsertTo[number](writer, "numbers", "n"),
		&dataflow.FlowOptions{MaxAttempts: 1})
	client, err := dataflow.NewClient(dataflowpgx.New(dbtest.Postgres(t)), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(ctx))
	require.NoError(t, client.Register(ctx))
	_, err = client.Trigger(ctx, "far", nil)
	require.ErrorContains(t, err, "42501")
	require.ErrorContains(t, err, pgtable.CheckpointTable)

	exec(pgtable.CheckpointTable)
	exec(pgtable.CheckpointTable) // the statement may be run twice
	exec(`grant select, insert, update on dataflow_sink_checkpoint to ` + role)
	run, err := client.Trigger(ctx, "far", nil)
	require.NoError(t, err)
	require.Equal(t, int64(20), run.Counters.Written)
}
