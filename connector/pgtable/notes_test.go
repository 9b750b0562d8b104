package pgtable_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

func notes(t *testing.T, pool *pgxpool.Pool, q pgtable.Query) []string {
	t.Helper()
	source := pgtable.Keyset[numbered](pool, q)
	noter, ok := source.(dataflow.Noter[pgtable.Cursor])
	require.True(t, ok)
	var first []string
	for range 2 { // the catalogue's are remembered
		found, err := noter.Notes(t.Context(), dataflow.Request[pgtable.Cursor]{})
		require.NoError(t, err)
		if first != nil {
			require.Equal(t, first, found)
		}
		first = found
	}
	return first
}

func TestKeyset_Notes(t *testing.T) {
	t.Parallel()
	pool := setup(t,
		`create table t (id int primary key, at timestamptz not null, day date not null, u uuid not null, "U7" uuid not null, n int, unique (at, id), unique (day, "U7"), unique (day, id), unique (u))`,
		`create unique index on t (n) where n > 0`, `create unique index on t ((n + 1))`,
		`insert into t select i, '2024-01-01'::timestamptz + i * interval '1 second', '2024-01-01', gen_random_uuid(), gen_random_uuid(), i from generate_series(1, 40000) i`,
		`analyze t`)
	for _, c := range []struct {
		sql  string
		key  []string
		want []string
	}{
		{`select id, n from t`, []string{"id"}, nil},
		{`select at, id, n from t where n > 5`, []string{"at", "id"}, nil},
		{`select max(at) as at, n from t group by n`, []string{"n"}, []string{`each page sorts about 40000 rows: keep the result of the query in a table with an index on the key`}},
		{`select id, n from t where id < 100`, []string{"n"}, []string{`no unique index covers the key ("n"): of two rows with the same key, one may never be read: create unique index concurrently on t (n); or add a column to the key that makes it unique`}},
		{`select at, n from t`, []string{"at"}, []string{`no unique index covers the key ("at"): of two rows with the same key, one may never be read: create unique index concurrently on t (at)`}},
		{`select day, id, n from t`, []string{"day", "id"}, []string{`the key begins with the date "day", and no guard holds back rows of a day that goes on: a row that is added with a smaller key is never read: begin the key with a time that each change sets to now(), or set Query.LateCommits to pgtable.Unguarded{} if no rows are added to what was read`}},
		{`select u, n from t`, []string{"u"}, []string{`the key begins with the uuid "u", and a new row with a smaller one is never read: `}},
		{`select id, n from t`, []string{"n", "id"}, []string{`each page sorts about 40000 rows: create index concurrently on t (n, id)`}},
		{`select coalesce(at, now()) as at, id, n from t`, []string{"at", "id"}, []string{`rows: create an index on the expressions of the key ("at", "id"), in this order`}},
	} {
		found := notes(t, pool, pgtable.Query{SQL: c.sql, Key: c.key})
		require.Len(t, found, len(c.want), "%s: %v", c.sql, found)
		for i, want := range c.want {
			require.Contains(t, found[i], want, c.sql)
		}
	}
	require.Empty(t, notes(t, pool, pgtable.Query{SQL: `select day, id, n from t`, Key: []string{"day", "id"}, LateCommits: pgtable.Unguarded{}}))
	exec(t, pool, `insert into t values (0, 'infinity', '2024-01-02', gen_random_uuid(), gen_random_uuid(), -1)`)
	require.Equal(t, []string{`rows whose key column "at" is infinity are never read, because that time never comes: exclude them in the query, or give them a time`},
		notes(t, pool, pgtable.Query{SQL: `select at, id, n from t`, Key: []string{"at", "id"}}))
	require.Empty(t, notes(t, pool, pgtable.Query{SQL: `select at, id, n from t where at < 'infinity'`, Key: []string{"at", "id"}}))
}

// Rows that a policy hides are not read, and nothing else tells that there are others.
func TestKeyset_NotesRowSecurity(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id bigint primary key, n int)`, `insert into t values (1, 1), (2, 2)`,
		`alter table t enable row level security`, `create policy later on t using (id > 1)`)
	limited, query := limitedTo(t, pool, "t"), pgtable.Query{SQL: `select id, n from t`, Key: []string{"id"}}
	require.Equal(t, []numbered{{2}}, values(readAll(t, pgtable.Keyset[numbered](limited, query))))
	require.Equal(t, []string{"row security may hide rows of t from this role: they are not read, also later if their keys are before the cursor then: use a role with bypassrls, if all rows are to be read"}, notes(t, limited, query))
	require.Empty(t, notes(t, pool, query))
}

// Two sessions that take numbers of a cached sequence in turn add rows out of order, although
// no two transactions overlap.
func TestKeyset_CachedSequence(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create sequence numbers cache 5`,
		`create table cached (id int generated always as identity (cache 20) primary key, n int)`,
		`create table shared (id int primary key default nextval('numbers'), n int)`,
		`create table plain (id int generated always as identity primary key, n int)`)
	one, other := acquire(t, pool), acquire(t, pool)
	for _, session := range []*pgxpool.Conn{one, other, one} {
		_, err := session.Exec(t.Context(), `insert into cached (n) select coalesce(max(id), 0) from cached`)
		require.NoError(t, err)
	}
	var before bool
	require.NoError(t, pool.QueryRow(t.Context(), `select min(id) < max(n) from cached where n > 1`).Scan(&before))
	require.True(t, before, "the third row has a smaller number than the second")
	const want = `the key "id" takes its numbers from a sequence of which each session keeps %d: a session may add a smaller number after a greater one was read, and such a row is never read: alter sequence … cache 1, or begin the key with a time that each change sets to now()`
	for table, cache := range map[string]int{"cached": 20, "shared": 5} {
		require.Equal(t, []string{fmt.Sprintf(want, cache)}, notes(t, pool, pgtable.Query{SQL: `select id, n from ` + table, Key: []string{"id"}}), table)
	}
	require.Empty(t, notes(t, pool, pgtable.Query{SQL: `select id, n from plain`, Key: []string{"id"}}))
	require.Empty(t, notes(t, pool, pgtable.Query{SQL: `select id, n from cached`, Key: []string{"id"}, LateCommits: pgtable.Unguarded{}}))
}

