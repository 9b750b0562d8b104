package pgtable_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// holding is a record with a value of any type.
type holding[V any] struct {
	ID int64
	V  V
}

// changesTo deletes a row that is not there and upserts others, so that both statements are used.
func changesTo[V any](records []holding[V]) []pgtable.Change[holding[V]] {
	changes := []pgtable.Change[holding[V]]{{Op: pgtable.ChangeDelete, Old: &holding[V]{ID: -1, V: records[0].V}}}
	for _, r := range records {
		changes = append(changes, pgtable.Change[holding[V]]{Op: pgtable.ChangeInsert, New: r})
	}
	return changes
}

// retyped writes two runs by one target, whose table is altered in between. The values of the second
// must be those that a new process writes.
func retyped[V any](t *testing.T, declared, alter, key string, first, second V, want string) {
	t.Helper()
	keys := strings.Split(key, ", ")
	for name, way := range map[string]struct {
		more  string // columns of the table
		flows func(pool *pgxpool.Pool, table string) func(records []holding[V], o *dataflow.FlowOptions) *dataflow.Flow
	}{
		"Insert": {"", flowsTo(func(_ *pgxpool.Pool, table string) dataflow.Target[holding[V]] {
			return pgtable.Insert[holding[V]](table)
		})},
		"Upsert": {"", flowsTo(func(_ *pgxpool.Pool, table string) dataflow.Target[holding[V]] {
			return pgtable.Upsert[holding[V]](table, keys...)
		})},
		"UpsertTo": {"", flowsTo(func(pool *pgxpool.Pool, table string) dataflow.Target[holding[V]] {
			return pgtable.UpsertTo[holding[V]](pool, table, keys...)
		})},
		"looks for rows": {", n serial", flowsTo(func(_ *pgxpool.Pool, table string) dataflow.Target[holding[V]] {
			return pgtable.Upsert[holding[V]](table, keys...)
		})},
		"Apply": {"", appliesTo(func(_ *pgxpool.Pool, table string) dataflow.Target[pgtable.Change[holding[V]]] {
			return pgtable.Apply[holding[V]](table, keys...)
		})},
		"ApplyTo": {"", appliesTo(func(pool *pgxpool.Pool, table string) dataflow.Target[pgtable.Change[holding[V]]] {
			return pgtable.ApplyTo[holding[V]](pool, table, keys...)
		})},
	} {
		for _, size := range []int{10, 100} { // by arrays and by COPY
			if !dbtest.Part(fmt.Sprint(alter, name, size), 4) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s/%d", alter, name, size), func(t *testing.T) {
				t.Parallel()
				config := setup(t, `create table altered (id bigint, v `+declared+way.more+`, primary key (`+key+`))`).Config()
				config.ConnConfig.RuntimeParams["timezone"] = "Asia/Kolkata"
				pool, err := pgxpool.NewWithConfig(t.Context(), config)
				require.NoError(t, err)
				t.Cleanup(pool.Close)
				flow := way.flows(pool, "altered")
				options := &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(1000), MaxAttempts: 1, Runtime: dataflow.Heartbeat{BatchSize: size}}
				for from, v := range []V{first, second} {
					records := make([]holding[V], size)
					for i := range records {
						records[i] = holding[V]{ID: int64(from*size + i), V: v}
					}
					run, err := runOn(t, dataflowpgx.New(pool), flow(records, options))
					require.NoError(t, err)
					require.Zero(t, run.Counters.Dropped)
					if from == 0 {
						_, err = pool.Exec(t.Context(), `alter table altered alter v type `+alter, pgx.QueryExecModeSimpleProtocol)
						require.NoError(t, err)
					}
				}
				rows, err := pool.Query(t.Context(), `select v::text from altered where id >= $1`, size)
				require.NoError(t, err)
				texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
				require.NoError(t, err)
				require.Len(t, texts, size)
				for _, text := range texts {
					require.Equal(t, want, text)
				}
			})
		}
	}
}

func flowsTo[V any](to func(*pgxpool.Pool, string) dataflow.Target[holding[V]]) func(*pgxpool.Pool, string) func([]holding[V], *dataflow.FlowOptions) *dataflow.Flow {
	return func(pool *pgxpool.Pool, table string) func([]holding[V], *dataflow.FlowOptions) *dataflow.Flow {
		target := to(pool, table)
		return func(records []holding[V], o *dataflow.FlowOptions) *dataflow.Flow {
			return dataflow.NewFlow(fmt.Sprint("from ", records[0].ID), memory.Slice(records), dataflow.Identity[holding[V]](), target, o)
		}
	}
}

func appliesTo[V any](to func(*pgxpool.Pool, string) dataflow.Target[pgtable.Change[holding[V]]]) func(*pgxpool.Pool, string) func([]holding[V], *dataflow.FlowOptions) *dataflow.Flow {
	return func(pool *pgxpool.Pool, table string) func([]holding[V], *dataflow.FlowOptions) *dataflow.Flow {
		target := to(pool, table)
		return func(records []holding[V], o *dataflow.FlowOptions) *dataflow.Flow {
			return dataflow.NewFlow(fmt.Sprint("from ", records[0].ID), memory.Slice(changesTo(records)), dataflow.Identity[pgtable.Change[holding[V]]](), target, o)
		}
	}
}

