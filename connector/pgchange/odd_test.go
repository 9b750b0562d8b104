package pgchange_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// copies starts a client with a flow that copies a table, and returns a function that waits until
// the copy is equal.
func copies[T any](t *testing.T, from, to *pgxpool.Pool, name, key, columns string) (same func()) {
	t.Helper()
	flow := dataflow.NewFlow(name, pgchange.Stream[T](from, pgchange.Options{Publication: name, Slot: name}), dataflow.Identity[change[T]](), pgtable.Apply[T](name, key),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}, MaxAttempts: 1})
	var log lines
	client, err := dataflow.NewClient(dataflowpgx.New(to), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: log.logger()})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
	_, err = client.Trigger(t.Context(), name, nil)
	require.NoError(t, err)
	query := "select " + columns + " from " + name + " order by 1"
	return func() {
		t.Helper()
		if !assert.Eventually(t, func() bool { return slices.Equal(rows(t, from, query), rows(t, to, query)) }, 20*time.Second, poll) {
			t.Log(log.text.String())
			require.Equal(t, rows(t, from, query), rows(t, to, query))
		}
	}
}

// Keys that are equal by their type, and not as texts.
func TestApply_OddKeys(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	t.Run("numeric", func(t *testing.T) {
		t.Parallel()
		type row struct {
			ID  string
			Big *string
		}
		const table = `create table priced (id numeric primary key, big text); alter table priced alter big set storage external`
		from := s.create("priced", table, `create publication priced for table priced`, `insert into priced values (1.0, repeat('x', 3000)), (2.00, 'b'), (3, 'c')`)
		to := s.create("priced_copy", table)
		same := copies[row](t, from, to, "priced", "id", "id::text, md5(big)")
		same()
		exec(t, from, `begin; update priced set id = 1.00 where id = 1; update priced set id = 1.000 where id = 1; delete from priced where id = 2; insert into priced values (2.0, 'again'); update priced set big = 'c2' where id = 3.00; commit`)
		same()
		exec(t, from, `begin; delete from priced where id = 2; insert into priced values (2, 'B'); update priced set id = 2.00 where id = 2; commit`)
		same()
	})
	t.Run("citext", func(t *testing.T) {
		t.Parallel()
		type row struct {
			ID  string
			Big *string
		}
		const table = `create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); create table mails (id text collate ci primary key, big text); alter table mails alter big set storage external`
		from := s.create("mails", table, `create publication mails for table mails`, `insert into mails values ('a', repeat('x', 3000)), ('B', 'b'), ('c', 'c')`)
		to := s.create("mails_copy", table)
		same := copies[row](t, from, to, "mails", "id", "id::text, md5(big)")
		same()
		exec(t, from, `begin; update mails set id = 'A' where id = 'a'; delete from mails where id = 'b'; insert into mails values ('b', 'again'); update mails set big = 'c2' where id = 'C'; commit`)
		same()
		exec(t, from, `begin; insert into mails values ('d', '1'); update mails set id = 'D' where id = 'd'; delete from mails where id = 'd'; insert into mails values ('d', '2'); commit`)
		same()
	})
}

// Two tables of one name are told apart by their schemas. A transaction that is prepared comes once
// it is committed, and one that is rolled back does not. A truncate with cascade comes for each
// table that is published.
func TestStream_OddTransactions(t *testing.T) {
	t.Parallel()
	s := startServer(t, "max_prepared_transactions = 2")
	const table = ` (id bigint primary key, name text not null)`
	pool := s.create("source", `create schema a`, `create schema b`, `create table a.t`+table, `create table b.t`+table, `create table a.child (id bigint primary key references a.t, name text)`,
		`create table a.hidden (id bigint primary key references a.t)`, `insert into a.t values (1, 'a')`, `insert into b.t values (1, 'b')`, `create publication p for table a.t, b.t, a.child`)
	f := follow(t, pgchange.Stream[named](pool, pgchange.Options{Publication: "p", Slot: "s"}), nil)
	said := func(n int) (all []string) {
		for _, it := range f.next(n) {
			all = append(all, fmt.Sprint(it.Value.Table, " ", it.Value.Op, " ", it.Value.New.Name))
		}
		return all
	}
	require.Equal(t, []string{"a.t insert a", "b.t insert b"}, said(2))
	f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 3 })
	exec(t, pool, `begin; insert into a.t values (2, 'prepared'); prepare transaction 'two'`, `begin; insert into b.t values (2, 'gone'); prepare transaction 'gone'`,
		`insert into b.t values (3, 'between')`, `rollback prepared 'gone'`, `commit prepared 'two'`, `truncate a.t cascade`, `insert into a.t values (1, 'after')`)
	require.Equal(t, []string{"b.t insert between", "a.t insert prepared", "a.t truncate ", "a.child truncate ", "a.t insert after"}, said(5))
}