// Once a table was truncated with "restart identity", new rows are before the cursor.
func TestKeyset_SequenceSetBack(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id bigint generated always as identity primary key, n int)`, `create table s (id serial primary key, n int)`, `create table copied (id bigint primary key, n int)`)
	for _, table := range []string{"t", "s", "copied"} {
		numbers := "n"
		if table == "copied" {
			numbers = "id"
		}
		exec(t, pool, `insert into `+table+` (`+numbers+`) select generate_series(1, 30)`)
		source := pgtable.Keyset[numbered](pool, pgtable.Query{SQL: `select id, n from ` + table + ` where $1`, Args: []any{true}, Key: []string{"id"}})
		items := readAll(t, source)
		said := func() []string {
			t.Helper()
			noter, ok := source.(dataflow.Noter[pgtable.Cursor])
			require.True(t, ok)
			found, err := noter.Notes(t.Context(), dataflow.Request[pgtable.Cursor]{From: items[29].Cursor, Resumed: true})
			require.NoError(t, err)
			return found
		}
		require.Empty(t, said())
		exec(t, pool, `delete from `+table)
		require.Empty(t, said(), "the sequence goes on after the cursor")
		exec(t, pool, `truncate `+table+` restart identity`)
		if table == "copied" {
			require.Empty(t, said())
			continue
		}
		exec(t, pool, `insert into `+table+` (n) select generate_series(1, 2)`)
		const want = `the sequence of key column "id" is at 2, before the cursor 30, so that rows that get its numbers now are never read: the table was truncated with "restart identity", or the sequence was set back: set the cursor to the beginning (dataflow cursor set FLOW --beginning), or the sequence after the cursor`
		require.Equal(t, []string{want}, said())
		exec(t, pool, `insert into `+table+` (n) select generate_series(1, 30)`)
		require.Empty(t, said())
	}
}

func acquire(t *testing.T, pool *pgxpool.Pool) *pgxpool.Conn {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Release)
	return conn
}

// A key of a date and a random uuid loses rows for certain.
func TestKeyset_DateAndRandomUUID(t *testing.T) {
	t.Parallel()
	const want = `the key (day, id) begins with a date, and goes on with a random uuid: a row that is added on a day that was read gets any place of that day, and would never be read: begin the key with a time that each change sets to now(), or set Query.LateCommits to pgtable.Unguarded{}`
	for _, c := range []struct{ column, value, want string }{
		{`uuid default gen_random_uuid()`, "", want},
		{`uuid`, "", ""},
		{`uuid`, "6ba7b810-9dad-41d1-80b4-00c04fd430c8", want},
		{`uuid`, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", ""},
		{`int`, "", ""},
	} {
		pool := setup(t, `create table t (day date, id `+c.column+`, n int, primary key (day, id))`)
		if c.value != "" {
			exec(t, pool, `insert into t values ('2024-01-01', '`+c.value+`', 1)`)
		}
		query := pgtable.Query{SQL: `select * from t`, Key: []string{"day", "id"}}
		_, err := read(t, pgtable.Keyset[numbered](pool, query), nil, -1)
		if c.want == "" {
			require.NoError(t, err, c.column)
			continue
		}
		require.ErrorContains(t, err, c.want, c.column)
		require.True(t, dataflow.IsPermanent(err))
		query.LateCommits = pgtable.Unguarded{}
		_, err = read(t, pgtable.Keyset[numbered](pool, query), nil, -1)
		require.NoError(t, err, c.column)
	}
}

// safeBuffer is a buffer that several goroutines use.
type safeBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// Why and the log say what holds rows back, from the first empty read on.
func TestKeyset_WhyItIsHeldBack(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable, `create table copies (id bigint primary key, version int, at timestamptz)`)
	var log safeBuffer
	flow := dataflow.NewFlow("copies", tickets(pool, nil, "at", "id"), dataflow.Identity[ticket](), pgtable.Upsert[ticket]("copies", "id"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
	run := func() int64 {
		f, err := client.Flow(t.Context(), "copies")
		require.NoError(t, err)
		run, err := f.Runtime.Execute(t.Context(), f)
		require.NoError(t, err)
		return run.Counters.Read
	}
	why := func() string {
		e, err := client.Why(t.Context(), "copies")
		require.NoError(t, err)
		return e.String()
	}
	exec(t, pool, `insert into ticket default values`)
	require.EqualValues(t, 1, run())

	late := begin(t, pool)
	exec(t, late, `set local application_name = 'nightly report'`)
	var pid int
	require.NoError(t, late.QueryRow(t.Context(), `select pg_backend_pid()`).Scan(&pid))
	require.NotContains(t, why(), "held back", "no row waits")
	exec(t, pool, `insert into ticket default values`)
	require.EqualValues(t, 0, run())
	want := fmt.Sprintf("rows are held back by the transaction of process %d, role %q, application \"nightly report\", which is idle in transaction, since %s", pid, pool.Config().ConnConfig.User, time.Now().UTC().Format("2006-"))
	require.Contains(t, why(), "Its source notes: "+want)
	logged := strings.ReplaceAll(log.String(), `\"`, `"`)
	require.Contains(t, logged, want)
	require.Contains(t, logged, "flow=copies")
	require.EqualValues(t, 0, run())
	require.Equal(t, 1, strings.Count(strings.ReplaceAll(log.String(), `\"`, `"`), "nightly report"), "it is said once")
	commit(t, late)
	require.NotContains(t, why(), "held back")
	require.EqualValues(t, 1, run())
}

// Rows with NULL in their key are noted before a read meets them.
func TestKeyset_Notes_Nulls(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id int not null, n int, unique (n, id))`, `insert into t values (1, 1), (2, 1)`)
	query := pgtable.Query{SQL: `select id, n from t where id < $1`, Args: []any{100}, Key: []string{"n", "id"}}
	require.Empty(t, notes(t, pool, query))
	_, err := pool.Exec(t.Context(), `insert into t values (3, null)`)
	require.NoError(t, err)
	const null = `key column "n" is NULL in the row (%s), so the row has no place in the order: exclude such rows in the query, or select coalesce(n, …) as the key, with an index on that expression; or set Query.Nulls to skip such rows or to read them first`
	require.Equal(t, []string{fmt.Sprintf(null, "NULL, 3")}, notes(t, pool, query))
	query.Key = []string{"id", "n"}
	require.Equal(t, []string{fmt.Sprintf(null, "3, NULL")}, notes(t, pool, query))
}

