package pgtable_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowtest"
)

const hourly = `insert into customers select n, 'name ' || n, '2024-01-01Z'::timestamptz + n * interval '1 hour' from generate_series(%d, %d) n`

// Each run reads the rows of the lookback again. Rows that were put there arrive, the others are
// redundant, and the cursor stays where it was.
func TestRecipe_Lookback(t *testing.T) {
	t.Parallel()
	pool := setup(t, customerTables, fmt.Sprintf(hourly, 1, 20))
	client := clientOf(t, pool, lookingBack(pool))
	work := func() dataflow.Counters {
		run, err := client.Trigger(t.Context(), "customers", nil)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State, run.Error)
		require.Equal(t, run.Counters.Read, *run.Total, "as counted")
		return run.Counters
	}
	cursor := func() string {
		c, err := client.Cursor(t.Context(), "customers")
		require.NoError(t, err)
		return string(c.Cursor)
	}
	require.Equal(t, dataflow.Counters{Read: 20, Written: 20}, work(), "a first run has nothing to look back at")
	at := cursor()
	require.Equal(t, dataflow.Counters{Read: 4, Redundant: 4, ReadAgain: 4}, work(), "from 17:00 to 20:00")
	require.Equal(t, at, cursor())
	_, err := pool.Exec(t.Context(), `insert into customers values (101, 'late', '2024-01-01 18:30Z'), (102, 'too late', '2024-01-01 16:59Z'), (103, 'new', '2024-01-01 21:30Z');
		update customers set name = 'mended' where id = 19`)
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 6, Written: 3, Updated: 1, Redundant: 3, ReadAgain: 5}, work())
	require.Equal(t, []string{"late", "mended", "new"}, texts(t, pool, `select name from customer_copy where id in (19, 101, 102, 103) order by name`))
	require.NotContains(t, cursor(), "again")
	_, err = client.Backfill(t.Context(), "customers", nil)
	require.NoError(t, err)
	runs, err := client.Tick(t.Context())
	require.NoError(t, err)
	require.Len(t, runs, 1)
	require.Equal(t, dataflow.Counters{Read: 23, Written: 1, Redundant: 22}, runs[0].Counters, "all that is there, once")
	old, err := client.Cursor(t.Context(), "customers")
	require.NoError(t, err)
	_, err = client.SetCursor(t.Context(), "customers", &dataflow.SetCursorParams{IfSeq: &old.Seq, Cursor: json.RawMessage(`10`), Actor: "ann"})
	require.ErrorContains(t, err, `: use a list of texts, such as ["17"]`)
	_, err = client.SetCursor(t.Context(), "customers", &dataflow.SetCursorParams{IfSeq: &old.Seq, Cursor: json.RawMessage(`["2024-01-01T10:00:00Z", "10"]`), Actor: "ann", Reason: "a cursor like any other"})
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 17, Redundant: 17, ReadAgain: 4}, work(), "from 07:00")
}

// A process that dies within the lookback, or at its end: each row is read again once, by the run
// that goes on where the dead one was, and the counters are exact.
func TestKeyset_LookbackCrash(t *testing.T) {
	t.Parallel()
	for _, point := range []dataflowtest.Point{dataflowtest.AfterWrite, dataflowtest.AfterCommit} {
		for batch := 1; batch <= 4; batch++ {
			t.Run(fmt.Sprint(point, batch), func(t *testing.T) {
				t.Parallel()
				pool := setup(t, customerTables, `create table log (n serial, id bigint)`, fmt.Sprintf(hourly, 1, 20))
				source := pgtable.Keyset[Customer](pool, pgtable.Query{SQL: "select id, name, updated_at from customers", Key: []string{"updated_at", "id"}, PageSize: 3, Lookback: 10 * time.Hour, LateCommits: pgtable.Unguarded{}})
				flow := dataflow.NewFlow("customers", source, dataflow.Identity[Customer](), pgtable.Func(logRows), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 4}})
				kit := dataflowtest.NewOn(t, dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
				kit.Work("customers")
				_, err := pool.Exec(t.Context(), `truncate log; insert into customers values (101, 'late', '2024-01-01 18:30Z');`+fmt.Sprintf(hourly, 21, 24))
				require.NoError(t, err)
				kit.CrashAt(point, batch)
				run := kit.Work("customers")
				require.EqualValues(t, 2, run.LeaseNumber, "two processes had the run")
				require.Equal(t, dataflow.Counters{Read: 16, Written: 16, ReadAgain: 12}, run.Counters)
				require.Equal(t, []string{"10", "11", "12", "13", "14", "15", "16", "17", "18", "101", "19", "20", "21", "22", "23", "24"}, texts(t, pool, `select id::text from log order by n`))
				require.NotContains(t, string(run.ToCursor), "again")
			})
		}
	}
}

