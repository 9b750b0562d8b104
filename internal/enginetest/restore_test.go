package enginetest_test

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// pair are the addresses of two databases: the client's, with the target of the flow "beside", and
// another one, with the target of the flow "far". Nobody is connected to them between two calls.
type pair struct{ own, other string }

// connected calls fn with a client and the pools of the pair.
func (p pair) connected(t *testing.T, rows int, fn func(client *dataflow.Client, own, other *pgxpool.Pool)) *logs {
	t.Helper()
	open := func(address string) *pgxpool.Pool {
		pool, err := pgxpool.New(t.Context(), address)
		require.NoError(t, err)
		return pool
	}
	own, other := open(p.own), open(p.other)
	defer own.Close()
	defer other.Close()
	logged := newLogs()
	numbered := dataflow.Map(func(_ context.Context, n int) (copied, error) { return copied{N: int64(n)}, nil })
	options := &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}}
	client, err := dataflow.NewClient(dataflowpgx.New(own), &dataflow.Config{Logger: logged.logger(), Flows: []*dataflow.Flow{
		dataflow.NewFlow("beside", numbers{n: rows}, numbered, pgtable.Insert[copied]("copies"), options),
		dataflow.NewFlow("far", numbers{n: rows}, numbered, pgtable.InsertTo[copied](other, "copies"), options),
	}})
	require.NoError(t, err)
	fn(client, own, other)
	return logged
}

// work lets the flows read the numbers up to rows, and requires that their targets have each once.
func (p pair) work(t *testing.T, rows int) *logs {
	t.Helper()
	return p.connected(t, rows, func(client *dataflow.Client, own, other *pgxpool.Pool) {
		for _, name := range []string{"beside", "far"} {
			_, err := client.Trigger(t.Context(), name, nil)
			require.NoError(t, err)
		}
		requireCopies(t, own, rows)
		requireCopies(t, other, rows)
	})
}

// requireCopies requires that a target has the numbers up to rows, each once.
func requireCopies(t *testing.T, pool *pgxpool.Pool, rows int) {
	t.Helper()
	var n, distinct, last int
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*), count(distinct n), coalesce(max(n), 0) from copies").Scan(&n, &distinct, &last))
	require.Equal(t, []int{rows, rows, rows}, []int{n, distinct, last})
}

// backups numbers the copies.
var backups atomic.Int64

// backup copies the files of a database to which nobody is connected.
func backup(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	name := u.Path[1:]
	u.Path = "/postgres"
	admin, err := pgx.Connect(t.Context(), u.String())
	require.NoError(t, err)
	defer admin.Close(t.Context()) //nolint:errcheck // it was only to be asked
	restored := fmt.Sprintf("%s_%d", name, backups.Add(1))
	_, err = admin.Exec(t.Context(), "create database "+pgx.Identifier{restored}.Sanitize()+" template "+pgx.Identifier{name}.Sanitize())
	require.NoError(t, err)
	address = u.String()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		admin, err := pgx.Connect(ctx, address)
		require.NoError(t, err)
		defer admin.Close(ctx) //nolint:errcheck // it was only to be asked
		_, err = admin.Exec(ctx, "drop database "+pgx.Identifier{restored}.Sanitize()+" with (force)")
		require.NoError(t, err)
	})
	u.Path = "/" + restored
	return u.String()
}

// What docs/operating.md says of restores: databases are replaced by older backups of theirs.
func TestRestore(t *testing.T) {
	t.Parallel()
	now := pair{own: dbtest.PostgresURL(t), other: dbtest.PostgresURL(t)}
	now.connected(t, 0, func(client *dataflow.Client, own, other *pgxpool.Pool) {
		require.NoError(t, client.Migrate(t.Context()))
		require.NoError(t, client.Register(t.Context()))
		for _, pool := range []*pgxpool.Pool{own, other} {
			_, err := pool.Exec(t.Context(), "create table copies (n bigint not null)")
			require.NoError(t, err)
		}
	})
	unused := backup(t, now.other)
	now.work(t, 50)
	old := pair{own: backup(t, now.own), other: backup(t, now.other)}
	now.work(t, 70)
	require.Empty(t, now.work(t, 100).lines("the sink has no checkpoint"))

	t.Run("TheClients", func(t *testing.T) { //nolint:paralleltest // they share the databases
		restored := pair{own: old.own, other: backup(t, now.other)}
		restored.connected(t, 100, func(client *dataflow.Client, own, other *pgxpool.Pool) {
			_, err := client.Trigger(t.Context(), "beside", nil)
			require.NoError(t, err)
			requireCopies(t, own, 100)
			run, err := client.Trigger(t.Context(), "far", nil)
			require.ErrorContains(t, err, "the sink holds a newer claim")
			require.ErrorContains(t, err, "restored from a backup")
			require.Equal(t, dataflow.RunFailed, run.State)
			_, err = other.Exec(t.Context(), "update dataflow_sink_checkpoint set fence = 0 where flow = 'far'")
			require.NoError(t, err)
			run, err = client.Trigger(t.Context(), "far", nil)
			require.NoError(t, err)
			require.Equal(t, "100", string(run.ToCursor))
			requireCopies(t, other, 100)
		})
		restored.work(t, 130)
	})
	t.Run("TheTargets", func(t *testing.T) { //nolint:paralleltest // as above
		restored := pair{own: backup(t, now.own), other: old.other}
		restored.work(t, 100)
		restored.work(t, 130)
	})
	t.Run("TheTargets_BeforeTheFirstBatch", func(t *testing.T) { //nolint:paralleltest // as above
		restored := pair{own: now.own, other: unused}
		logged := restored.connected(t, 100, func(client *dataflow.Client, _, other *pgxpool.Pool) {
			_, err := client.Trigger(t.Context(), "far", nil)
			require.NoError(t, err)
			requireCopies(t, other, 0)
			place, err := client.Cursor(t.Context(), "far")
			require.NoError(t, err)
			_, err = client.SetCursor(t.Context(), "far", &dataflow.SetCursorParams{IfSeq: &place.Seq})
			require.NoError(t, err)
		})
		require.Len(t, logged.lines("the sink has no checkpoint of the flow"), 1)
		require.Empty(t, restored.work(t, 100).lines("the sink has no checkpoint"))
	})
}
