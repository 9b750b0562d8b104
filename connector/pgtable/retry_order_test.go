package pgtable_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// A batch that is written ahead sees which records of the batch before are held.
func TestRetryBadFor_WriteAhead(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table bosses (id bigint primary key)`, `create table people (id bigint primary key, boss bigint references bosses, name text not null)`)
	rows := []person{{4, nil, ""}, {5, nil, ""}, {1, new(int64(9)), "old"}, {2, nil, ""}, {1, nil, "new"}, {3, nil, ""}}
	client := retrying(t, pool, rows, pgtable.Upsert[person]("people", "id"), 2, dataflow.RetryBadFor(time.Hour, 9))
	for _, sql := range []string{
		`create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return null; end $$`,
		`create constraint trigger slow after insert on dataflow_dead_letter deferrable initially deferred for each row execute function slow()`,
	} {
		_, err := pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	triggered(t, client)
	require.Equal(t, "new", names(t, pool)[1])
	_, err := pool.Exec(t.Context(), `insert into bosses values (9)`)
	require.NoError(t, err)
	triggered(t, client)
	require.Equal(t, "new", names(t, pool)[1], "an older record has replaced a newer one")
}

// flaky fails before a row, for some reads.
type flaky struct {
	rows  []person
	after int
	fails int
	err   func() error
}

func (f *flaky) Read(_ context.Context, req dataflow.Request[int]) iter.Seq2[dataflow.Item[person, int], error] {
	return func(yield func(dataflow.Item[person, int], error) bool) {
		for i := req.From; i < len(f.rows); i++ {
			if i == f.after && f.fails > 0 {
				f.fails--
				yield(dataflow.Item[person, int]{}, f.err())
				return
			}
			if !yield(dataflow.Item[person, int]{Value: f.rows[i], Cursor: i + 1, Resume: true}, nil) {
				return
			}
		}
	}
}

// Trouble in the middle of a run spends no tries.
func TestRetryBadFor_Trouble(t *testing.T) {
	t.Parallel()
	pool := people(t)
	src := &flaky{rows: []person{{1, new(int64(9)), "child"}, {2, nil, ""}, {9, nil, "boss"}}, after: 2, fails: 1, err: func() error { return dataflow.Transient(errors.New("blip")) }}
	flow := dataflow.NewFlow("people", src, dataflow.Identity[person](), pgtable.Upsert[person]("people", "id"),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}, OnBadRecord: dataflow.RetryBadFor(time.Hour, 1)})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	triggered(t, client)
	require.Equal(t, "child", names(t, pool)[1])
}

// A record whose transform fails has no key that is known. So it never replaces a newer one.
func TestRetryBadFor_TransformOfKeyed(t *testing.T) {
	t.Parallel()
	pool := people(t)
	broken := true
	tr := dataflow.Map(func(_ context.Context, row person) (person, error) {
		if broken && row.Name == "old" {
			return row, errors.New("broken")
		}
		return row, nil
	})
	flow := dataflow.NewFlow("people", memory.Slice([]person{{1, nil, "old"}, {2, nil, ""}, {1, nil, "new"}}), tr, pgtable.Upsert[person]("people", "id"),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}, OnBadRecord: dataflow.RetryBadFor(time.Hour, 5)})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	triggered(t, client)
	broken = false
	triggered(t, client)
	require.Equal(t, "new", names(t, pool)[1])
}

// A deadlock while a dead letter is tried again spends no try.
func TestRetryBadFor_Conflict(t *testing.T) {
	t.Parallel()
	pool := people(t)
	rows := []person{{1, new(int64(9)), "child"}, {2, nil, ""}, {9, nil, "boss"}}
	n := 0
	write := func(b *pgx.Batch, row person) error {
		if row.ID == 1 {
			if n++; n == 3 { // the first try after the run's end
				b.Queue(`do $$ begin raise exception 'deadlock' using errcode = '40P01'; end $$`)
				return nil
			}
		}
		b.Queue(`insert into people values ($1, $2, $3)`, row.ID, row.Boss, row.Name)
		return nil
	}
	client := retrying(t, pool, rows, pgtable.Batch(write), 2, dataflow.RetryBadFor(time.Hour, 1))
	triggered(t, client)
	require.Greater(t, n, 3)
	require.Equal(t, "child", names(t, pool)[1])
}
