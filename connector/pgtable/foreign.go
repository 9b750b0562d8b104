package pgtable

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

// outsideQuery finds a foreign table or a materialized view among the partitions of a table, or among the tables of a
// view, and whether another of them is a table of this server.
const outsideQuery = `
with recursive part as (
	select c.oid, c.relkind from pg_catalog.pg_class c where c.oid = $1::bigint::oid
	union
	select c.oid, c.relkind from part p join pg_catalog.pg_class c on c.oid in (
		select inhrelid from pg_catalog.pg_inherits where inhparent = p.oid
		union all
		select d.refobjid from pg_catalog.pg_rewrite w join pg_catalog.pg_depend d
			on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_catalog.pg_class'::regclass
		where w.ev_class = p.oid and p.relkind = 'v')
)
select whole.relkind = 'v' and exists (select from part where relkind = 'r'), part.oid::regclass::text, part.relkind = 'm'
from part join pg_catalog.pg_class whole on whole.oid = $1::bigint::oid
where part.relkind in ('f', 'm') order by part.relkind, part.oid limit 1`

// checkOutside refuses guards that cannot see when the rows come: the default for those of another server, of which a
// transaction that is open there is not seen here, and each that looks at transactions for those of a materialized view.
func (r *reader) checkOutside(ctx context.Context) error {
	var perhaps, refreshed bool
	var table string
	err := r.pool.QueryRow(ctx, outsideQuery, int64(r.keys[0].TableOID)).Scan(&perhaps, &table, &refreshed)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return inTheWay(fmt.Errorf("look for foreign tables: %w", err))
	case perhaps: // the key may be of the local table
		return nil
	case refreshed:
		return dataflow.Permanent(fmt.Errorf("the key (%s) is of the materialized view %s, whose rows come when it is refreshed: a row that was committed late, after a refresh, would never be read: "+
			"read from the tables of the view, or set Query.LateCommits to pgtable.Lag, by more than the time between two refreshes and the longest transaction together, or to pgtable.Unguarded{} if no row is committed late", r.query.Key[0], table))
	case r.guard != nil:
		return nil
	}
	return dataflow.Permanent(fmt.Errorf("the key (%s) is of the foreign table %s, and this server does not see the open transactions of the server that has its rows: a row that is committed late there would never be read: "+
		"read from that server, or set Query.LateCommits to pgtable.Lag, or to pgtable.OpenTransactions{} if all writers write through this server", r.query.Key[0], table))
}

// compareHere lets this server alone compare and sort the keys, if some of the rows are those of another server. That one
// may have other collations. If one of the two compares with a cursor and the other sorts, rows are lost.
func (r *reader) compareHere(ctx context.Context) error {
	whole := *r.unbounded()
	rows, err := r.pool.Query(ctx, "explain (format json) "+whole.query.DescribeQuery(), whole.args...)
	if err != nil {
		return inTheWay(fmt.Errorf("look for foreign tables: %w", err))
	}
	plan, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]byte])
	if err != nil {
		return inTheWay(fmt.Errorf("look for foreign tables: %w", err))
	}
	if bytes.Contains(plan, []byte(`"Foreign Scan"`)) {
		whole.query.Fenced = true
		r.restrict(&whole, r.until)
	}
	return nil
}