// Where reads begin and what they yield.
func TestKeyset_LookbackItems(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"timestamptz", "timestamp", "date", "timestamptz(0)"} {
		t.Run(typ, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, `create table amount (id bigint primary key, cents bigint not null, at `+typ+` not null)`,
				`insert into amount select n, n, timestamp '2024-01-01' + (n + 1) / 2 * interval '1 day' from generate_series(1, 20) n`)
			q := pgtable.Query{SQL: `select id, cents, at from amount`, Key: []string{"at", "id"}, LateCommits: pgtable.Unguarded{}, PageSize: 3}
			all := readAll(t, pgtable.Keyset[amount](pool, q))
			q.Lookback = 47 * time.Hour
			source := pgtable.Keyset[amount](pool, q)
			cursorOf := func(id int) pgtable.Cursor { return all[id-1].Cursor }
			items := func(r dataflow.Request[pgtable.Cursor]) (list []item[amount]) {
				for it, err := range source.Read(t.Context(), r) {
					require.NoError(t, err)
					list = append(list, it)
				}
				n, err := source.(dataflow.Counter[pgtable.Cursor]).Count(t.Context(), r)
				require.NoError(t, err)
				require.Equal(t, n, int64(len(slices.DeleteFunc(slices.Clone(list), func(it item[amount]) bool { return it.Mark }))))
				return list
			}
			ids := func(list []item[amount]) (ids []string) {
				ids = []string{}
				for _, it := range list {
					id := fmt.Sprint(it.Value.ID)
					switch {
					case it.Mark:
						require.Equal(t, cursorOf(14), it.Cursor)
						id = "mark"
					case it.Again:
						require.Equal(t, cursorOf(int(it.Value.ID)).String(), it.Key)
						require.Equal(t, cursorOf(14)[:2], it.Cursor[:2], "it does not go back")
						id += " again"
					default:
						require.Equal(t, all[it.Value.ID-1], it)
					}
					ids = append(ids, id)
				}
				return ids
			}
			whole := []string{"13 again", "14 again", "mark", "15", "16", "17", "18", "19", "20"}
			from := dataflow.Request[pgtable.Cursor]{From: cursorOf(14), Resumed: true}
			if typ == "date" { // 2024-01-08, and 47 hours before that is within the sixth
				whole = append([]string{"9 again", "10 again", "11 again", "12 again"}, whole...)
			} else {
				whole = append([]string{"11 again", "12 again"}, whole...)
			}
			list := items(from)
			require.Equal(t, whole, ids(list))
			require.Equal(t, []string{"1", "2", "3"}, ids(items(dataflow.Request[pgtable.Cursor]{}))[:3], "a first run")
			for i := range list { // a run stops after each item
				r := dataflow.Request[pgtable.Cursor]{From: list[i].Cursor, Resumed: true, Continued: true}
				rest := whole[i+1:]
				require.Equal(t, rest, ids(items(r)))
				if list[i].Again { // the next run begins anew
					r.Continued = false
					require.Equal(t, whole, ids(items(r)))
					require.NoError(t, source.(dataflow.RequestChecker[pgtable.Cursor]).CheckRequest(r))
					require.Contains(t, list[i].Cursor.String(), ", reading again after (")
					_, ok, err := source.(dataflow.Lagger[pgtable.Cursor]).Lag(t.Context(), r)
					require.NoError(t, err)
					require.Equal(t, strings.HasPrefix(typ, "timestamptz"), ok)
					r.Backfill = true
					require.Equal(t, whole[len(whole)-6:], ids(items(r)))
					r.Until, r.Bounded = cursorOf(15), true
					require.Equal(t, []string{"15"}, ids(items(r)))
				}
			}
		})
	}
}

