package pgtable_test

import (
	"context"
	"log/slog"
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

// person is a row that refers to another row of its table.
type person struct {
	ID   int64
	Boss *int64
	Name string
}

func people(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return setup(t, `create table people (id bigint primary key, boss bigint references people, name text not null)`)
}

// retrying returns a client of a flow of people in batches, with a policy.
func retrying(t *testing.T, pool *pgxpool.Pool, rows []person, target dataflow.Target[person], batch int, policy dataflow.Policy) *dataflow.Client {
	t.Helper()
	flow := dataflow.NewFlow("people", memory.Slice(rows), dataflow.Identity[person](), target,
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: batch}, OnBadRecord: policy, MaxAttempts: 1})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	return client
}

func triggered(t *testing.T, client *dataflow.Client) *dataflow.Run {
	t.Helper()
	run, err := client.Trigger(t.Context(), "people", nil)
	require.NoError(t, err)
	return run
}

func letters(t *testing.T, client *dataflow.Client, open bool) []*dataflow.DeadLetterRecord {
	t.Helper()
	all, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Open: open, Limit: 1000})
	require.NoError(t, err)
	return all
}

func names(t *testing.T, pool *pgxpool.Pool) map[int64]string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `select id, name from people`)
	require.NoError(t, err)
	all := make(map[int64]string)
	var id int64
	var name string
	_, err = pgx.ForEachRow(rows, []any{&id, &name}, func() error { all[id] = name; return nil })
	require.NoError(t, err)
	return all
}

// Rows that refer to rows of later batches are all written at the end of the run.
func TestRetryBadFor_SelfReferences(t *testing.T) {
	t.Parallel()
	const n = 500
	for name, target := range map[string]dataflow.Target[person]{
		"Insert": pgtable.Insert[person]("people"),
		"Upsert": pgtable.Upsert[person]("people", "id"),
		"Batch": pgtable.Batch(func(b *pgx.Batch, row person) error {
			b.Queue(`insert into people values ($1, $2, $3)`, row.ID, row.Boss, row.Name)
			return nil
		}),
	} {
		for order, boss := range map[string]func(i int64) int64{
			"the last": func(int64) int64 { return n },
			"a chain":  func(i int64) int64 { return min(i+150, n) },
		} {
			if !dbtest.Part(name+"/"+order, 2) {
				continue
			}
			t.Run(name+"/"+order, func(t *testing.T) {
				t.Parallel()
				pool := people(t)
				rows := make([]person, n)
				for i := range rows {
					id := int64(i + 1)
					rows[i] = person{ID: id, Boss: new(boss(id)), Name: "n"}
				}
				rows[n-1].Boss = nil
				client := retrying(t, pool, rows, target, 100, dataflow.RetryBadFor(time.Hour, 1))
				run := triggered(t, client)
				require.Greater(t, run.Counters.DeadLettered, int64(20))
				require.Len(t, names(t, pool), n)
				require.Empty(t, letters(t, client, true))
				require.Len(t, letters(t, client, false), int(run.Counters.DeadLettered))
			})
		}
	}
}

