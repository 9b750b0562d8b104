package pgtable

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

// foreignQuery finds a foreign table among the partitions of a table, or among the tables of a view, and whether
// another of them is local.
const foreignQuery = `
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
select whole.relkind::text = 'v', min(part.oid::regclass::text), exists (select from part where relkind in ('r', 'm'))
from part join pg_catalog.pg_class whole on whole.oid = $1::bigint::oid
where part.relkind = 'f' group by 1`

// checkForeign refuses the default guard for the rows of another server: a transaction that is open there is not
// seen here.
func (r *reader) checkForeign(ctx context.Context) error {
	var view, local bool
	var table string
	err := r.pool.QueryRow(ctx, foreignQuery, int64(r.keys[0].TableOID)).Scan(&view, &table, &local)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for foreign tables: %w", err)
	case view && local: // the key may be of the local table
		return nil
	}
	return dataflow.Permanent(fmt.Errorf("the key (%s) is of the foreign table %s, and this server does not see the open transactions of the server that has its rows: a row that is committed late there would never be read: "+
		"read from that server, or set Query.LateCommits to pgtable.Lag, or to pgtable.OpenTransactions{} if all writers write through this server", r.query.Key[0], table))
}