func TestKeyset_LookbackRefused(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table amount (id bigint primary key, cents bigint not null, k text)`, `create table log (id bigint, cents bigint)`)
	newClient := func(q pgtable.Query, target dataflow.Target[amount]) error {
		q.SQL = `select id, cents, k from amount`
		_, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("amounts", pgtable.Keyset[amount](pool, q), dataflow.Identity[amount](), target, nil)}})
		return err
	}
	upsert := pgtable.Upsert[amount]("log", "id")
	require.ErrorContains(t, newClient(pgtable.Query{Key: []string{"k", "id"}, Lookback: time.Hour}, pgtable.Insert[amount]("log")), `Flows["amounts"].Target: it appends, or keeps each batch, and the source reads records again`)
	require.ErrorContains(t, newClient(pgtable.Query{Key: []string{"k", "id"}, Lookback: time.Hour}, pgtable.InsertTo[amount](pool, "log")), "it appends, or keeps each batch, and the source reads records again")
	require.ErrorContains(t, newClient(pgtable.Query{Key: []string{"id"}, Lookback: time.Hour}, upsert), `Flows["amounts"].Source.Query.Lookback: the key begins with "id" (field ID), of type int64, and not with a time`)
	require.ErrorContains(t, newClient(pgtable.Query{Key: []string{"k"}, Lookback: -time.Hour}, upsert), "Query.Lookback: -1h0m0s is negative")
	require.ErrorContains(t, newClient(pgtable.Query{Key: []string{"k"}, LateCommits: pgtable.XID8{}, Lookback: time.Hour}, upsert), "begins with a transaction id")
	require.NoError(t, newClient(pgtable.Query{Key: []string{"k", "id"}, Lookback: time.Hour}, upsert), "only the database knows the type")
	_, err := read(t, pgtable.Keyset[amount](pool, pgtable.Query{SQL: `select id, cents, k from amount`, Key: []string{"k"}, Lookback: time.Hour}), pgtable.Cursor{"a"}, -1)
	require.ErrorContains(t, err, `the key begins with "k", of type text`)
	require.True(t, dataflow.IsPermanent(err))
}

// A source whose parameters decide about its lookback is found out by the run.
func TestKeyset_LookbackFoundByTheRun(t *testing.T) {
	t.Parallel()
	pool := setup(t, customerTables, fmt.Sprintf(hourly, 1, 3))
	type hours struct{ Hours int }
	source := dataflow.Parametric(func(p hours) (dataflow.Source[Customer, pgtable.Cursor], error) {
		q := pgtable.Query{SQL: "select id, name, updated_at from customers", Key: []string{"updated_at", "id"}, Lookback: time.Duration(p.Hours) * time.Hour}
		return pgtable.Keyset[Customer](pool, q), nil
	})
	client := clientOf(t, pool, dataflow.NewFlow("customers", source, dataflow.Identity[Customer](), pgtable.Insert[Customer]("customer_copy"), &dataflow.FlowOptions{MaxAttempts: 1}))
	_, err := client.Trigger(t.Context(), "customers", nil)
	require.NoError(t, err)
	run, err := client.Trigger(t.Context(), "customers", &dataflow.TriggerOptions{Params: json.RawMessage(`{"Hours": 1}`)})
	require.ErrorContains(t, err, "the flow's target: it appends, or keeps each batch, and the source reads records again")
	require.Equal(t, dataflow.RunFailed, run.State)
	require.Contains(t, run.Error, "it appends, or keeps each batch, and the source reads records again")
	require.Equal(t, []string{"3"}, texts(t, pool, `select count(*)::text from customer_copy`))
}

// A key with a type of the database's own is restricted like any other: the rows of a lookback are
// not held back, and a range of a first load that lacks rows is an error.
func TestKeyset_OddKeyIsRestricted(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"text", "citext", "kind"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, `create extension if not exists citext`, `create type kind as enum ('a', 'b', 'c')`,
				`create table odd (id bigint, at timestamptz, kind `+kind+`)`, `insert into odd values (1, '2024-01-01Z', 'a'), (2, '2024-01-02Z', 'b')`)
			open := begin(t, pool)
			defer commit(t, open)
			_, err := pool.Exec(t.Context(), `insert into odd values (3, clock_timestamp(), 'c')`)
			require.NoError(t, err)
			type row struct{ ID int64 }
			q := pgtable.Query{SQL: `select id, at, kind from odd`, Key: []string{"at", "kind"}, LateCommits: pgtable.Unguarded{}}
			all := readAll(t, pgtable.Keyset[row](pool, q))
			require.Len(t, all, 3)
			q.LateCommits, q.Lookback = nil, time.Hour
			source := pgtable.Keyset[row](pool, q)
			var again []row
			for it, err := range source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{From: all[2].Cursor, Resumed: true}) {
				require.NoError(t, err)
				if it.Again {
					again = append(again, it.Value)
				}
			}
			require.Equal(t, []row{{3}}, again)
			var failed error
			for _, err := range source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{Until: all[2].Cursor, Bounded: true, Whole: true}) {
				failed = err
			}
			require.ErrorContains(t, failed, "where this range of the first load ends, are held back")
		})
	}
}

// The longest time begins at the beginning.
func TestKeyset_LookbackLongest(t *testing.T) {
	t.Parallel()
	pool := setup(t, customerTables, fmt.Sprintf(hourly, 1, 5))
	for _, lookback := range []time.Duration{math.MaxInt64, 100 * 365 * 24 * time.Hour} {
		source := pgtable.Keyset[Customer](pool, pgtable.Query{SQL: "select id, name, updated_at from customers", Key: []string{"updated_at", "id"}, Lookback: lookback})
		again := 0
		for it, err := range source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{From: pgtable.Cursor{"2024-01-01T03:00:00Z", "3"}, Resumed: true}) {
			require.NoError(t, err)
			if it.Again {
				again++
			}
		}
		require.Equal(t, 3, again, lookback)
	}
}

// A preview looks back as the next run does, unless it is told where to begin. So it can go on where
// another has ended.
func TestClient_DryRunLookback(t *testing.T) {
	t.Parallel()
	pool := setup(t, customerTables, fmt.Sprintf(hourly, 1, 20))
	client := clientOf(t, pool, lookingBack(pool))
	_, err := client.Trigger(t.Context(), "customers", nil)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `insert into customers values (101, 'late', '2024-01-01 18:30Z');`+fmt.Sprintf(hourly, 21, 22))
	require.NoError(t, err)
	var names []string
	preview := func(params *dataflow.DryRunParams) *dataflow.DryRunReport {
		report, err := client.DryRun(t.Context(), "customers", params)
		require.NoError(t, err)
		for _, r := range report.Records {
			names = append(names, r.Key+" "+string(r.Outcome))
		}
		return report
	}
	whole := preview(nil)
	require.Equal(t, dataflow.Counters{Read: 7, Written: 3, Redundant: 4, ReadAgain: 5}, whole.Counters)
	want := names
	names = nil
	part := preview(&dataflow.DryRunParams{Limit: 2})
	for range 5 {
		part = preview(&dataflow.DryRunParams{Limit: 2, From: part.To})
		if !part.More {
			break
		}
	}
	require.Equal(t, want, names)
	names = nil
	preview(&dataflow.DryRunParams{From: json.RawMessage(`["2024-01-01T20:00:00Z", "20"]`)})
	require.Equal(t, []string{"(2024-01-01T21:00:00Z, 21) insert", "(2024-01-01T22:00:00Z, 22) insert"}, names)
}
