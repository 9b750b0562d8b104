package sqlitetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// Library is one of the three libraries.
type Library struct {
	// Open opens a file, with foreign keys.
	Open func(path string) (*sql.DB, error)
	// Format is how the library writes a time.
	Format func(t time.Time) string
}

// The forms in which the libraries write a time, by default.
func modernc(t time.Time) string { return t.String() }
func mattn(t time.Time) string   { return t.Format("2006-01-02 15:04:05.999999999-07:00") }
func ncruces(t time.Time) string { return t.Format(time.RFC3339Nano) }

// Forms are these, by the name of the library.
func Forms() map[string]func(time.Time) string {
	return map[string]func(time.Time) string{"modernc": modernc, "mattn": mattn, "ncruces": ncruces}
}

// Run runs all tests with a library.
func Run(t *testing.T, l Library) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, l Library){
		"EachReadsEach": eachReadsEach, "AsStored": asStored, "LongNumbers": longNumbers, "UnreadableIsBad": unreadableIsBad, "TwoSpellings": twoSpellings, "Policies": policies, "Client": clientWorks,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, l) })
	}
}

func (l Library) open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := l.Open(path)
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func exec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := db.ExecContext(t.Context(), s)
		require.NoError(t, err, s)
	}
}

type row struct {
	N  int64
	At time.Time
}

// readAll returns the values of a source, and by place the errors of bad records.
func readAll[T, C any](t *testing.T, source dataflow.Source[T, C], from *C) ([]T, map[int]string, error) {
	t.Helper()
	var all []T
	bad := map[int]string{}
	r := dataflow.Request[C]{}
	if from != nil {
		r.Resumed, r.From = true, *from
	}
	for it, err := range source.Read(t.Context(), r) {
		var re *dataflow.RecordError
		if errors.As(err, &re) {
			bad[len(all)] = re.Err.Error()
		} else if err != nil {
			return all, bad, err
		}
		all = append(all, it.Value)
	}
	return all, bad, nil
}

func columnTypes() []string { return []string{"datetime", "timestamp", "date", "text"} }

