package sqltable_test

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// marked reports whether an error, or one that it wraps, is marked as transient. Only the engine has another way to
// ask.
func marked(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if fmt.Sprintf("%T", err) == fmt.Sprintf("%T", dataflow.Transient(err)) && !dataflow.IsPermanent(err) {
			return true
		}
	}
	return false
}

// A read of a file of SQLite that somebody else has locked waits, as a write does.
func TestSources_Locked(t *testing.T) {
	t.Parallel()
	type row struct{ ID int64 }
	path := dbtest.SQLitePath(t)
	open := func() *sql.DB {
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
	writer, reader := open(), open()
	writer.SetMaxOpenConns(1)
	exec := func(statement string) {
		_, err := writer.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	exec("create table x (id integer primary key)")
	exec("insert into x values (1)")
	exec("begin exclusive")
	source := sqltable.Keyset[row](reader, sqltable.Query{SQL: "select id from x", Key: []string{"id"}})
	reads := map[string]func() error{
		"Keyset": func() error { _, err := read(t, source, nil, -1); return err },
		"Count": func() error {
			_, err := source.(dataflow.Counter[sqltable.Cursor]).Count(t.Context(), dataflow.Request[sqltable.Cursor]{})
			return err
		},
		"Select": func() error {
			for _, err := range sqltable.Select[row](reader, "select id from x").Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
				return err
			}
			return nil
		},
		"Keys": func() error {
			_, _, err := sqltable.Keys(reader, reconcile.Table{Name: "x", Key: []string{"id"}}).Columns(t.Context())
			return err
		},
	}
	for name, read := range reads {
		err := read()
		require.ErrorContains(t, err, "database is locked", name)
		require.True(t, marked(err), "%s: %v", name, err)
	}
	exec("commit")
	for name, read := range reads {
		require.NoError(t, read(), name)
	}
}
