package pgtable

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// inOrder reads the birds in the order in which they were written.
func inOrder(t *testing.T, pool *pgxpool.Pool) func() []bird {
	t.Helper()
	return func() []bird {
		rows, err := pool.Query(t.Context(), selectBirds+" order by written")
		require.NoError(t, err)
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[bird])
		require.NoError(t, err)
		return all
	}
}

// lock blocks all writers until the test ends.
func lock(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	_, err = tx.Exec(t.Context(), `lock table "Bird"`)
	require.NoError(t, err)
}

// birdSinks are the ways of writing birds.
func birdSinks() map[string]func() *sink[bird] {
	return map[string]func() *sink[bird]{
		"Insert": func() *sink[bird] { return newSink[bird]("Bird", false, nil) },
		"Copy": func() *sink[bird] {
			s := newSink[bird]("Bird", false, nil)
			s.to.copyFrom = 1
			return s
		},
		"Upsert": func() *sink[bird] { return newSink[bird]("Bird", true, []string{"id"}) },
		"UpsertByCopy": func() *sink[bird] {
			s := newSink[bird]("Bird", true, []string{"id"})
			s.to.copyFrom = 1
			return s
		},
	}
}

// telling writes as the engine does with a sink that reports the outcome of its
// rows.
type telling struct{ *upsertSink[bird] }

func (s telling) WriteTx(ctx context.Context, rows []bird) error {
	return s.WriteResultTx(ctx, rows, make([]dataflow.RowResult, len(rows)))
}

func TestSink_Contract(t *testing.T) {
	t.Parallel()
	type txSink = dataflow.TxSink[bird]
	parts := map[string]func() txSink{"Batch": func() txSink { return newBatch(queueBird) }}
	for name, newSink := range birdSinks() {
		parts[name] = func() txSink {
			s := newSink()
			if s.to.upsert {
				return telling{reporting(s)}
			}
			return s
		}
	}
	for name, newSink := range parts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlaces(t)
			on := func(pool *pgxpool.Pool) txSink {
				part := newSink()
				p.pools.Store(part, pool)
				return part
			}
			connectortest.TestTxSink(t, connectortest.SinkConfig[txSink, bird]{
				Make: func(t *testing.T) (txSink, func() []bird) {
					t.Helper()
					pool := p.pool(t, table)
					return on(pool), inOrder(t, pool)
				},
				Rows: birds,
				Huge: hugeBird,
				Waiting: func(t *testing.T) txSink {
					t.Helper()
					pool := p.pool(t, table)
					lock(t, p.beside(t, pool))
					return on(pool)
				},
				Open: func(s txSink) int { return p.open(t, s) },
				InTx: func(ctx context.Context, s txSink, f func(context.Context) error) error {
					pool, _ := p.pools.Load(s)
					store, err := dataflowpgx.New(pool.(*pgxpool.Pool)).Store(dataflow.StoreOptions{})
					require.NoError(t, err)
					return inTx(ctx, store, f)
				},
			})
		})
	}
}

// queueBird writes a bird with the caller's own statement.
func queueBird(b *pgx.Batch, row bird) error {
	b.Queue(`insert into "Bird" values ($1, $2, $3, $4)`, row.ID, row.Name, row.Grams, row.Seen)
	return nil
}

func TestFencedSink_Contract(t *testing.T) {
	t.Parallel()
	type fenced = dataflow.FencedSink[bird]
	parts := map[string]func() rowWriter[bird]{"Batch": func() rowWriter[bird] { return newBatch(queueBird) }}
	for name, newSink := range birdSinks() {
		parts[name] = func() rowWriter[bird] { return newSink() }
	}
	for name, newSink := range parts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlaces(t)
			on := func(pool *pgxpool.Pool) fenced {
				s := newFenced[bird](pool, newSink())
				p.pools.Store(s, pool)
				return s
			}
			connectortest.TestFencedSink(t, connectortest.SinkConfig[fenced, bird]{
				Make: func(t *testing.T) (fenced, func() []bird) {
					t.Helper()
					pool := p.pool(t, table)
					return on(pool), inOrder(t, pool)
				},
				Rows: birds,
				Huge: hugeBird,
				Waiting: func(t *testing.T) fenced {
					t.Helper()
					pool := p.pool(t, table, CheckpointTable)
					lock(t, p.beside(t, pool))
					return on(pool)
				},
				Open: func(s fenced) int { return p.open(t, s) },
				Reopen: func(t *testing.T, s fenced) fenced {
					t.Helper()
					return on(p.beside(t, s.(*fencedSink[bird]).pool)) //nolint:forcetypeassert // it is of Make
				},
			})
		})
	}
}
