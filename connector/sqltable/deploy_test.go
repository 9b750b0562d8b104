package sqltable_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// deploys are what a deploy breaks for a while, and how it ends.
func deploys() map[string]struct{ breaks, mends, says string } {
	return map[string]struct{ breaks, mends, says string }{
		"table missing":  {"alter table numbers rename to numbers_old", "alter table numbers_old rename to numbers", "does not exist|no such table"},
		"column missing": {"alter table numbers rename n to m", "alter table numbers rename m to n", "has no column|no such column|fields without a column: n|key column"},
		"index missing":  {"drop index i", "create unique index i on numbers (n)", "no unique index"},
	}
}

// A table, a column or an index that a deploy takes away for a while ends an attempt, at the
// first batch and in the middle. It blames no record, and fails no run for good.
func TestTargets_Deploys(t *testing.T) {
	t.Parallel()
	for name, deploy := range deploys() {
		for way, target := range map[string]func(db *sql.DB) dataflow.Target[number]{
			"Upsert":   func(*sql.DB) dataflow.Target[number] { return sqltable.Upsert[number]("numbers", "n") },
			"UpsertTo": func(db *sql.DB) dataflow.Target[number] { return sqltable.UpsertTo[number](db, "numbers", "n") },
		} {
			for _, at := range []int64{0, 150} {
				t.Run(name+"/"+way, func(t *testing.T) {
					t.Parallel()
					db := setup(t, `create table numbers (n bigint)`, `create unique index i on numbers (n)`)
					main := db
					if way == "UpsertTo" {
						main = setup(t)
					}
					do := func(sql string) {
						_, err := db.ExecContext(t.Context(), sql)
						require.NoError(t, err, sql)
					}
					rows := make([]number, 300)
					for i := range rows {
						rows[i].N = int64(i + 1)
					}
					broken := at == 0
					if broken {
						do(deploy.breaks)
					}
					breaks := dataflow.Map(func(_ context.Context, n number) (number, error) {
						if n.N == at && !broken {
							broken = true
							do(deploy.breaks)
						}
						return n, nil
					})
					flow := dataflow.NewFlow("f", memory.Slice(rows), breaks, target(db), &dataflow.FlowOptions{
						Runtime: dataflow.Heartbeat{BatchSize: 10}, OnBadRecord: dataflow.SkipUpTo(1000), MaxAttempts: 1,
					})
					client, err := dataflow.NewClient(dataflowsqlite.New(main), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
					require.NoError(t, err)
					require.NoError(t, client.Migrate(t.Context()))
					require.NoError(t, client.Register(t.Context()))
					_, err = client.Trigger(t.Context(), "f", nil)
					require.Error(t, err)
					require.Regexp(t, deploy.says, err.Error())
					require.False(t, dataflow.IsPermanent(err), "%v", err)
					do(deploy.mends)
					run, err := client.Trigger(t.Context(), "f", nil)
					require.NoError(t, err)
					require.Zero(t, run.Counters.Dropped)
					var n, distinct int
					require.NoError(t, db.QueryRowContext(t.Context(), "select count(*), count(distinct n) from numbers").Scan(&n, &distinct))
					require.Equal(t, []int{300, 300}, []int{n, distinct})
				})
			}
		}
	}
}

// A source whose table or column a deploy takes away for a while ends an attempt, too.
func TestSources_Deploys(t *testing.T) {
	t.Parallel()
	for name, deploy := range deploys() {
		if name == "index missing" {
			continue
		}
		for _, query := range []string{"select n from numbers", "select * from numbers"} {
			db := setup(t, `create table numbers (n bigint)`, `create unique index i on numbers (n)`, `insert into numbers values (1), (2)`)
			db.SetMaxOpenConns(2)
			read := func() error {
				var err error
				for _, err = range sqltable.Keyset[number](db, sqltable.Query{SQL: query, Key: []string{"n"}}).Read(t.Context(), dataflow.Request[sqltable.Cursor]{}) {
				}
				for _, selectErr := range sqltable.Select[number](db, query).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
					require.Equal(t, err == nil, selectErr == nil, "%v", selectErr)
					require.False(t, dataflow.IsPermanent(selectErr), "%v", selectErr)
				}
				return err
			}
			require.NoError(t, read(), name)
			_, err := db.ExecContext(t.Context(), deploy.breaks)
			require.NoError(t, err)
			err = read()
			require.Error(t, err)
			require.Regexp(t, deploy.says, err.Error())
			require.False(t, dataflow.IsPermanent(err), "%v", err)
			_, err = db.ExecContext(t.Context(), deploy.mends)
			require.NoError(t, err)
			require.NoError(t, read(), name)
		}
	}
}
