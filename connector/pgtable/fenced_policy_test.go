package pgtable_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// entry is a record of which a table refuses some.
type entry struct {
	ID     int64
	Parent int64
	Text   string
}

// entries are n records. Those of bad are refused by every kind of constraint of the test.
func entries(n int, bad ...int64) []entry {
	rows := make([]entry, n)
	for i := range rows {
		rows[i] = entry{ID: int64(i + 1), Parent: int64(i + 1), Text: fmt.Sprint("text ", i+1)}
	}
	for _, id := range bad {
		rows[id-1].Parent, rows[id-1].Text = -1, "bad"
	}
	return rows
}

// pages yields records in pages: a read can resume after a page only, and begins a batch
// there.
type pages[T any] struct {
	rows []T
	size int
}

func (p pages[T]) Read(_ context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[T, int], error] {
	return func(yield func(dataflow.Item[T, int], error) bool) {
		for i := r.From; i < len(p.rows); i++ {
			end := (i+1)%p.size == 0 || i+1 == len(p.rows)
			if !yield(dataflow.Item[T, int]{Value: p.rows[i], Key: fmt.Sprint(i + 1), Cursor: i + 1, Resume: end}, nil) {
				return
			}
		}
	}
}

// far are the targets in another database.
func far(pool *pgxpool.Pool) map[string]dataflow.Target[entry] {
	const add = `insert into entries values ($1, $2, $3)`
	return map[string]dataflow.Target[entry]{
		"InsertTo": pgtable.InsertTo[entry](pool, "entries"),
		"UpsertTo": pgtable.UpsertTo[entry](pool, "entries", "id"),
		"BatchTo": pgtable.BatchTo(pool, func(b *pgx.Batch, e entry) error {
			b.Queue(add, e.ID, e.Parent, e.Text)
			return nil
		}),
		"FuncTo": pgtable.FuncTo(pool, func(ctx context.Context, tx pgx.Tx, rows []entry) error {
			for _, e := range rows {
				if _, err := tx.Exec(ctx, add, e.ID, e.Parent, e.Text); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// A target in another database finds each record that it refuses, whatever refuses it and
// whatever the client's own database is: the policy decides about these, and the others are
// written. The source can resume only at the ends of its pages.
func TestTargetsTo_Policies(t *testing.T) {
	t.Parallel()
	for constraint, statements := range map[string][]string{
		"check":       {`create table entries (id bigint primary key, parent bigint, text text check (text <> 'bad'))`},
		"foreign key": {`create table parent (id bigint primary key)`, `insert into parent select generate_series(1, 1000)`, `create table entries (id bigint primary key, parent bigint references parent, text text)`},
		"at the commit": {
			`create table parent (id bigint primary key)`, `insert into parent select generate_series(1, 1000)`,
			`create table entries (id bigint primary key, parent bigint references parent deferrable initially deferred, text text)`,
		},
		"trigger at the commit": {
			`create table entries (id bigint primary key, parent bigint, text text)`,
			`create function refuse() returns trigger language plpgsql as $$ begin if new.parent < 0 then raise 'no parent'; end if; return null; end $$`,
			`create constraint trigger refuse after insert or update on entries deferrable initially deferred for each row execute function refuse()`,
		},
		"partition": {`create table entries (id bigint, parent bigint, text text, primary key (id, parent)) partition by range (parent)`, `create table entries_1 partition of entries for values from (0) to (maxvalue)`, `create unique index on entries_1 (id)`},
		"unique":    {`create table entries (id bigint primary key, parent bigint unique, text text)`, `insert into entries values (0, -1, 'theirs')`},
	} {
		for _, size := range []int{30, 300} { // by arrays and by COPY
			for name := range far(nil) {
				if constraint == "partition" && name == "UpsertTo" {
					continue // "on conflict" needs a unique index of the whole table
				}
				of := fmt.Sprint(constraint, size, name)
				if !dbtest.Part(of, 3) {
					continue
				}
				t.Run(of, func(t *testing.T) {
					t.Parallel()
					pool := setup(t, statements...)
					bad := []int64{3, 4, int64(size), int64(size) + 7}
					source := pages[entry]{rows: entries(2*size, bad...), size: size}
					flow := func(policy dataflow.Policy) *dataflow.Flow {
						return dataflow.NewFlow("far", source, dataflow.Identity[entry](), far(pool)[name],
							&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: size}, OnBadRecord: policy, MaxAttempts: 1})
					}
					driver := dataflowpgx.New(pool)
					if size == 30 {
						driver = dataflowsqlite.New(dbtest.SQLite(t))
					}
					for _, policy := range []dataflow.Policy{nil, dataflow.FailFast} {
						_, err := runOn(t, driver, flow(policy))
						var record *dataflow.RecordError
						require.ErrorAs(t, err, &record)
						require.Equal(t, "3", record.Key, "the first that is refused")
					}
					_, err := runOn(t, driver, flow(dataflow.DeadLetterUpTo(1)))
					require.ErrorContains(t, err, "write record 4")
					run, err := runOn(t, driver, flow(dataflow.DeadLetterUpTo(9)))
					require.NoError(t, err)
					require.Equal(t, dataflow.Counters{Read: 2 * int64(size), Written: 2*int64(size) - 4, DeadLettered: 4}, run.Counters)
					require.Equal(t, []string{fmt.Sprint(2*size - 4)}, texts(t, pool, `select count(*)::text from entries where id > 0`))
					require.Empty(t, texts(t, pool, `select id::text from entries where text = 'bad'`))
				})
			}
		}
	}
}

// runOn runs a flow on any database, with a timeout.
func runOn(t *testing.T, driver dataflow.Driver, flow *dataflow.Flow) (*dataflow.Run, error) {
	t.Helper()
	client, err := dataflow.NewClient(driver, &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, client.Migrate(ctx))
	require.NoError(t, client.Register(ctx))
	return client.Trigger(ctx, flow.Name, nil)
}

// A batch that takes too long is written in parts, which take less. A record that takes too
// long alone is no bad record.
func TestInsertTo_TooMuch(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]string{"": "", "or exists (select from new where n = 3)": "write records row 3 to row 3"} {
		pool := setup(t, `create table numbers (n bigint)`,
			`create function slow() returns trigger language plpgsql as $$ begin if (select count(*) from new) > 9 `+more+` then perform pg_sleep(60); end if; return null; end $$`,
			`create trigger slow after insert on numbers referencing new table as new for each statement execute function slow()`)
		config := pool.Config()
		config.ConnConfig.RuntimeParams["statement_timeout"] = "300"
		limited, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(limited.Close)
		run, err := trigger(t, pool, pgtable.InsertTo[number](limited, "numbers"), dataflow.SkipUpTo(100))
		if want != "" {
			require.ErrorContains(t, err, want)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 100, Written: 100}, run.Counters)
	}
}
