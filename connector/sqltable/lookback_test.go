package sqltable_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/dataflowtest"
)

type visit struct{ ID int64 }

// visits returns a table with a row for each of 20 hours, and a source that looks back.
func visits(t *testing.T, form string, pageSize int) (*sql.DB, dataflow.Source[visit, sqltable.Cursor]) {
	t.Helper()
	db := setup(t, `create table visit (id integer primary key, at text)`, `create table copy (id integer primary key)`,
		`create table written (n integer primary key, id integer)`)
	for n := range 20 {
		_, err := db.ExecContext(t.Context(), `insert into visit values (?, ?)`, n+1, time.Date(2024, 1, 1, n, 30, 0, 0, time.FixedZone("", 7200)).Format(form))
		require.NoError(t, err)
	}
	return db, sqltable.Keyset[visit](db, sqltable.Query{SQL: `select id, at from visit`, Key: []string{"at", "id"}, PageSize: pageSize, Lookback: 3 * time.Hour})
}

func TestKeyset_Lookback(t *testing.T) {
	t.Parallel()
	for form, again := range map[string]int64{
		"2006-01-02 15:04:05": 4, "2006-01-02T15:04:05Z": 4, "2006-01-02T15:04:05.000Z07:00": 4, "2006-01-02": 20,
	} {
		db, source := visits(t, form, 2)
		flow := dataflow.NewFlow("visits", source, dataflow.Identity[visit](), sqltable.Upsert[visit]("copy", "id"), nil)
		client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.NoError(t, client.Migrate(t.Context()))
		require.NoError(t, client.Register(t.Context()))
		work := func() dataflow.Counters {
			run, err := client.Trigger(t.Context(), "visits", nil)
			require.NoError(t, err)
			require.Equal(t, dataflow.RunSuccess, run.State, run.Error)
			require.Equal(t, run.Counters.Read, *run.Total, "as counted")
			return run.Counters
		}
		require.Equal(t, dataflow.Counters{Read: 20, Written: 20}, work(), form)
		require.Equal(t, dataflow.Counters{Read: again, Redundant: again, ReadAgain: again}, work(), form)
		for id, minutes := range map[int]int{101: 18*60 + 5, 102: 16*60 + 29, 103: 21 * 60} { // late, too late, new
			_, err = db.ExecContext(t.Context(), `insert into visit values (?, ?)`, id, time.Date(2024, 1, 1, 0, minutes, 0, 0, time.FixedZone("", 7200)).Format(form))
			require.NoError(t, err)
		}
		if form == time.DateOnly {
			require.Equal(t, dataflow.Counters{Read: 23, Written: 3, Redundant: 20, ReadAgain: 20}, work(), "nothing of the day is too late, and all of it has greater ids than the cursor's")
			continue
		}
		require.Equal(t, dataflow.Counters{Read: 6, Written: 2, Redundant: 4, ReadAgain: 5}, work(), form)
	}
}

// A process that dies within the lookback, or at its end: the counters are exact, and each row is
// written once more.
func TestKeyset_LookbackCrash(t *testing.T) {
	t.Parallel()
	for _, point := range []dataflowtest.Point{dataflowtest.AfterWrite, dataflowtest.AfterCommit} {
		for batch := 2; batch <= 3; batch++ {
			db, source := visits(t, time.DateTime, 3)
			_, err := db.ExecContext(t.Context(), `create trigger written before insert on copy begin insert into written (id) values (new.id); end`)
			require.NoError(t, err)
			flow := dataflow.NewFlow("visits", source, dataflow.Identity[visit](), sqltable.Upsert[visit]("copy", "id"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}})
			kit := dataflowtest.NewOn(t, dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
			kit.Work("visits")
			_, err = db.ExecContext(t.Context(), `delete from written; insert into visit values (101, '2024-01-01 18:05:00'), (102, '2024-01-01 18:06:00'), (103, '2024-01-01 20:30:00'), (104, '2024-01-01 21:30:00')`)
			require.NoError(t, err)
			kit.CrashAt(point, batch)
			run := kit.Work("visits")
			require.EqualValues(t, 2, run.LeaseNumber, "two processes had the run")
			require.Equal(t, dataflow.Counters{Read: 8, Written: 4, Redundant: 4, ReadAgain: 6}, run.Counters)
			require.NotContains(t, string(run.ToCursor), "again")
			var written string
			require.NoError(t, db.QueryRowContext(t.Context(), `select group_concat(id) from (select id from written order by n)`).Scan(&written))
			require.Equal(t, "101,102,103,104", written)
		}
	}
}

func TestKeyset_LookbackRefused(t *testing.T) {
	t.Parallel()
	db, source := visits(t, time.DateTime, 0)
	_, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("visits", source, dataflow.Identity[visit](), sqltable.Insert[visit]("copy"), nil)}})
	require.ErrorContains(t, err, `Flows["visits"].Target: it appends, or keeps each batch, and the source reads records again`)
	for key, want := range map[string]string{"id": `the key begins with "id" (field ID), of type int64, and not with a time`, "k": `the key begins with "k", such as 7, which is no time`} {
		source := sqltable.Keyset[visit](db, sqltable.Query{SQL: `select id, 7 as k from visit`, Key: []string{key}, Lookback: time.Hour})
		_, err = read(t, source, sqltable.Cursor{"7"}, -1)
		require.ErrorContains(t, err, want)
		require.True(t, dataflow.IsPermanent(err))
	}
	require.Equal(t, "('2024-01-01', 1), reading again after ('2023-12-31', 7)", fmt.Sprint(sqltable.Cursor{"'2024-01-01'", "1", "again: '2023-12-31'", "again: 7"}))
}

// A bad record that is read again is one dead letter still, and resolved once it is written.
func TestKeyset_LookbackBadRecord(t *testing.T) {
	t.Parallel()
	db, source := visits(t, time.DateTime, 2)
	bad := true
	transform := dataflow.Map(func(_ context.Context, v visit) (visit, error) {
		if bad && v.ID == 19 {
			return v, errors.New("not yet")
		}
		return v, nil
	})
	flow := dataflow.NewFlow("visits", source, transform, sqltable.Upsert[visit]("copy", "id"), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(1)})
	kit := dataflowtest.NewOn(t, dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	open := func() int {
		letters, err := kit.Client().DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: "visits", Open: true})
		require.NoError(t, err)
		return len(letters)
	}
	for range 3 {
		require.EqualValues(t, 1, kit.Work("visits").Counters.DeadLettered)
		require.Equal(t, 1, open())
	}
	bad = false
	require.Equal(t, dataflow.Counters{Read: 4, Written: 1, Redundant: 3, ReadAgain: 4}, kit.Work("visits").Counters)
	require.Zero(t, open())
}
