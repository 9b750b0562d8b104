//go:build unix

package mysqltest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// A write has the modes that it needs on each connection, also on one that is newer than the claim, and gives them back.
func TestTo_SQLMode(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int64
		V  string
	}
	targets := map[string]dataflow.FencedSink[row]{}
	db := setup(t, "create table modes (id bigint primary key, v varchar(3))")
	db.SetMaxOpenConns(1)
	targets["Insert"] = claimed(t, sqltable.InsertTo[row](db, "modes"))
	targets["Upsert"] = claimed(t, sqltable.UpsertTo[row](db, "modes", "id"))
	var id int64
	for _, mode := range []string{"", "NO_ENGINE_SUBSTITUTION", "EMPTY_STRING_IS_NULL", "EMPTY_STRING_IS_NULL,STRICT_ALL_TABLES", "NO_ZERO_DATE,EMPTY_STRING_IS_NULL,ANSI_QUOTES"} {
		if _, err := db.ExecContext(t.Context(), "set session sql_mode = '"+mode+"'"); err != nil {
			continue // MySQL has no EMPTY_STRING_IS_NULL
		}
		is := texts(t, db, "select @@session.sql_mode")
		for name, s := range targets {
			id++
			require.ErrorContains(t, s.WriteFenced(t.Context(), batch(1, row{id, "abcd"})), "Data too long for column 'v'", name+mode)
			require.NoError(t, s.WriteFenced(t.Context(), batch(1, row{id, ""})), name+mode)
			require.Equal(t, is, texts(t, db, "select @@session.sql_mode"), name)
		}
	}
	require.Empty(t, texts(t, db, "select id from modes where v is null or v <> ''"))
}

// In a session that takes an empty text for NULL, no row would be found after an empty key.
func TestKeyset_EmptyTextIsNull(t *testing.T) {
	t.Parallel()
	type row struct{ K string }
	c := config(t)
	c.Params["sql_mode"] = "'EMPTY_STRING_IS_NULL'"
	plain := opened(t, config(t))
	if _, err := plain.ExecContext(t.Context(), "set statement sql_mode = 'EMPTY_STRING_IS_NULL' for select 1"); err != nil {
		return // MySQL has no such mode
	}
	_, err := read(t, sqltable.Keyset[row](opened(t, c), sqltable.Query{SQL: "select 'a' as k union select 'b'", Key: []string{"k"}}), nil)
	require.ErrorContains(t, err, `key column "k" is a text, and the session's sql_mode has EMPTY_STRING_IS_NULL`)
	require.True(t, dataflow.IsPermanent(err))
}
