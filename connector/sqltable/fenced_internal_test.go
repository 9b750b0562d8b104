package sqltable

import (
	"context"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// For a table of an attached database, the checkpoint is in that database too.
func TestUpsertTo_Attached(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := dbtest.SQLite(t)
	for _, statement := range []string{
		`attach '` + filepath.ToSlash(dbtest.SQLitePath(t)) + `' as "the other"`,
		`create table "the other".facts (id integer primary key, name text, cents int)`,
		CheckpointTable, // the table of other flows
	} {
		_, err := db.ExecContext(ctx, statement)
		require.NoError(t, err, statement)
	}
	s := &fencedSink[fact]{sink: newSink[fact]("the other.facts", true, []string{"id"}), db: db}
	_, err := s.Claim(ctx, "far", 1)
	require.NoError(t, err)
	for _, name := range []string{"one", "uno"} {
		require.NoError(t, s.WriteFenced(ctx, dataflow.FencedBatch[fact]{Flow: "far", Fence: 1, State: []byte(`{"at": 1.0}`), Rows: []fact{{ID: 1, Name: name}}}))
	}
	require.Equal(t, []string{"1 uno"}, query(t, db, `select id || ' ' || name from "the other".facts`))
	require.Equal(t, []string{`far 1 {"at": 1.0}`}, query(t, db, `select concat_ws(' ', flow, fence, state) from "the other".dataflow_sink_checkpoint`))
	require.Empty(t, query(t, db, `select flow from main.dataflow_sink_checkpoint`))
}

// marked reports whether an error is marked as transient. Only the engine has
// another way to ask.
func marked(err error) bool {
	return fmt.Sprintf("%T", err) == fmt.Sprintf("%T", dataflow.Transient(err))
}

// Another writer that does not finish causes a transient error, so that the write
// is tried again. A broken constraint does not.
func TestInsertTo_OtherWriter(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), dbtest.SQLitePath(t)
	db, other := dbtest.OpenSQLite(t, path), dbtest.OpenSQLite(t, path)
	_, err := db.ExecContext(ctx, createFacts)
	require.NoError(t, err)
	_, err = db.ExecContext(ctx, `pragma busy_timeout = 1`)
	require.NoError(t, err)
	s := &fencedSink[fact]{sink: newSink[fact]("facts", false, nil), db: db}
	_, err = s.Claim(ctx, "far", 1)
	require.NoError(t, err)
	write := func() error {
		return s.WriteFenced(ctx, dataflow.FencedBatch[fact]{Flow: "far", Fence: 1, State: []byte(`{}`), Rows: []fact{{ID: 1, Name: "one"}}})
	}
	_, err = other.ExecContext(ctx, `begin immediate`)
	require.NoError(t, err)
	err = write()
	require.ErrorContains(t, err, `checkpoint of flow "far" for table facts: `)
	require.True(t, marked(err), err)
	_, err = (&fencedSink[fact]{sink: newSink[fact]("facts", false, nil), db: db}).Claim(ctx, "far", 2)
	require.True(t, marked(err), err)
	_, err = other.ExecContext(ctx, `rollback`)
	require.NoError(t, err)
	require.NoError(t, write())
	err = write()
	require.ErrorContains(t, err, "table facts: ")
	require.False(t, marked(err), err)
	require.Equal(t, []string{"1 one null"}, query(t, db, factsQuery))
}

// A driver that has closed a connection because the context ended, and tells that alone, ends a
// write with the context's error.
func TestPassing_ContextEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	require.True(t, marked(passing(ctx, driver.ErrBadConn)))
	cancel()
	err := passing(ctx, driver.ErrBadConn)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, driver.ErrBadConn)
	require.False(t, marked(err))
	require.Equal(t, context.Canceled, passing(ctx, context.Canceled), "it is told once")
	require.NoError(t, passing(ctx, nil))
}

// Whoever is about to look what the database has is in nobody's way, even if it waits for a connection.
func TestFenced_LooksWithoutALock(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db := setup(t, createFacts)
	d := &database{DB: db}
	s := newOtherSink(db, newSink[fact]("facts", true, []string{"id"})).fencedSink
	tx, err := db.BeginTx(ctx, nil) // which has the only connection
	require.NoError(t, err)
	ended := make(chan error, 2)
	go func() { _, err := d.isMySQL(ctx); ended <- err }()
	go func() { _, err := s.Claim(ctx, "f", 1); ended <- err }()
	require.Eventually(t, func() bool { return db.Stats().WaitCount >= 2 }, time.Minute, time.Millisecond)
	mysql, err := d.isMySQLBy(ctx, tx)
	require.NoError(t, err)
	require.False(t, mysql)
	soon, cancelSoon := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancelSoon()
	_, err = s.Claim(soon, "f", 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, ctx.Err(), "it heeded its own context")
	require.NoError(t, tx.Rollback())
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
}