// A target that has written to a table writes in the types that its columns have now. It neither cuts, rounds nor moves a
// value by those of then, nor refuses one that fits now.
func TestTargets_Retyped(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 1, 1, 10, 0, 0, 123456000, time.UTC)
	retyped[int64](t, `int`, `bigint`, "id", 1, 3e9, "3000000000")
	retyped(t, `timestamp`, `timestamptz using v at time zone 'UTC'`, "id", at, at, "2024-01-01 15:30:00.123456+05:30")
	retyped(t, `timestamptz`, `timestamp using v at time zone 'UTC'`, "id", at, at, "2024-01-01 10:00:00.123456")
	retyped(t, `double precision`, `numeric`, "id", 0.5, 0.30000000000000004, "0.30000000000000004")
	retyped(t, `date`, `timestamp`, "id", "2024-01-01", "2024-01-01 10:00", "2024-01-01 10:00:00")
	retyped(t, `name`, `text`, "id", "a", strings.Repeat("a", 70), strings.Repeat("a", 70))
	retyped(t, `numeric(5,2)`, `numeric(10,4)`, "id, v", "1", "1.2345", "1.2345")
	retyped(t, `timestamptz(0)`, `timestamptz`, "id, v", at, at, "2024-01-01 15:30:00.123456+05:30")
}

// An upsert that looks for rows that exist goes on in a table that has become a partitioned one.
func TestUpsert_Partitioned(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table altered (id bigint primary key, v text, n serial)`)
	target := pgtable.Upsert[holding[string]]("altered", "id")
	for run, want := range []dataflow.Counters{{Read: 3, Written: 3}, {Read: 3, Written: 3, Updated: 3}} {
		v := fmt.Sprint(run)
		flow := dataflow.NewFlow(v, memory.Slice([]holding[string]{{1, v}, {2, v}, {3, v}}), dataflow.Identity[holding[string]](), target, &dataflow.FlowOptions{MaxAttempts: 1})
		done, err := runOn(t, dataflowpgx.New(pool), flow)
		require.NoError(t, err)
		require.Equal(t, []int64{want.Read, want.Written, want.Updated}, []int64{done.Counters.Read, done.Counters.Written, done.Counters.Updated})
		if run == 0 {
			_, err = pool.Exec(t.Context(), `alter table altered rename to plain;
				create table altered (like plain including defaults, primary key (id)) partition by range (id);
				alter table plain add check (id < 100), alter id set not null; alter table altered attach partition plain for values from (0) to (100)`, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
		}
		var same int
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from altered where v = $1`, v).Scan(&same))
		require.Equal(t, 3, same)
	}
}

// A view may take the place of a table, as where a migration renames the table and keeps the old name for a while. An
// upsert goes on in it without an attempt.
func TestUpsert_View(t *testing.T) {
	t.Parallel()
	for n, size := range map[string]int{"int default 1": 3, "int default 2": 100, "serial": 3, "bigserial": 100} { // by arrays and by COPY
		pool := setup(t, `create table altered (id bigint primary key, v text, n `+n+`)`)
		target := pgtable.Upsert[holding[string]]("altered", "id")
		for _, v := range []string{"old", "new"} {
			records := make([]holding[string], size)
			for i := range records {
				records[i] = holding[string]{int64(i), v}
			}
			flow := dataflow.NewFlow(v, memory.Slice(records), dataflow.Identity[holding[string]](), target, &dataflow.FlowOptions{MaxAttempts: 1, Runtime: dataflow.Heartbeat{BatchSize: size}})
			run, err := runOn(t, dataflowpgx.New(pool), flow)
			require.NoError(t, err)
			require.EqualValues(t, size, run.Counters.Written)
			if v == "old" {
				exec(t, pool, `alter table altered rename to renamed`)
				exec(t, pool, `create view altered as select id, v, n from renamed`)
			}
		}
		require.Equal(t, []string{fmt.Sprint("new ", size)}, rowsOf(t, pool, `select v || ' ' || count(*) from renamed group by v`))
	}
}

// Replace does not put rows in place that were read for columns of other types.
func TestReplace_Retyped(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 1, 1, 10, 0, 0, 0, time.UTC)
	pool := setup(t, `create table altered (id bigint, v timestamp)`)
	tries := 0
	alter := dataflow.Map(func(ctx context.Context, r holding[time.Time]) (holding[time.Time], error) {
		if tries++; tries > 1 {
			return r, nil
		}
		_, err := pool.Exec(ctx, `alter table altered alter v type timestamptz`)
		return r, err
	})
	source := pgtable.Select[holding[time.Time]](pool, `select 1::bigint as id, $1::timestamptz as v`, at)
	flow := dataflow.NewFlow("f", source, alter, pgtable.Replace[holding[time.Time]]("altered"), &dataflow.FlowOptions{MaxAttempts: 1})
	_, err := runOn(t, dataflowpgx.New(pool), flow)
	require.ErrorContains(t, err, `column "v" has become timestamp with time zone since the run began, and its rows were written as timestamp without time zone: run the flow again`)
	require.False(t, dataflow.IsPermanent(err))
	_, err = runOn(t, dataflowpgx.New(pool), flow)
	require.NoError(t, err)
	var got time.Time
	require.NoError(t, pool.QueryRow(t.Context(), `select v from altered`).Scan(&got))
	require.True(t, at.Equal(got))
}

// A record that did not fit its column can be replayed by the same process once the column was altered.
func TestUpsert_RetypedReplay(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table altered (id bigint primary key, v int)`)
	flow := dataflow.NewFlow("f", memory.Slice([]holding[int64]{{1, 1}, {2, 3e9}}), dataflow.Identity[holding[int64]](), pgtable.Upsert[holding[int64]]("altered", "id"), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9)})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Register(t.Context()))
	_, err = client.Trigger(t.Context(), "f", nil)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `alter table altered alter v type bigint`)
	require.NoError(t, err)
	report, err := client.Replay(t.Context(), "f", nil)
	require.NoError(t, err)
	require.Empty(t, report.Failed)
	var v int64
	require.NoError(t, pool.QueryRow(t.Context(), `select v from altered where id = 2`).Scan(&v))
	require.Equal(t, int64(3e9), v)
}
