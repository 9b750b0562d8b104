package sqltable

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// bird is the record of the contract's sources and sinks.
type bird struct {
	ID    int64
	Name  string `db:"Common name"`
	Grams *float64
	Seen  int64
}

func birds(n int) []bird {
	rows := make([]bird, n)
	for i := range rows {
		rows[i] = bird{ID: int64(10 * (i + 1)), Name: fmt.Sprintf("Åse's \"%d\"\n\\", i), Seen: int64(i)}
		if i%3 > 0 {
			rows[i].Grams = new(float64)
			*rows[i].Grams = float64(i) / 8
		}
	}
	return rows
}

func hugeBird() bird { return bird{ID: 15, Name: strings.Repeat("€ \"\n", 1<<18)} }

const (
	// table has a bird's columns and a column for the order of writing. One column
	// name needs quotes. One column may be null, and a row with null there cannot
	// be read.
	table       = `create table Bird (written integer primary key autoincrement, id integer unique, "Common name" text, grams real, seen integer)`
	selectBirds = `select id, "Common name", grams, seen from Bird`
	// forever is a query that does not end.
	forever = `create view forever as with recursive n (n) as (select 1 union all select n + 1 from n) select n from n where n < 0`
	// slow makes a writer wait for ever.
	slow = `create trigger slow before insert on Bird begin select count(*) from forever; end`
)

// parts maps sources and sinks to their databases.
type parts struct{ dbs, paths sync.Map }

func (p *parts) db(part any) *sql.DB {
	db, _ := p.dbs.Load(part)
	return db.(*sql.DB) //nolint:forcetypeassert // nothing else is in it
}

// open returns how many connections a source or sink holds.
func (p *parts) open(part any) int { return p.db(part).Stats().InUse }

// filled returns a database with these birds. If bad is a valid index, a row that
// cannot be read precedes that bird.
func filled(t *testing.T, rows []bird, bad int) *sql.DB {
	t.Helper()
	db := dbtest.SQLite(t)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), table)
	require.NoError(t, err)
	const insert = `insert into Bird (id, "Common name", grams, seen) values (?, ?, ?, ?)`
	for _, r := range rows {
		_, err = tx.ExecContext(t.Context(), insert, r.ID, r.Name, r.Grams, r.Seen)
		require.NoError(t, err)
	}
	if bad >= 0 {
		_, err = tx.ExecContext(t.Context(), insert, 10*bad+5, "nobody", 1, nil)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	return db
}

func TestKeyset_Contract(t *testing.T) {
	t.Parallel()
	type source = dataflow.Source[bird, Cursor]
	for name, q := range map[string]Query{
		"Pages":     {SQL: selectBirds, Key: []string{"id"}, PageSize: 4},
		"Composite": {SQL: `select *, id / 50 as place from (` + selectBirds + `) b`, Key: []string{"place", "id"}, PageSize: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &parts{}
			of := func(db *sql.DB, q Query) source {
				src := Keyset[bird](db, q)
				p.dbs.Store(src, db)
				return src
			}
			connectortest.TestSource(t, connectortest.SourceConfig[bird, Cursor]{
				Make:    func(t *testing.T, rows []bird) source { t.Helper(); return of(filled(t, rows, -1), q) },
				MakeBad: func(t *testing.T, rows []bird, at int) source { t.Helper(); return of(filled(t, rows, at), q) },
				Rows:    birds,
				Huge:    func() bird { b := hugeBird(); b.ID = 20; return b },
				Waiting: func(t *testing.T) source {
					t.Helper()
					return of(setup(t, forever), Query{SQL: `select n as id, '' as "Common name", 1.0 as grams, n as seen from forever`, Key: []string{"id"}})
				},
				Open: func(src source) int { return p.open(src) },
			})
		})
	}
}

func TestSelect_Contract(t *testing.T) {
	t.Parallel()
	type source = dataflow.Source[bird, dataflow.NoCursor]
	p := &parts{}
	of := func(db *sql.DB, query string) source {
		db.SetMaxOpenConns(2)
		src := Select[bird](db, query)
		p.dbs.Store(src, db)
		return src
	}
	ordered := selectBirds + ` order by id`
	connectortest.TestSource(t, connectortest.SourceConfig[bird, dataflow.NoCursor]{
		Make:    func(t *testing.T, rows []bird) source { t.Helper(); return of(filled(t, rows, -1), ordered) },
		MakeBad: func(t *testing.T, rows []bird, at int) source { t.Helper(); return of(filled(t, rows, at), ordered) },
		Rows:    birds,
		Huge:    func() bird { b := hugeBird(); b.ID = 20; return b },
		Waiting: func(t *testing.T) source {
			t.Helper()
			return of(setup(t, forever), `select n as id, '' as "Common name", 1.0 as grams, n as seen from forever`)
		},
		Open: func(src source) int { return p.open(src) },
	})
}