// eachReadsEach checks that times that one library writes are read by all.
func eachReadsEach(t *testing.T, l Library) {
	t.Helper()
	zones := []*time.Location{time.UTC, time.FixedZone("", 2*3600), time.FixedZone("CEST", 2*3600)}
	for _, name := range []string{"Asia/Kathmandu", "Asia/Tehran", "Pacific/Marquesas", "Australia/Eucla", "America/Vancouver"} {
		zone, err := time.LoadLocation(name)
		require.NoError(t, err)
		zones = append(zones, zone)
	}
	parsed, err := time.Parse(time.RFC3339, "2026-01-02T03:04:05+02:00")
	require.NoError(t, err)
	times := []time.Time{parsed, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, zone := range zones {
		times = append(times, time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC).In(zone), time.Date(1969, 7, 20, 20, 17, 0, 0, zone))
	}
	db := l.open(t, filepath.Join(t.TempDir(), "times.db"))
	for i, typ := range columnTypes() {
		exec(t, db, fmt.Sprintf("create table own%d (n integer primary key, at %s)", i, typ))
		for n, at := range times {
			_, err := db.ExecContext(t.Context(), fmt.Sprintf("insert into own%d values (?, ?)", i), n, at)
			require.NoError(t, err)
			var text string
			require.NoError(t, db.QueryRowContext(t.Context(), fmt.Sprintf("select at || '' from own%d where n = ?", i), n).Scan(&text))
			require.Equal(t, l.Format(at), text, "the form of this library")
		}
		for library, format := range Forms() {
			table := fmt.Sprintf("%s%d", library, i)
			exec(t, db, fmt.Sprintf("create table %s (n integer primary key, at %s)", table, typ))
			for n, at := range times {
				_, err := db.ExecContext(t.Context(), "insert into "+table+" values (?, ?)", n, format(at))
				require.NoError(t, err)
			}
			got, bad, err := readAll(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select n, at from " + table, Key: []string{"n"}, PageSize: 3}), nil)
			require.NoError(t, err)
			require.Empty(t, bad, "%s writes a %s", library, typ)
			require.Len(t, got, len(times))
			for n, r := range got {
				require.True(t, times[n].Equal(r.At), "%s writes %s into a %s, it is read as %s", library, times[n], typ, r.At)
			}
		}
	}
}

// asStored: a text, a number and bytes are read as they are stored, whatever type their column declares.
func asStored(t *testing.T, l Library) {
	t.Helper()
	type text struct {
		V string
		W sql.NullString `db:"w"`
		X []byte
		Y *string
	}
	type integer struct {
		V int64
		W sql.Null[int64] `db:"w"`
		X uint64
		Y *int
	}
	path := filepath.Join(t.TempDir(), "stored.db")
	db := l.open(t, path)
	wide, err := l.Open(path)
	require.NoError(t, err)
	wide.SetMaxOpenConns(2)
	defer func() { require.NoError(t, wide.Close()) }()
	for i, typ := range []string{"datetime", "timestamp", "date", "time", "boolean", "bool", ""} {
		exec(t, db, fmt.Sprintf("create table stored%d (n integer primary key, v %s)", i, typ))
		query := fmt.Sprintf("select n, v, v as w, v as x, v as y from stored%d", i)
		texts := []string{"2026-01-02 03:04:05", "2026-01-02", "2026-01-02T03:04:05.120Z", "03:04", "gestern", "true", ""}
		for n, v := range texts {
			_, err := db.ExecContext(t.Context(), fmt.Sprintf("insert into stored%d values (?, ?)", i), n, v)
			require.NoError(t, err)
		}
		for _, size := range []int{1, 100} {
			got, bad, err := readAll(t, sqltable.Keyset[text](db, sqltable.Query{SQL: query, Key: []string{"n"}, PageSize: size}), nil)
			require.NoError(t, err)
			require.Empty(t, bad)
			for n, v := range texts {
				require.Equal(t, text{v, sql.NullString{String: v, Valid: true}, []byte(v), &v}, got[n], typ)
			}
		}
		selected, bad, err := readAll(t, sqltable.Select[text](wide, query[:7]+query[10:]+" order by n"), nil)
		require.NoError(t, err)
		for n, v := range texts {
			require.True(t, bad[n] != "" || n > 2 && n != 4 || selected[n].V[0] == v[0], "the library makes %q of %q in a %s", selected[n].V, v, typ)
		}
		exec(t, db, fmt.Sprintf("delete from stored%d", i))
		numbers := []int64{0, 1, 2, 1767323045, 1767323045123}
		for n, v := range numbers {
			exec(t, db, fmt.Sprintf("insert into stored%d values (%d, %d)", i, n, v))
		}
		got, bad, err := readAll(t, sqltable.Keyset[integer](db, sqltable.Query{SQL: query, Key: []string{"n"}, PageSize: 2}), nil)
		require.NoError(t, err)
		require.Empty(t, bad, typ)
		for n, v := range numbers {
			short := int(v)
			require.Equal(t, integer{v, sql.Null[int64]{V: v, Valid: true}, uint64(v), &short}, got[n], typ) //nolint:gosec // it is not negative
		}
		_, bad, err = readAll(t, sqltable.Select[integer](wide, query[:7]+query[10:]+" order by n"), nil)
		require.NoError(t, err)
		for _, problem := range bad {
			require.Contains(t, problem, "+column", typ)
		}
	}
}

// unreadableIsBad: a text that is no time is a bad record, and never the year 1.
func unreadableIsBad(t *testing.T, l Library) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "times.db")
	db := l.open(t, path)
	for i, typ := range columnTypes() {
		exec(t, db, fmt.Sprintf("create table t%d (n integer primary key, at %s)", i, typ),
			fmt.Sprintf("insert into t%d values (1, '2026-01-02 03:04:05'), (2, 'gestern'), (3, '2026-01-02 24:00:00'), (4, ''), (5, '2026-13-01'), (6, '2026-01-02 03:04:05.123456789 +0000 UTC')", i))
		got, bad, err := readAll(t, sqltable.Keyset[row](db, sqltable.Query{SQL: fmt.Sprintf("select n, at from t%d", i), Key: []string{"n"}}), nil)
		require.NoError(t, err)
		require.Len(t, bad, 4, "%v", bad)
		require.Equal(t, `column "at": "gestern" is not a time`, bad[1])
		require.Equal(t, 2026, got[5].At.Year())

		wide, err := l.Open(path)
		require.NoError(t, err)
		wide.SetMaxOpenConns(2)
		got, bad, err = readAll(t, sqltable.Select[row](wide, fmt.Sprintf("select n, at from t%d order by n", i)), nil)
		require.NoError(t, err)
		require.NoError(t, wide.Close())
		for n, r := range got {
			require.True(t, bad[n] != "" || r.At.Year() == 2026, "the library makes %s of row %d of a %s", r.At, n+1, typ)
		}
	}
}