// Rows whose time has not come are left for later. A read that leaves them succeeds, so they are noted.
func TestKeyset_Notes_Future(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id int primary key, at timestamptz not null, n int, unique (at, id))`, `create table w (id int primary key, at timestamp not null, n int, unique (at, id))`,
		`insert into t values (1, '2024-01-01', 1)`, `insert into w values (1, '2024-01-01', 1), (2, '2100-02-03 04:05:06', 1)`)
	query := func(table string, guard pgtable.Guard) pgtable.Query {
		return pgtable.Query{SQL: `select at, id, n from ` + table + ` where n = $1`, Args: []any{1}, Key: []string{"at", "id"}, LateCommits: guard}
	}
	guards := []pgtable.Guard{pgtable.OpenTransactions{UTC: true}, pgtable.Lag{By: time.Hour, UTC: true}}
	const want = `rows are left for later, because the time in their key column "at" has not come: the next of them is of 2100-02-03T04:05:06Z`
	for _, guard := range guards {
		require.Empty(t, notes(t, pool, query("t", guard)))
		require.Equal(t, []string{want}, notes(t, pool, query("w", guard)))
	}
	noted, ok := pgtable.Keyset[numbered](pool, query("t", nil)).(dataflow.Noter[pgtable.Cursor])
	require.True(t, ok)
	asked := func() []string {
		found, err := noted.Notes(t.Context(), dataflow.Request[pgtable.Cursor]{})
		require.NoError(t, err)
		return found
	}
	require.Empty(t, asked())
	exec(t, pool, `insert into t values (2, '2100-02-03 04:05:06Z', 1), (3, '2100-02-04', 1)`)
	require.Empty(t, asked(), "it is not looked up again within a minute")
	for _, guard := range guards {
		require.Equal(t, []string{want}, notes(t, pool, query("t", guard)))
	}
	require.Empty(t, notes(t, pool, query("t", pgtable.Unguarded{})))

	// A backfill is told only of those in its range.
	source, ok := pgtable.Keyset[numbered](pool, query("t", nil)).(dataflow.Noter[pgtable.Cursor])
	require.True(t, ok)
	for until, n := range map[string]int{"2100-02-03T00:00:00Z": 0, "2100-02-05T00:00:00Z": 1} {
		found, err := source.Notes(t.Context(), dataflow.Request[pgtable.Cursor]{Bounded: true, Until: pgtable.Cursor{until, "0"}})
		require.NoError(t, err)
		require.Len(t, found, n, until)
	}
}
