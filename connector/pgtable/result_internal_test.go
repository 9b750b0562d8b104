package pgtable

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

const (
	written   = dataflow.RowWritten
	updated   = dataflow.RowUpdated
	redundant = dataflow.RowRedundant
)

// ways maps each way of writing to its copyFrom.
var ways = map[string]int{"Arrays": math.MaxInt, "Copy": 1}

// results writes rows and returns their outcomes.
func results[T any](t *testing.T, pool *pgxpool.Pool, s *sink[T], rows ...T) []dataflow.RowResult {
	t.Helper()
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	got := make([]dataflow.RowResult, len(rows))
	require.NoError(t, store.InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
		return reporting(s).WriteResultTx(ctx, rows, got)
	}))
	return got
}

func TestUpsert_Results(t *testing.T) {
	t.Parallel()
	for name, copyFrom := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, createFacts)
			s := newSink[fact]("facts", true, []string{"id"})
			s.to.copyFrom = copyFrom
			require.Equal(t, []dataflow.RowResult{written, written}, results(t, pool, s, fact{1, "a", nil}, fact{2, "b", ptr(int32(2))}))
			rows := func() []string { return query(t, pool, `select xmin, ctid, * from facts order by id`) }
			before := rows()
			require.Equal(t, []dataflow.RowResult{redundant, redundant}, results(t, pool, s, fact{2, "b", ptr(int32(2))}, fact{1, "a", nil}))
			require.Equal(t, before, rows(), "nothing was written")
			require.Equal(t, []dataflow.RowResult{updated, redundant, written, updated},
				results(t, pool, s, fact{1, "a", ptr(int32(0))}, fact{2, "b", ptr(int32(2))}, fact{3, "c", nil}, fact{1, "A", nil}))
			require.Equal(t, []string{"(1,A,)", "(2,b,2)", "(3,c,)"}, query(t, pool, `select id, name, cents from facts order by id`))
			require.Equal(t, []dataflow.RowResult{redundant, redundant}, results(t, pool, s, fact{3, "other", nil}, fact{3, "c", nil}), "the last counts")
		})
	}
}