// A row whose parent comes later is tried again by each run, up to so many times.
func TestRetryBadFor_Tries(t *testing.T) {
	t.Parallel()
	pool := people(t)
	rows := []person{{1, new(int64(8)), "a"}, {2, new(int64(9)), "b"}, {3, nil, "c"}}
	client := retrying(t, pool, rows, pgtable.Upsert[person]("people", "id"), 10, dataflow.RetryBadFor(time.Hour, 3))
	run := triggered(t, client)
	require.Equal(t, dataflow.Counters{Read: 3, Written: 1, DeadLettered: 2}, run.Counters)
	held := letters(t, client, true)
	require.Len(t, held, 2)
	require.Equal(t, []int{1, 2}, []int{held[0].Tries, held[0].TriesLeft})
	require.WithinDuration(t, held[0].CreatedAt.Add(time.Hour), *held[0].RetryUntil, time.Second)
	require.Contains(t, held[0].Error, "Key (boss)=(9) is not present")
	why, err := client.Why(t.Context(), "people")
	require.NoError(t, err)
	require.Contains(t, why.String(), "2 of its dead letters are tried again at the end of each run")

	_, err = pool.Exec(t.Context(), `insert into people values (9, null, 'boss')`)
	require.NoError(t, err)
	triggered(t, client)
	require.Equal(t, map[int64]string{2: "b", 3: "c", 9: "boss"}, names(t, pool))
	triggered(t, client)
	held = letters(t, client, true)
	require.Len(t, held, 1)
	require.Equal(t, []int{3, 0}, []int{held[0].Tries, held[0].TriesLeft})
	require.Nil(t, held[0].RetryUntil)
	why, err = client.Why(t.Context(), "people")
	require.NoError(t, err)
	require.NotContains(t, why.String(), "dead letters")

	_, err = pool.Exec(t.Context(), `insert into people values (8, null, 'boss')`)
	require.NoError(t, err)
	triggered(t, client)
	require.NotContains(t, names(t, pool), int64(1), "it is an ordinary dead letter")
	report, err := client.Replay(t.Context(), "people", nil)
	require.NoError(t, err)
	require.Len(t, report.Replayed, 1)
}

// A record that a newer one has replaced is not tried again: in the same batch, in a later
// one, in a later run, and among the dead letters themselves.
func TestRetryBadFor_Superseded(t *testing.T) {
	t.Parallel()
	old := person{1, new(int64(9)), "old"}
	for name, rows := range map[string][]person{
		"batch": {old, {1, nil, "new"}, {2, nil, ""}, {9, nil, ""}},
		"later": {old, {2, nil, ""}, {3, nil, ""}, {4, nil, ""}, {1, nil, "new"}, {9, nil, ""}},
		"held":  {old, {1, new(int64(8)), "new"}, {2, nil, ""}, {8, nil, ""}, {3, nil, ""}, {4, nil, ""}, {9, nil, ""}},
	} {
		for at := range rows {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				pool := people(t)
				target := pgtable.Upsert[person]("people", "id")
				client := retrying(t, pool, rows[:at+1], target, 2, dataflow.RetryBadFor(time.Hour, 9))
				triggered(t, client)
				client = retrying(t, pool, rows, target, 2, dataflow.RetryBadFor(time.Hour, 9))
				triggered(t, client)
				require.Equal(t, "new", names(t, pool)[1])
				for _, l := range letters(t, client, true) {
					require.Contains(t, l.Error, "a record that was read later has written the same row")
					require.Nil(t, l.RetryUntil)
				}
			})
		}
	}
}

// A transform that fails for a while is tried again, too, and a sink elsewhere gets its
// record.
func TestRetryBadFor_Transform(t *testing.T) {
	t.Parallel()
	pool := people(t)
	broken := true
	var got []int64
	sink := dataflow.SinkFunc[person](func(_ context.Context, b dataflow.SinkBatch[person]) error {
		for _, row := range b.Rows {
			got = append(got, row.ID)
		}
		return nil
	})
	transform := dataflow.Map(func(_ context.Context, row person) (person, error) {
		if broken && row.ID == 2 {
			return row, context.DeadlineExceeded
		}
		return row, nil
	})
	flow := dataflow.NewFlow("people", memory.Slice([]person{{ID: 1}, {ID: 2}, {ID: 3}}), transform, dataflow.To[person](sink),
		&dataflow.FlowOptions{OnBadRecord: dataflow.RetryBadFor(time.Hour, 9)})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	triggered(t, client)
	require.Equal(t, []int64{1, 3}, got)
	broken = false
	triggered(t, client)
	require.Equal(t, []int64{1, 3, 2}, got)
	require.Empty(t, letters(t, client, true))
}
