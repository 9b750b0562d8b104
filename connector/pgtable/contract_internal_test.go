package pgtable

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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

// table has a bird's columns and a column for the order of writing. One column name
// needs quotes. One column may be null, and a row with null there cannot be read.
const table = `create table "Bird" (id bigint primary key, "Common name" text, grams float8, seen bigint, written bigint generated always as identity)`

// places creates schemas in one database. Each has its own pool, which does not see
// the others.
type places struct {
	url   string
	pools sync.Map // from a source or sink to its pool
}

var schemas atomic.Int64

func newPlaces(t *testing.T) *places {
	t.Helper()
	return &places{url: dbtest.PostgresURL(t)}
}

func (p *places) pool(t *testing.T, statements ...string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(p.url)
	require.NoError(t, err)
	schema := fmt.Sprintf("place_%d", schemas.Add(1))
	config.ConnConfig.RuntimeParams["search_path"] = schema
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	for _, statement := range append([]string{"create schema " + schema}, statements...) {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return pool
}

// beside returns another pool for the same schema.
func (*places) beside(t *testing.T, of *pgxpool.Pool) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), of.Config())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// open returns how many connections a source or sink holds. It waits while the pool
// closes a broken one in the background, for which pgx takes up to 15 s.
func (p *places) open(t *testing.T, part any) int {
	t.Helper()
	pool, _ := p.pools.Load(part)
	stat := pool.(*pgxpool.Pool).Stat //nolint:forcetypeassert // nothing else is in it
	require.Eventually(t, func() bool { return stat().AcquiredConns() == 0 }, 2*time.Minute, time.Millisecond)
	return 0
}

// filled returns a pool of a schema with these birds. If bad is a valid index, a
// row that cannot be read precedes that bird.
func (p *places) filled(t *testing.T, rows []bird, bad int) *pgxpool.Pool {
	t.Helper()
	pool := p.pool(t, table)
	columns := []string{"id", "Common name", "grams", "seen"}
	_, err := pool.CopyFrom(t.Context(), pgx.Identifier{"Bird"}, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		return []any{rows[i].ID, rows[i].Name, rows[i].Grams, rows[i].Seen}, nil
	}))
	require.NoError(t, err)
	if bad >= 0 {
		_, err := pool.Exec(t.Context(), `insert into "Bird" values ($1, 'nobody', 1, null)`, 10*bad+5)
		require.NoError(t, err)
	}
	return pool
}

const selectBirds = `select id, "Common name", grams, seen from "Bird"`

func TestKeyset_Contract(t *testing.T) {
	t.Parallel()
	type source = dataflow.Source[bird, Cursor]
	for name, q := range map[string]Query{
		"OnePage":   {SQL: selectBirds, Key: []string{"id"}},
		"Pages":     {SQL: selectBirds, Key: []string{"id"}, PageSize: 4},
		"Composite": {SQL: `select *, id / 50 as place from (` + selectBirds + `) b`, Key: []string{"place", "id"}, PageSize: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlaces(t)
			of := func(t *testing.T, rows []bird, bad int) source {
				t.Helper()
				pool := p.filled(t, rows, bad)
				src := Keyset[bird](pool, q)
				p.pools.Store(src, pool)
				return src
			}
			connectortest.TestSource(t, connectortest.SourceConfig[bird, Cursor]{
				Make:    func(t *testing.T, rows []bird) source { t.Helper(); return of(t, rows, -1) },
				MakeBad: func(t *testing.T, rows []bird, at int) source { t.Helper(); return of(t, rows, at) },
				Rows:    birds,
				Huge:    func() bird { b := hugeBird(); b.ID = 20; return b },
				Waiting: func(t *testing.T) source {
					t.Helper()
					pool := p.pool(t)
					src := Keyset[bird](pool, Query{SQL: `select 1::bigint as id, '' as "Common name", 1::float8 as grams, 1::bigint as seen from pg_sleep(600)`, Key: []string{"id"}})
					p.pools.Store(src, pool)
					return src
				},
				Open: func(src source) int { return p.open(t, src) },
				Many: map[int]int{1: 1100}[q.PageSize], // as many queries
			})
		})
	}
}

func TestSelect_Contract(t *testing.T) {
	t.Parallel()
	type source = dataflow.Source[bird, dataflow.NoCursor]
	p := newPlaces(t)
	of := func(t *testing.T, rows []bird, bad int) source {
		t.Helper()
		pool := p.filled(t, rows, bad)
		src := Select[bird](pool, selectBirds+` where id > $1 order by id`, 0)
		p.pools.Store(src, pool)
		return src
	}
	connectortest.TestSource(t, connectortest.SourceConfig[bird, dataflow.NoCursor]{
		Make:    func(t *testing.T, rows []bird) source { t.Helper(); return of(t, rows, -1) },
		MakeBad: func(t *testing.T, rows []bird, at int) source { t.Helper(); return of(t, rows, at) },
		Rows:    birds,
		Huge:    func() bird { b := hugeBird(); b.ID = 20; return b },
		Waiting: func(t *testing.T) source {
			t.Helper()
			pool := p.pool(t)
			src := Select[bird](pool, `select 1::bigint as id, '' as "Common name", 1::float8 as grams, 1::bigint as seen from pg_sleep(600)`)
			p.pools.Store(src, pool)
			return src
		},
		Open: func(src source) int { return p.open(t, src) },
	})
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