// telling writes as the engine does with a sink that reports the outcome of its
// rows.
type telling struct{ upsertSink[bird] }

func (s telling) WriteTx(ctx context.Context, rows []bird) error {
	return s.WriteResultTx(ctx, rows, make([]dataflow.RowResult, len(rows)))
}

func TestSink_Contract(t *testing.T) {
	t.Parallel()
	type txSink = dataflow.TxSink[bird]
	for name, newSink := range map[string]func() txSink{
		"Insert":           func() txSink { return newSink[bird]("Bird", false, nil) },
		"Upsert":           func() txSink { return newSink[bird]("main.Bird", true, []string{"id"}) },
		"UpsertAndResults": func() txSink { return telling{upsertSink[bird]{newSink[bird]("Bird", true, []string{"id"})}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &parts{}
			connectortest.TestTxSink(t, connectortest.SinkConfig[txSink, bird]{
				Make: func(t *testing.T) (txSink, func() []bird) {
					t.Helper()
					s, db := newSink(), setup(t, table)
					p.dbs.Store(s, db)
					return s, inOrder(t, db)
				},
				Rows: birds,
				Huge: hugeBird,
				Waiting: func(t *testing.T) txSink {
					t.Helper()
					s := newSink()
					p.dbs.Store(s, setup(t, table, forever, slow))
					return s
				},
				Open: func(s txSink) int { return p.open(s) },
				InTx: func(ctx context.Context, s txSink, f func(context.Context) error) error {
					return inTx(ctx, storeOf(t, p.db(s)), f)
				},
			})
		})
	}
}

func TestFencedSink_Contract(t *testing.T) {
	t.Parallel()
	type fenced = dataflow.FencedSink[bird]
	for name, newSink := range map[string]func() *sink[bird]{
		"Insert": func() *sink[bird] { return newSink[bird]("Bird", false, nil) },
		"Upsert": func() *sink[bird] { return newSink[bird]("main.Bird", true, []string{"id"}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &parts{}
			on := func(t *testing.T, path string, statements ...string) (fenced, *sql.DB) {
				t.Helper()
				db := dbtest.OpenSQLite(t, path)
				for _, statement := range statements {
					_, err := db.ExecContext(t.Context(), statement)
					require.NoError(t, err, statement)
				}
				s := &fencedSink[bird]{sink: newSink(), db: db}
				p.dbs.Store(s, db)
				return s, db
			}
			connectortest.TestFencedSink(t, connectortest.SinkConfig[fenced, bird]{
				Make: func(t *testing.T) (fenced, func() []bird) {
					t.Helper()
					path := dbtest.SQLitePath(t)
					s, db := on(t, path, table)
					p.paths.Store(s, path)
					return s, inOrder(t, db)
				},
				Rows: birds,
				Huge: hugeBird,
				Waiting: func(t *testing.T) fenced {
					t.Helper()
					s, _ := on(t, dbtest.SQLitePath(t), table, forever, slow)
					return s
				},
				Open: func(s fenced) int { return p.open(s) },
				Reopen: func(t *testing.T, s fenced) fenced {
					t.Helper()
					path, _ := p.paths.Load(s)
					again, _ := on(t, path.(string)) //nolint:forcetypeassert // nothing else is in it
					return again
				},
			})
		})
	}
}

// inOrder reads the birds in the order in which they were written.
func inOrder(t *testing.T, db *sql.DB) func() []bird {
	t.Helper()
	return func() []bird {
		rows, err := db.QueryContext(t.Context(), selectBirds+" order by written")
		require.NoError(t, err)
		defer func() { require.NoError(t, rows.Close()) }()
		var all []bird
		for rows.Next() {
			var b bird
			require.NoError(t, rows.Scan(&b.ID, &b.Name, &b.Grams, &b.Seen))
			all = append(all, b)
		}
		require.NoError(t, rows.Err())
		return all
	}
}

// inTx runs f in a transaction like a checkpoint's. The begin ignores ctx, so that
// the sink itself must notice that ctx is cancelled.
func inTx(ctx context.Context, store dataflow.Store, f func(context.Context) error) error {
	return store.InTx(context.WithoutCancel(ctx), func(within context.Context, _ dataflow.Tx) error {
		return f(inContext{ctx, within}) //nolint:contextcheck // that is its purpose
	})
}

// inContext has the values of one context and ends with another.
type inContext struct {
	context.Context //nolint:containedctx // it is one itself
	values          context.Context
}

func (c inContext) Value(key any) any { return c.values.Value(key) }
