package pgtable_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// The flows of docs/changes.md.

type Customer struct {
	ID        int64
	Name      string
	UpdatedAt time.Time
}

func customers(pool *pgxpool.Pool) *dataflow.Flow {
	source := pgtable.Keyset[Customer](pool, pgtable.Query{
		SQL: "select id, name, updated_at from customers",
		Key: []string{"updated_at", "id"},
	})
	target := pgtable.Upsert[Customer]("customer_copy", "id").OnlyIfNewer("updated_at")
	return dataflow.NewFlow("customers", source, dataflow.Identity[Customer](), target, nil)
}

func anyAge() dataflow.Target[Customer] {
	target := pgtable.Upsert[Customer]("customer_copy", "id").OnlyIfNewer("") // any row is replaced
	return target
}

const customerTables = `create table customers (id bigint primary key, name text, updated_at timestamptz);
	create index on customers (updated_at, id);
	create table customer_copy (id bigint primary key, name text, updated_at timestamptz)`

func skippingNulls(pool *pgxpool.Pool) dataflow.Source[Customer, pgtable.Cursor] {
	source := pgtable.Keyset[Customer](pool, pgtable.Query{
		SQL:   "select id, name, updated_at from customers",
		Key:   []string{"updated_at", "id"},
		Nulls: pgtable.NullsSkip,
	})
	return source
}

var _ = skippingNulls // TestKeyset_Nulls runs it

func lookingBack(pool *pgxpool.Pool) *dataflow.Flow {
	source := pgtable.Keyset[Customer](pool, pgtable.Query{
		SQL:      "select id, name, updated_at from customers",
		Key:      []string{"updated_at", "id"},
		Lookback: 3 * time.Hour,
	})
	target := pgtable.Upsert[Customer]("customer_copy", "id")
	return dataflow.NewFlow("customers", source, dataflow.Identity[Customer](), target, nil)
}

// clientOf returns a client with one flow.
func clientOf(t *testing.T, pool *pgxpool.Pool, flow *dataflow.Flow) *dataflow.Client {
	t.Helper()
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	return client
}

// A cursor that is set back does no harm.
func TestRecipe_OnlyIfNewer(t *testing.T) {
	t.Parallel()
	pool := setup(t, customerTables, `insert into customers select n, 'name ' || n, '2024-01-01Z'::timestamptz + n * interval '1 hour' from generate_series(1, 9) n`)
	client := clientOf(t, pool, customers(pool))
	run, err := client.Trigger(t.Context(), "customers", nil)
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 9, Written: 9}, run.Counters)
	_, err = pool.Exec(t.Context(), `update customer_copy set name = 'newer', updated_at = updated_at + interval '1 year' where id <= 3`)
	require.NoError(t, err)
	at, err := client.Cursor(t.Context(), "customers")
	require.NoError(t, err)
	_, err = client.SetCursor(t.Context(), "customers", &dataflow.SetCursorParams{IfSeq: &at.Seq, Cursor: json.RawMessage("null"), Actor: "ann", Reason: "again"})
	require.NoError(t, err)
	run, err = client.Trigger(t.Context(), "customers", nil)
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 9, Redundant: 9}, run.Counters)
	require.Equal(t, []string{"newer", "newer", "newer", "name 4"}, texts(t, pool, `select name from customer_copy order by id limit 4`))
}

