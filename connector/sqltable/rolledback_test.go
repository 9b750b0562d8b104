package sqltable_test

import (
	"database/sql"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// A trigger, or "on conflict rollback", may end the transaction of a batch. Nothing is written after that.
func TestTo_RolledBack(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int64
		V  string
	}
	for name, test := range map[string]struct {
		target func(db *sql.DB) dataflow.Target[row]
		client func(t *testing.T, db *sql.DB) dataflow.Driver
		left   int // of 18, which may be written if the batch can be divided
	}{
		"InsertTo/Postgres": {
			func(db *sql.DB) dataflow.Target[row] { return sqltable.InsertTo[row](db, "t") },
			func(t *testing.T, _ *sql.DB) dataflow.Driver { t.Helper(); return dataflowpgx.New(dbtest.Postgres(t)) }, 0,
		},
		"InsertTo/SQLite": {
			func(db *sql.DB) dataflow.Target[row] { return sqltable.InsertTo[row](db, "t") },
			func(t *testing.T, _ *sql.DB) dataflow.Driver { t.Helper(); return dataflowsqlite.New(dbtest.SQLite(t)) }, 18,
		},
		"Insert": {
			func(*sql.DB) dataflow.Target[row] { return sqltable.Insert[row]("t") },
			func(_ *testing.T, db *sql.DB) dataflow.Driver { return dataflowsqlite.New(db) }, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := setup(t, "create table t (id integer, v text) strict",
				"create trigger odd before insert on t when new.v = '2' begin select raise(rollback, 'out of paper'); end")
			rows := make([]row, 20)
			for i := range rows {
				if rows[i] = (row{int64(i), "1"}); i%10 == 7 {
					rows[i].V = "2"
				}
			}
			flow := dataflow.NewFlow("f", memory.Slice(rows), dataflow.Identity[row](), test.target(db),
				&dataflow.FlowOptions{MaxAttempts: 1, OnBadRecord: dataflow.DeadLetterUpTo(3)})
			client, err := dataflow.NewClient(test.client(t, db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, client.Migrate(t.Context()))
			require.NoError(t, client.Register(t.Context()))
			_, err = client.Trigger(t.Context(), "f", nil)
			if test.left == 0 {
				require.ErrorContains(t, err, "out of paper")
				require.ErrorContains(t, err, "let the table use abort in place of rollback")
			} else {
				require.NoError(t, err)
			}
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), "select count(*) from t").Scan(&n))
			require.Equal(t, test.left, n)
		})
	}
}
