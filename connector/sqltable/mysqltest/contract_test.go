//go:build unix

package mysqltest

import (
	"database/sql"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
	"github.com/activedataflow/dataflow/connector/sqltable"
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
		rows[i] = bird{ID: int64(10 * (i + 1)), Name: fmt.Sprintf("Åse's \"%d\"\n\\`", i), Seen: int64(i)}
		if i%3 > 0 {
			rows[i].Grams = new(float64)
			*rows[i].Grams = float64(i) / 8
		}
	}
	return rows
}

func hugeBird() bird { return bird{ID: 20, Name: strings.Repeat("€ \"\n", 1<<18)} }

const (
	// table has a bird's columns and a column for the order of writing. One column
	// name needs quotes. One column may be null, and a row with null there cannot
	// be read.
	table       = "create table Bird (written bigint auto_increment primary key, id bigint unique, `Common name` longtext, grams double, seen bigint)"
	selectBirds = "select id, `Common name`, grams, seen from Bird"
)

// parts maps sources and sinks to their databases.
type parts struct{ dbs, configs sync.Map }

// open returns how many connections a source or sink holds.
func (p *parts) open(part any) int {
	db, _ := p.dbs.Load(part)
	return db.(*sql.DB).Stats().InUse
}

// filled returns a database with these birds. If bad is a valid index, a row that
// cannot be read precedes that bird.
func filled(t *testing.T, rows []bird, bad int) *sql.DB {
	t.Helper()
	db := setup(t, table)
	for chunk := range slices.Chunk(rows, 500) {
		var args []any
		for _, r := range chunk {
			args = append(args, r.ID, r.Name, r.Grams, r.Seen)
		}
		_, err := db.ExecContext(t.Context(), "insert into Bird (id, `Common name`, grams, seen) values (?, ?, ?, ?)"+strings.Repeat(", (?, ?, ?, ?)", len(chunk)-1), args...)
		require.NoError(t, err)
	}
	if bad >= 0 {
		_, err := db.ExecContext(t.Context(), "insert into Bird (id, `Common name`) values (?, 'nobody')", 10*bad+5)
		require.NoError(t, err)
	}
	return db
}

// locked returns a database whose table is locked against others.
func locked(t *testing.T) *sql.DB {
	t.Helper()
	c := config(t)
	db := opened(t, c)
	execAll(t, db, table)
	other := opened(t, c) // this connection is closed first
	other.SetMaxOpenConns(1)
	execAll(t, other, "lock tables Bird write")
	return db
}

func TestKeyset_Contract(t *testing.T) {
	t.Parallel()
	type source = dataflow.Source[bird, sqltable.Cursor]
	for name, q := range map[string]sqltable.Query{
		"Pages":     {SQL: selectBirds, Key: []string{"id"}, PageSize: 4},
		"Composite": {SQL: `select b.*, id div 50 as place from (` + selectBirds + `) b`, Key: []string{"place", "id"}, PageSize: 3},
		"Text":      {SQL: `select b.*, convert(lpad(id, 9, '0') using utf8mb4) as place from (` + selectBirds + `) b`, Key: []string{"place"}, PageSize: 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &parts{}
			of := func(db *sql.DB) source {
				src := sqltable.Keyset[bird](db, q)
				p.dbs.Store(src, db)
				return src
			}
			connectortest.TestSource(t, connectortest.SourceConfig[bird, sqltable.Cursor]{
				Make:    func(t *testing.T, rows []bird) source { t.Helper(); return of(filled(t, rows, -1)) },
				MakeBad: func(t *testing.T, rows []bird, at int) source { t.Helper(); return of(filled(t, rows, at)) },
				Rows:    birds,
				Huge:    hugeBird,
				Waiting: func(t *testing.T) source { t.Helper(); return of(locked(t)) },
				Open:    func(src source) int { return p.open(src) },
			})
		})
	}
}

func TestSelect_Contract(t *testing.T) {
	t.Parallel()
	type source = dataflow.Source[bird, dataflow.NoCursor]
	p := &parts{}
	of := func(db *sql.DB) source {
		src := sqltable.Select[bird](db, selectBirds+` order by id`)
		p.dbs.Store(src, db)
		return src
	}
	connectortest.TestSource(t, connectortest.SourceConfig[bird, dataflow.NoCursor]{
		Make:    func(t *testing.T, rows []bird) source { t.Helper(); return of(filled(t, rows, -1)) },
		MakeBad: func(t *testing.T, rows []bird, at int) source { t.Helper(); return of(filled(t, rows, at)) },
		Rows:    birds,
		Huge:    hugeBird,
		Waiting: func(t *testing.T) source { t.Helper(); return of(locked(t)) },
		Open:    func(src source) int { return p.open(src) },
	})
}

// fencedOf returns the sink in a target. Normally only the engine uses that sink.
func fencedOf[T any](target dataflow.Target[T]) dataflow.FencedSink[T] {
	field := reflect.ValueOf(&target).Elem().FieldByName("of").FieldByName("sink")
	return (*(*any)(unsafe.Pointer(field.UnsafeAddr()))).(dataflow.FencedSink[T])
}

func TestFencedSink_Contract(t *testing.T) {
	t.Parallel()
	type fenced = dataflow.FencedSink[bird]
	for name, target := range map[string]func(db *sql.DB) dataflow.Target[bird]{
		"Insert": func(db *sql.DB) dataflow.Target[bird] { return sqltable.InsertTo[bird](db, "Bird") },
		"Upsert": func(db *sql.DB) dataflow.Target[bird] { return sqltable.UpsertTo[bird](db, "Bird", "id") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &parts{}
			on := func(db *sql.DB) fenced {
				s := fencedOf(target(db))
				p.dbs.Store(s, db)
				return s
			}
			connectortest.TestFencedSink(t, connectortest.SinkConfig[fenced, bird]{
				Make: func(t *testing.T) (fenced, func() []bird) {
					t.Helper()
					c := config(t)
					db := opened(t, c)
					execAll(t, db, table)
					s := on(db)
					p.configs.Store(s, c)
					return s, inOrder(t, db)
				},
				Rows:    birds,
				Huge:    hugeBird,
				Waiting: func(t *testing.T) fenced { t.Helper(); return on(locked(t)) },
				Open:    func(s fenced) int { return p.open(s) },
				Reopen: func(t *testing.T, s fenced) fenced {
					t.Helper()
					c, _ := p.configs.Load(s)
					return on(opened(t, c.(*mysql.Config)))
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
