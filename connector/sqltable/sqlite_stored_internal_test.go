package sqltable

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Only what a driver may change is selected as +column: SQLite would sort the parts of a "union all" for each page.
func TestStoredList(t *testing.T) {
	t.Parallel()
	db := dbtest.SQLite(t)
	_, err := db.ExecContext(t.Context(), "create table t (id integer primary key, name text, at datetime, on_ boolean)")
	require.NoError(t, err)
	rows, err := db.QueryContext(t.Context(), "select * from t")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	columns, err := rows.ColumnTypes()
	require.NoError(t, err)
	require.NoError(t, rows.Err())
	var id int
	var name, at string
	var on bool
	require.Equal(t, []string{"q.id", "q.name", `+q.at as "at"`, "q.on_"},
		storedList(columns, []string{"id", "name", "at", "on_"}, []string{"q.id", "q.name", "q.at", "q.on_"}, []any{&id, &name, &at, &on}))
}