// A backfill and a replay leave newer rows alone by themselves, unless the flow says otherwise.
// Rows of the same time are mended.
func TestKeyset_BackfillOnlyIfNewer(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{"default": {"newer", "name 2!"}, "off": {"name 1!", "name 2!"}, "other key": {"name 1!", "name 2!"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, customerTables, `insert into customers select n, 'name ' || n, '2024-01-01Z'::timestamptz + n * interval '1 hour' from generate_series(1, 2) n`)
			target, key := pgtable.Upsert[Customer]("customer_copy", "id"), []string{"updated_at", "id"}
			switch name {
			case "off":
				target = anyAge()
			case "other key":
				key = []string{"id"}
			}
			mended := ""
			transform := dataflow.Map(func(_ context.Context, c Customer) (Customer, error) { c.Name += mended; return c, nil })
			source := pgtable.Keyset[Customer](pool, pgtable.Query{SQL: "select id, name, updated_at from customers", Key: key, LateCommits: pgtable.Unguarded{}})
			client := clientOf(t, pool, dataflow.NewFlow("customers", source, transform, target, nil))
			_, err := client.Trigger(t.Context(), "customers", nil)
			require.NoError(t, err)
			_, err = pool.Exec(t.Context(), `update customer_copy set name = 'newer', updated_at = updated_at + interval '1 year' where id = 1`)
			require.NoError(t, err)
			mended = "!"
			_, err = client.Backfill(t.Context(), "customers", nil)
			require.NoError(t, err)
			runs, err := client.Tick(t.Context())
			require.NoError(t, err)
			require.Len(t, runs, 1)
			require.Equal(t, want, texts(t, pool, `select name from customer_copy order by id`))
			if name == "default" {
				require.Equal(t, dataflow.Counters{Read: 2, Written: 1, Updated: 1, Redundant: 1}, runs[0].Counters)
			}
		})
	}
}

// The dead letter's record is older than what is there by now.
func TestKeyset_ReplayOnlyIfNewer(t *testing.T) {
	t.Parallel()
	for _, off := range []bool{false, true} {
		pool := setup(t, customerTables, `insert into customers values (1, 'old', '2024-01-01Z')`, `insert into customer_copy values (1, 'newer', '2024-01-02Z')`)
		target := pgtable.Upsert[Customer]("customer_copy", "id")
		if off {
			target = target.OnlyIfNewer("")
		}
		bad := true
		transform := dataflow.Map(func(_ context.Context, c Customer) (Customer, error) {
			if bad {
				return c, fmt.Errorf("not yet")
			}
			return c, nil
		})
		source := pgtable.Keyset[Customer](pool, pgtable.Query{SQL: "select id, name, updated_at from customers", Key: []string{"updated_at", "id"}})
		client := clientOf(t, pool, dataflow.NewFlow("customers", source, transform, target, &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(5)}))
		run, err := client.Trigger(t.Context(), "customers", nil)
		require.NoError(t, err)
		require.EqualValues(t, 1, run.Counters.DeadLettered)
		bad = false
		report, err := client.Replay(t.Context(), "customers", nil)
		require.NoError(t, err)
		require.Empty(t, report.Failed)
		require.Len(t, report.Replayed, 1)
		require.Equal(t, []string{map[bool]string{false: "newer", true: "old"}[off]}, texts(t, pool, `select name from customer_copy`))
	}
}

func TestOnlyIfNewer_Refused(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for want, target := range map[string]dataflow.Target[Customer]{
		`Target.OnlyIfNewer: "changed_at" is not a column of pgtable_test.Customer`: pgtable.Upsert[Customer]("t", "id").OnlyIfNewer("changed_at"),
		`column "id" is of the key`:                            pgtable.UpsertTo[Customer](pool, "t", "id").OnlyIfNewer("id"),
		"an insert replaces no row":                            pgtable.InsertTo[Customer](pool, "t").OnlyIfNewer("updated_at"),
		"the sink (pgtable.insert) cannot leave newer":         pgtable.Insert[Customer]("t").OnlyIfNewer("updated_at"),
		"the sink (pgtable.replace) cannot leave newer":        pgtable.Replace[Customer]("t").OnlyIfNewer("updated_at"),
		"with the caller's own statements, which must compare": pgtable.FuncTo[Customer](pool, nil).OnlyIfNewer("updated_at"),
	} {
		_, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("f", memory.Slice[Customer](nil), dataflow.Identity[Customer](), target, nil)}})
		require.ErrorContains(t, err, want)
	}
}
