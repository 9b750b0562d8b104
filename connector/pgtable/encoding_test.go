package pgtable_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// word is a record of texts.
type word struct {
	ID    int64
	Text  string
	Other []*string
}

// inEncoding makes a database of an encoding, and returns its URL.
func inEncoding(t *testing.T, encoding string) string {
	t.Helper()
	u, err := url.Parse(dbtest.PostgresURL(t))
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), u.String())
	require.NoError(t, err)
	ctx := context.WithoutCancel(t.Context())
	name := u.Path[1:] + "_encoded"
	t.Cleanup(func() {
		_, err := conn.Exec(ctx, `drop database `+pgx.Identifier{name}.Sanitize()+` with (force)`)
		require.NoError(t, err)
		require.NoError(t, conn.Close(ctx))
	})
	_, err = conn.Exec(ctx, `create database `+pgx.Identifier{name}.Sanitize()+` encoding '`+encoding+`' locale 'C' template template0`)
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}

var wordTables = []string{`create table words (id bigint primary key, text text not null, other text[])`, `create table copied (like words including all)`}

// wordTargets are the ways to write words.
func wordTargets(pool *pgxpool.Pool) map[string]dataflow.Target[word] {
	queue := func(b *pgx.Batch, w word) error {
		b.Queue(`insert into copied values ($1, $2, $3)`, w.ID, w.Text, w.Other)
		return nil
	}
	return map[string]dataflow.Target[word]{
		"insert": pgtable.Insert[word]("copied"), "upsert": pgtable.Upsert[word]("copied", "id"),
		"insert_to": pgtable.InsertTo[word](pool, "copied"), "upsert_to": pgtable.UpsertTo[word](pool, "copied", "id"),
		"batch": pgtable.Batch(queue), "batch_to": pgtable.BatchTo(pool, queue),
	}
}

// In a database of another encoding, a session has that encoding unless it is told otherwise. Then
// Postgres takes a text of Go, which is UTF-8, for other characters.
func TestEncoding(t *testing.T) {
	t.Parallel()
	const want = `the session's client_encoding is LATIN1, in which Postgres would read and write other characters than the records have: add client_encoding=UTF8 to the pool's connection string`
	u := inEncoding(t, "LATIN1")
	pool := open(t, u, pgx.QueryExecModeCacheStatement, nil, append(wordTables, `insert into words select n, convert_from('\xc3a9', 'UTF8') from generate_series(1, 3) n`)...)
	key := pgtable.Query{SQL: `select id, text, other from words`, Key: []string{"id"}}
	_, err := read(t, pgtable.Keyset[word](pool, key), nil, -1)
	require.ErrorContains(t, err, want)
	require.True(t, dataflow.IsPermanent(err))
	for _, err := range pgtable.Select[word](pool, key.SQL).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		require.ErrorContains(t, err, want)
	}
	_, _, err = pgtable.Keys(pool, reconcile.Table{Name: "words", Key: []string{"text"}}).Columns(t.Context())
	require.ErrorContains(t, err, want)
	for name, target := range wordTargets(pool) {
		_, err := triggerRows(t, pool, name, []word{{ID: 1, Text: "é"}}, target, nil)
		require.ErrorContains(t, err, want, name)
	}

	pool = open(t, u+"&client_encoding=UTF8", pgx.QueryExecModeCacheStatement, nil)
	words := readAll(t, pgtable.Keyset[word](pool, key))
	require.Equal(t, "é", words[2].Value.Text)
	for _, n := range []int{3, 100} { // by a statement, and by COPY
		rows := make([]word, n)
		for i := range rows {
			rows[i] = word{ID: int64(i), Text: "é"}
		}
		for name, target := range wordTargets(pool) {
			_, err := triggerRows(t, pool, fmt.Sprint(name, n), rows, target, nil)
			require.NoError(t, err, name)
			require.Equal(t, []string{fmt.Sprint(n, " 1")}, rowsOf(t, pool, `select count(*) || ' ' || max(length(text)) from copied`), name)
			_, err = pool.Exec(t.Context(), `truncate copied`)
			require.NoError(t, err)
		}
	}
}

// Texts of UTF-8 pass unchanged where nothing is converted, and where UTF8 has its old name, which Postgres keeps as it is.
func TestEncoding_None(t *testing.T) {
	t.Parallel()
	for client, encoding := range map[string]string{"SQL_ASCII": "SQL_ASCII", "sql_ascii": "UTF8", "UNICODE": "UTF8", "unicode": "LATIN1"} {
		pool := open(t, inEncoding(t, encoding)+"&client_encoding="+client, pgx.QueryExecModeCacheStatement, nil, append(wordTables, `insert into words values (1, 'é')`)...)
		flow := dataflow.NewFlow("words", pgtable.Keyset[word](pool, pgtable.Query{SQL: `select id, text, other from words`, Key: []string{"id"}}), dataflow.Identity[word](), pgtable.Upsert[word]("copied", "id"), nil)
		_, err := triggerFlow(t, pool, flow)
		require.NoError(t, err)
		require.Equal(t, []string{"1 é"}, rowsOf(t, pool, `select id || ' ' || text from copied`))
	}
}

// With array_nulls off, Postgres takes the NULL of an array that is sent as text for the text NULL.
func TestArrayNulls(t *testing.T) {
	t.Parallel()
	pool := setupMode(t, pgx.QueryExecModeCacheStatement, map[string]string{"array_nulls": "off"}, wordTables...)
	for name, target := range wordTargets(pool) {
		if name == "batch" || name == "batch_to" {
			continue // pgx sends their arrays in binary
		}
		flow := dataflow.NewFlow(name, memory.Slice([]word{{ID: 1, Other: []*string{nil}}}), dataflow.Identity[word](), target, &dataflow.FlowOptions{MaxAttempts: 1})
		_, err := triggerFlow(t, pool, flow)
		require.ErrorContains(t, err, "array_nulls is off in this session, in which a NULL in an array would become the text NULL: set array_nulls to on for this role", name)
	}
}