// Values are equal only if their text is equal. Types that Postgres cannot compare
// work too.
func TestUpsert_Results_Exact(t *testing.T) {
	t.Parallel()
	for name, copyFrom := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t,
				`create collation no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
				`create table t (id int primary key, amount numeric, name text collate no_case, raw json, doc jsonb, tags text[])`)
			type row struct {
				ID     int
				Amount string
				Name   string
				Raw    json.RawMessage
				Doc    json.RawMessage
				Tags   []string
			}
			first := row{1, "1.0", "ann", json.RawMessage(`{"a":1}`), json.RawMessage(`{"a":1.0}`), []string{"x"}}
			s := newSink[row]("t", true, []string{"id"})
			s.to.copyFrom = copyFrom
			require.Equal(t, []dataflow.RowResult{written}, results(t, pool, s, first))
			require.Equal(t, []dataflow.RowResult{redundant}, results(t, pool, s, first))
			for name, change := range map[string]func(*row){
				"numeric":   func(r *row) { r.Amount = "1.00" },
				"collation": func(r *row) { r.Name = "ANN" },
				"json":      func(r *row) { r.Raw = json.RawMessage(`{"a": 1}`) },
				"jsonb":     func(r *row) { r.Doc = json.RawMessage(`{"a":1.00}`) },
				"array":     func(r *row) { r.Tags = []string{"x", "y"} },
			} {
				changed := first
				change(&changed)
				require.Equal(t, []dataflow.RowResult{updated}, results(t, pool, s, changed), name)
				require.Equal(t, []dataflow.RowResult{redundant}, results(t, pool, s, changed), name)
				require.Equal(t, []dataflow.RowResult{updated}, results(t, pool, s, first), name)
			}
		})
	}
}

// For a table that changes keys, an unknown outcome is not reported. Unchanged rows
// are still not written.
func TestUpsert_Results_ChangedKeys(t *testing.T) {
	t.Parallel()
	for name, copyFrom := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, `create table t (id text primary key, v int)`,
				`create function shorten() returns trigger language plpgsql as 'begin new.id := left(new.id, 3); return new; end'`,
				`create trigger shorten before insert on t for each row execute function shorten()`)
			type row struct {
				ID string
				V  int
			}
			s := newSink[row]("t", true, []string{"id"})
			s.to.copyFrom = copyFrom
			require.Equal(t, []dataflow.RowResult{written, written}, results(t, pool, s, row{"a    ", 1}, row{"b", 2}))
			require.Equal(t, []dataflow.RowResult{written, written}, results(t, pool, s, row{"a    ", 2}, row{"b", 2}))
			require.Equal(t, []string{`("a  ",2)`, "(b,2)"}, query(t, pool, `select id, v from t order by id`))
			require.Equal(t, []dataflow.RowResult{updated, updated}, results(t, pool, s, row{"a  ", 3}, row{"b", 3}), "all are known to be there")
		})
	}
}

// A partitioned table reports outcomes like any other table.
func TestUpsert_Results_Partitioned(t *testing.T) {
	t.Parallel()
	for name, copyFrom := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, `create table t (id int primary key, v int) partition by range (id)`,
				`create table t1 partition of t for values from (0) to (10)`, `create table t2 partition of t for values from (10) to (20)`)
			type row struct{ ID, V int }
			s := newSink[row]("t", true, []string{"id"})
			s.to.copyFrom = copyFrom
			require.Equal(t, []dataflow.RowResult{written, written}, results(t, pool, s, row{1, 1}, row{11, 1}))
			require.Equal(t, []dataflow.RowResult{redundant, updated, written}, results(t, pool, s, row{1, 1}, row{11, 2}, row{12, 1}))
		})
	}
}

// A table may have the name of any part of the statement that writes it.
func TestUpsert_ShortNames(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int64
		V  string
	}
	pool := setup(t)
	for _, kind := range []string{"(id bigint primary key, v text)", "(id bigint primary key, v text, number serial)", "(id bigint primary key, v text) partition by hash (id)"} {
		for _, name := range []string{"d", "i", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "excluded", "gone"} {
			sql := "create table " + name + " " + kind
			if strings.Contains(kind, "partition") {
				sql += "; create table part partition of " + name + " for values with (modulus 1, remainder 0)"
			}
			_, err := pool.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
			for way, copyFrom := range ways {
				s := newSink[row](name, true, []string{"id"})
				s.to.copyFrom = copyFrom
				_, err := pool.Exec(t.Context(), "truncate "+name)
				require.NoError(t, err)
				results(t, pool, s, row{1, "a"}, row{2, "b"})
				require.Equal(t, []dataflow.RowResult{updated, redundant, written}, results(t, pool, s, row{1, "A"}, row{2, "b"}, row{3, "c"}), "%s %s %s", name, kind, way)
			}
			_, err = pool.Exec(t.Context(), "drop table "+name)
			require.NoError(t, err)
		}
	}
}

// Keys that the table rounds to one are one key: the last record counts.
func TestUpsert_RoundedKeys(t *testing.T) {
	t.Parallel()
	type row struct {
		K string
		N string
	}
	for typ, c := range map[string]struct {
		keys [3]string
		want []string
	}{
		"numeric(5,2)":            {[3]string{"1.001", "1.002", "2"}, []string{"(1.00,b)", "(2.00,c)"}},
		"amount":                  {[3]string{"1.001", "1.002", "2"}, []string{"(1.00,b)", "(2.00,c)"}},
		"timestamptz(0)":          {[3]string{"2024-01-01T00:00:00.6Z", "2024-01-01T00:00:00.7Z", "2024-01-01T00:00:02Z"}, []string{`("2024-01-01 00:00:01+00",b)`, `("2024-01-01 00:00:02+00",c)`}},
		"time(0)":                 {[3]string{"00:00:00.6", "00:00:00.7", "00:00:02"}, []string{"(00:00:01,b)", "(00:00:02,c)"}},
		"interval hour to minute": {[3]string{"01:02:03", "01:02:04", "02:00"}, []string{"(01:02:00,b)", "(02:00:00,c)"}},
	} {
		for _, extra := range []string{"", ", number serial"} {
			for way, copyFrom := range ways {
				pool := inSession(t, setup(t, `create domain amount as numeric(5,2)`, `create table t (k `+typ+` primary key, n text`+extra+`)`), map[string]string{"timezone": "UTC"})
				s := newSink[row]("t", true, []string{"k"})
				s.to.copyFrom = copyFrom
				rows := []row{{c.keys[0], "a"}, {c.keys[1], "b"}, {c.keys[2], "c"}}
				require.Equal(t, []dataflow.RowResult{written, written, written}, results(t, pool, s, rows...), "%s %s", typ, way)
				require.Equal(t, c.want, query(t, pool, `select k, n from t order by k`), "%s %s", typ, way)
				require.Equal(t, []dataflow.RowResult{redundant, redundant, redundant}, results(t, pool, s, rows...), "%s %s", typ, way)
				rows[1].N = "B"
				require.Equal(t, []dataflow.RowResult{updated, updated, redundant}, results(t, pool, s, rows...), "%s %s", typ, way)
			}
		}
	}
}
