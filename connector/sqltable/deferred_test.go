package sqltable_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

type kid struct {
	ID     int64
	Parent int64
}

type parent struct {
	ID   int64
	Code int64
}

// A foreign key that SQLite checks at the commit finds its record, whatever writes the rows:
// the policy decides about it, and the others are written. Orphans that were there before
// blame nobody.
func TestFlow_DeferredForeignKeys(t *testing.T) {
	t.Parallel()
	const add = `insert into child (id, parent) values (?, ?)`
	inTx := func(statement string) dataflow.Target[kid] {
		return dataflow.ToTx(dataflow.TxSinkFunc[kid](func(ctx context.Context, rows []kid) error {
			tx, ok := dataflowsqlite.TxFrom(ctx)
			if !ok {
				return errors.New("there is no transaction")
			}
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
			for _, k := range rows {
				if _, err := tx.ExecContext(ctx, add, k.ID, k.Parent); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	const initially = `create table child (id integer primary key, parent integer references parent (id) deferrable initially deferred)`
	for name, c := range map[string]struct {
		schema []string
		target dataflow.Target[kid]
	}{
		"Insert":                   {[]string{initially}, sqltable.Insert[kid]("child")},
		"Upsert":                   {[]string{initially}, sqltable.Upsert[kid]("child", "id")},
		"own statements":           {[]string{initially}, inTx("select 1")},
		"pragma":                   {[]string{`create table child (id integer primary key, parent integer references parent (id))`}, inTx("pragma defer_foreign_keys = on")},
		"trigger on another table": {[]string{`create table child (id integer primary key, parent integer)`, `create table toy (parent integer references parent (id) deferrable initially deferred)`, `create trigger toys after insert on child begin insert into toy values (new.parent); end`}, sqltable.Insert[kid]("child")},
		"trigger, and upsert":      {[]string{`create table child (id integer primary key, parent integer)`, `create table toy (parent integer references parent (id) deferrable initially deferred)`, `create trigger toys after insert on child begin insert into toy values (new.parent); end`}, sqltable.Upsert[kid]("child", "id")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows := make([]kid, 100)
			for i := range rows {
				rows[i] = kid{ID: int64(i + 1), Parent: int64(i%2 + 1)}
			}
			rows[30].Parent, rows[57].Parent, rows[58].Parent = 13, 13, 14
			db := fileDB(t)
			run := func(statements ...string) {
				for _, statement := range statements {
					_, err := db.ExecContext(t.Context(), statement)
					require.NoError(t, err, statement)
				}
			}
			run(`create table parent (id integer primary key)`, `insert into parent values (1), (2)`,
				`create table old (parent integer references parent (id))`, `pragma foreign_keys = off`, `insert into old values (99)`, `pragma foreign_keys = on`)
			run(c.schema...)
			work := func(policy dataflow.Policy) (*dataflow.Run, error) {
				return workOn(t, db, memory.Slice(rows), c.target, policy)
			}
			for _, policy := range []dataflow.Policy{nil, dataflow.FailFast} {
				_, err := work(policy)
				var bad *dataflow.RecordError
				require.ErrorAs(t, err, &bad)
				require.Equal(t, "row 31", bad.Key)
			}
			got, err := work(dataflow.DeadLetterUpTo(3))
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 100, Written: 97, DeadLettered: 3}, got.Counters)
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), `select count(*) from child where id not in (31, 58, 59)`).Scan(&n))
			require.Equal(t, 97, n)
		})
	}
}

// A row that others refer to by a deferred key cannot lose the value that they refer to.
func TestUpsert_DeferredReferences(t *testing.T) {
	t.Parallel()
	db := fileDB(t)
	for _, statement := range []string{
		`create table parent (id integer primary key, code integer unique)`, `create table child (code integer references parent (code) deferrable initially deferred)`,
		`insert into parent values (1, 1), (2, 2), (3, 3)`, `insert into child values (2)`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	run, err := workOn(t, db, memory.Slice([]parent{{1, 10}, {2, 20}, {3, 30}}), sqltable.Upsert[parent]("parent", "id"), dataflow.SkipUpTo(1))
	require.NoError(t, err)
	require.EqualValues(t, 1, run.Counters.Dropped)
	var codes string
	require.NoError(t, db.QueryRowContext(t.Context(), `select group_concat(code) from parent order by id`).Scan(&codes))
	require.Equal(t, "10,2,30", codes)
}

func fileDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "flow.db")+"?_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func workOn[T any](t *testing.T, db *sql.DB, source dataflow.Source[T, memory.Cursor], target dataflow.Target[T], policy dataflow.Policy) (*dataflow.Run, error) {
	t.Helper()
	flow := dataflow.NewFlow("f", source, dataflow.Identity[T](), target, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}, OnBadRecord: policy, MaxAttempts: 1})
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	run, err := client.Trigger(t.Context(), "f", nil)
	if err != nil {
		err = fmt.Errorf("work: %w", err)
	}
	return run, err
}
