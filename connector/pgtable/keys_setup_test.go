package pgtable_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/dataflowtest"
)

// copied is a schema with orders and copies of them. Tests share a database, which is much quicker.
type copied struct {
	t              *testing.T
	pool           *pgxpool.Pool
	schema         string
	orders, copies reconcile.Table
}

func newCopied(t *testing.T, pool *pgxpool.Pool, schema string, statements ...string) *copied {
	t.Helper()
	c := &copied{
		t: t, pool: pool, schema: schema,
		orders: reconcile.Table{Name: schema + ".orders", Key: []string{"id"}}, copies: reconcile.Table{Name: schema + ".copies", Key: []string{"id"}},
	}
	exec(t, pool, "create schema "+schema)
	for _, statement := range statements {
		c.exec(statement)
	}
	return c
}

// ordersOf has n orders and as many copies.
func ordersOf(t *testing.T, pool *pgxpool.Pool, schema string, n int) *copied {
	t.Helper()
	return newCopied(t, pool, schema, `create table orders (id bigint primary key)`, `create table copies (id bigint primary key, deleted_at timestamptz)`,
		fmt.Sprintf(`insert into orders select n from generate_series(1, %d) n`, n), `insert into copies select id from orders`)
}

// exec executes statements in the schema.
func (c *copied) exec(statements string) {
	c.t.Helper()
	_, err := c.pool.Exec(c.t.Context(), "begin; set local search_path = "+c.schema+", public; "+statements+"; commit", pgx.QueryExecModeSimpleProtocol)
	require.NoError(c.t, err, statements)
}

// int returns the number that a query of the schema finds.
func (c *copied) int(query string) (n int64) {
	c.t.Helper()
	tx, err := c.pool.Begin(c.t.Context())
	require.NoError(c.t, err)
	defer tx.Rollback(c.t.Context()) //nolint:errcheck // it only reads
	_, err = tx.Exec(c.t.Context(), "set local search_path = "+c.schema)
	require.NoError(c.t, err)
	require.NoError(c.t, tx.QueryRow(c.t.Context(), query).Scan(&n), query)
	return n
}

func (c *copied) compare(opts *reconcile.Options) *reconcile.Comparison {
	return reconcile.New(pgtable.Keys(c.pool, c.orders), pgtable.Keys(c.pool, c.copies), opts)
}

// goneFlow is a flow that removes what is gone in small batches.
func goneFlow(name string, c *reconcile.Comparison, to dataflow.Target[reconcile.Difference], opts dataflow.FlowOptions) *dataflow.Flow {
	opts.Runtime = dataflow.Heartbeat{BatchSize: 20}
	return dataflow.NewFlow(name, c, dataflow.Identity[reconcile.Difference](), to, &opts)
}

// deletes returns a kit whose client has another database. Its flow has the schema's name, and
// deletes what is gone.
func (c *copied) deletes(opts dataflow.FlowOptions) *dataflowtest.Kit {
	c.t.Helper()
	of := c.compare(nil)
	return dataflowtest.New(c.t, goneFlow(c.schema, of, of.Delete(), opts))
}

// differences reads a comparison from a cursor, up to so many resume points, -1 for all. It
// returns what it yields, and the last cursor.
func differences(t *testing.T, c *reconcile.Comparison, from reconcile.Cursor, marks int) (found []string, at reconcile.Cursor) {
	t.Helper()
	for item, err := range c.Read(t.Context(), dataflow.Request[reconcile.Cursor]{From: from, Resumed: from.Pass != ""}) {
		require.NoError(t, err)
		if !item.Mark {
			found = append(found, item.Key)
		}
		if item.Mark || item.Resume {
			at = item.Cursor
			if marks--; marks == 0 {
				break
			}
		}
	}
	return found, at
}

func cursorOf(t *testing.T, kit *dataflowtest.Kit, flow string) string {
	t.Helper()
	c, err := kit.Client().Cursor(t.Context(), flow)
	require.NoError(t, err)
	return string(c.Cursor)
}