// twoSpellings: two spellings of a time in a key column are an error that names both.
func twoSpellings(t *testing.T, l Library) {
	t.Helper()
	db := l.open(t, filepath.Join(t.TempDir(), "times.db"))
	exec(t, db, "create table t (n integer primary key, at datetime)", "insert into t values (1, '2026-11-28T10:00:00.123Z')")
	source := sqltable.Keyset[row](db, sqltable.Query{SQL: "select n, at from t", Key: []string{"at"}})
	_, _, err := readAll(t, source, nil)
	require.NoError(t, err)
	exec(t, db, "insert into t values (2, '2026-11-28 10:05:00'), (3, '2026-11-28 10:06:00.5')")
	_, _, err = readAll(t, source, &sqltable.Cursor{"'2026-11-28T10:00:00.123Z'"})
	require.ErrorContains(t, err, `key column "at" has times in two spellings, '2026-11-28 10:0`)
	require.ErrorContains(t, err, `and '2026-11-28T10:00:00.123Z'`)
	require.True(t, dataflow.IsPermanent(err))
	_, _, err = readAll(t, source, nil)
	require.ErrorContains(t, err, "in two spellings, '2026-11-28 10:06:00.5' and '2026-11-28T10:00:00.123Z'")
	// The form that the message asks for.
	got, _, err := readAll(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select n, strftime('%Y-%m-%d %H:%M:%f', at) as at from t", Key: []string{"at"}}), &sqltable.Cursor{"'2026-11-28 10:00:00.123'"})
	require.NoError(t, err)
	require.Len(t, got, 2)
	exec(t, db, "delete from t where n > 1", "insert into t values (2, '2026-11-28T10:00:00.5Z')")
	_, _, err = readAll(t, source, nil)
	require.ErrorContains(t, err, "two spellings", "a Z sorts after a dot")
}

type child struct {
	ID     int64
	Parent *int64
}

// policies find the bad record by SQLite's result codes, also where it is refused at the commit or by a
// trigger.
func policies(t *testing.T, l Library) {
	t.Helper()
	for name, schema := range map[string][]string{
		"Deferred":  {"create table parent (id integer primary key)", "create table child (id integer primary key, parent integer references parent deferrable initially deferred)"},
		"Immediate": {"create table parent (id integer primary key)", "create table child (id integer primary key, parent integer references parent (id))"},
		"Trigger": {
			"create table parent (id integer primary key)", "create table child (id integer primary key, parent integer)",
			"create trigger refuse before insert on child when new.parent = 13 begin select raise(abort, 'nobody wants thirteen'); end",
		},
		"Check":  {"create table parent (id integer primary key)", "create table child (id integer primary key, parent integer check (parent <> 13))"},
		"Unique": {"create table parent (id integer primary key)", "create table child (id integer primary key, parent integer)", "create unique index one on child (parent) where parent > 10", "insert into child values (1000, 13)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := l.open(t, filepath.Join(t.TempDir(), "policies.db"))
			exec(t, db, schema...)
			exec(t, db, "insert into parent values (1), (2)")
			var records []child
			for id := range int64(100) {
				parent := id%2 + 1
				if id == 57 {
					parent = 13
				}
				records = append(records, child{ID: id + 1, Parent: &parent})
			}
			flow := dataflow.NewFlow("children", memory.Slice(records), dataflow.Identity[child](), sqltable.Upsert[child]("child", "id"), &dataflow.FlowOptions{
				Runtime: dataflow.Heartbeat{}, OnBadRecord: dataflow.SkipUpTo(10),
			})
			client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, client.Migrate(t.Context()))
			require.NoError(t, client.Register(t.Context()))
			run := execute(t, client)
			require.Equal(t, dataflow.RunSuccess, run.State, run.Error)
			require.EqualValues(t, 1, run.Counters.Dropped)
			require.EqualValues(t, 99, run.Counters.Written)
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), "select count(*) from child where id <= 100 and id <> 58").Scan(&n))
			require.Equal(t, 99, n)
		})
	}
}

func execute(t *testing.T, client *dataflow.Client) *dataflow.Run {
	t.Helper()
	flow, err := client.Flow(context.WithoutCancel(t.Context()), "children")
	require.NoError(t, err)
	run, err := flow.Runtime.Execute(t.Context(), flow)
	require.NoError(t, err)
	return run
}

// longNumbers: a number with more digits than a float has is a bad record where SQLite would make a float of it.
func longNumbers(t *testing.T, l Library) {
	t.Helper()
	type amount struct {
		ID int64
		V  string
	}
	records := []amount{{1, "0.1"}, {2, "12345678901234567890"}, {3, "1234567890.12345678"}, {4, "9223372036854775807"}, {5, "0.30000000000000004"}, {6, "1234567890123456 7"}, {7, "-00000000000000000001.50"}}
	for typ, dropped := range map[string]int64{"decimal(30, 10)": 2, "numeric": 2, "bigint": 2, "text": 0, "varchar(40)": 0, "": 0, "blob": 0, "double": 0} {
		t.Run("as "+typ, func(t *testing.T) {
			t.Parallel()
			db := l.open(t, filepath.Join(t.TempDir(), "long.db"))
			exec(t, db, "create table amounts (id integer primary key, v "+typ+")")
			flow := dataflow.NewFlow("children", memory.Slice(records), dataflow.Identity[amount](), sqltable.Upsert[amount]("amounts", "id"), &dataflow.FlowOptions{
				Runtime: dataflow.Heartbeat{}, OnBadRecord: dataflow.SkipUpTo(10),
			})
			client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, client.Migrate(t.Context()))
			require.NoError(t, client.Register(t.Context()))
			run := execute(t, client)
			require.Equal(t, dataflow.RunSuccess, run.State, run.Error)
			require.Equal(t, dropped, run.Counters.Dropped)
			require.Equal(t, 7-dropped, run.Counters.Written)
		})
	}
}

// clientWorks: the client's own tables work with each library: ticks, runs, cursors and the ledger.
func clientWorks(t *testing.T, l Library) {
	t.Helper()
	db := l.open(t, filepath.Join(t.TempDir(), "client.db"))
	exec(t, db, "create table src (n integer primary key, at datetime)", "create table dst (n integer primary key, at datetime)",
		"insert into src values (1, '2026-01-02 03:04:05'), (2, '2026-01-02T03:04:06Z')")
	now := time.Date(2027, 5, 1, 4, 0, 30, 0, time.UTC)
	flow := dataflow.NewFlow("copy", sqltable.Keyset[row](db, sqltable.Query{SQL: "select n, at from src", Key: []string{"n"}}), dataflow.Identity[row](),
		sqltable.Upsert[row]("dst", "n"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Minute}})
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler), Clock: func() time.Time { return now }})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	now = now.Add(3 * time.Minute)
	runs, err := client.Tick(t.Context())
	require.NoError(t, err)
	require.Len(t, runs, 1)
	require.Equal(t, dataflow.RunSuccess, runs[0].State, runs[0].Error)
	require.Equal(t, time.Date(2027, 5, 1, 4, 3, 0, 0, time.UTC), runs[0].ScheduledFor.UTC())
	skipped, err := client.SkippedTicks(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, skipped, 1)
	require.EqualValues(t, 2, skipped[0].Count)
	got, bad, err := readAll(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select n, at from dst", Key: []string{"n"}}), nil)
	require.NoError(t, err)
	require.Empty(t, bad)
	require.Equal(t, 6, got[1].At.Second())
	why, err := client.Why(t.Context(), "copy")
	require.NoError(t, err)
	require.Contains(t, why.String(), "Its next tick is at 2027-05-01T04:04:00Z")
}
