package pgtable

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
)

// XID8 reads only rows written by a transaction that is older than all open ones.
// It needs Postgres 13, no permissions, an index, and a column with the ID of the
// row's transaction:
//
//	alter table orders add txid xid8 not null default pg_current_xact_id()
//	create index on orders (txid, id)
//
// The column must be the first of the key, as in Key: []string{"txid", "id"}. It is
// not enough to skip the rows of young transactions and order by the id alone: a
// younger transaction may take a smaller id.
//
// Adding the column rewrites the table. The default sets it for new rows. To read
// changed rows again, set it in each update, or by a trigger.
//
// The IDs belong to one server. After rows were restored from a dump, or arrived by
// logical replication, set the column to pg_current_xact_id() again.
type XID8 struct {
	// Column is the name of the column. Required.
	Column string

	// Patience is the longest time for which one transaction may hold rows back.
	// After that, a read ends after the last row that it may read, with an error
	// that names the transaction. 0 means an hour; negative means for ever. There is no
	// such error on a standby, nor for a role that may not see when the transaction
	// began, for which it needs pg_read_all_stats.
	Patience time.Duration
}

// xidQuery asks for the oldest transaction that may be open, and for who has it. A role that may not
// see the sessions of others sees neither their state nor when they began.
const xidQuery = `
with snapshot as materialized (
	select pg_snapshot_xmin(s) as oldest, pg_snapshot_xmax(s) as next from pg_current_snapshot() s
)
select oldest::text, next::text, oldest < next, pg_is_in_recovery(), ` + serverID + `,
	(extract(epoch from clock_timestamp()) * 1000000)::bigint, coalesce(by, ''), (extract(epoch from since) * 1000000)::bigint
from snapshot
left join lateral (
	select format('the transaction of process %s, role "%s", application "%s", in the database "%s"%s', pid, usename, application_name, datname, ', which is ' || state) as by, xact_start as since
	from pg_catalog.pg_stat_activity
	where oldest < next and backend_xid::text = (oldest::text::numeric % 4294967296)::text
	union all
	select format('the prepared transaction "%s" of role "%s", in the database "%s"', gid, owner, database), prepared
	from pg_catalog.pg_prepared_xacts
	where oldest < next and transaction::text = (oldest::text::numeric % 4294967296)::text
	limit 1
) holder on true`

func (g XID8) String() string { return "xid8 " + g.Column }

func (g XID8) validate(key []string) error {
	switch {
	case g.Column == "":
		return badGuard("XID8.Column is empty: name the column of type xid8 that holds the row's transaction")
	case len(key) > 0 && key[0] != g.Column:
		return badGuard("XID8.Column %q is not the first of Query.Key (%q is): an id alone does not order rows by their commits: use Key: []string{%q, …}", g.Column, key[0], g.Column)
	}
	return nil
}

func (g XID8) cast(first keyColumn) (string, error) {
	if first.DataTypeOID != pgtype.XID8OID {
		return "", fmt.Errorf("key column %q is of type %s, but pgtable.XID8 needs type xid8 with the default pg_current_xact_id(): begin the key with such a column", first.Name, typeName(first.DataTypeOID))
	}
	return "%s::xid8", nil
}

func (g XID8) horizon(ctx context.Context, r readStart) (horizon, error) {
	var oldest, next, by string
	var open, recovery bool
	var server, clock int64
	var since *int64
	if err := r.pool.QueryRow(ctx, xidQuery).Scan(&oldest, &next, &open, &recovery, &server, &clock, &by, &since); err != nil {
		return horizon{}, inTheWay(fmt.Errorf("ask for the oldest open transaction: %w", err))
	}
	h := horizon{limit: oldest, server: server}
	if open {
		h.held = &held{by: by, asked: time.UnixMicro(clock), upTo: next, patience: g.Patience}
		switch {
		case by != "":
		case recovery:
			h.held.by = "transaction " + oldest + " of the primary"
		default:
			h.held.by = "transaction " + oldest
		}
		if since != nil {
			h.held.since = time.UnixMicro(*since)
		}
	}
	return h, checkCursor(r.from, oldest, recovery)
}

// checkCursor returns an error for a cursor that no read with XID8 can have stored.
// Reading on from it would miss rows.
func checkCursor(from Cursor, oldest string, recovery bool) error {
	if from == nil {
		return nil
	}
	limit, err := strconv.ParseUint(oldest, 10, 64)
	if err != nil {
		return fmt.Errorf("transaction %q: %w", oldest, err)
	}
	// Postgres 15 accepts any text as an xid8.
	last, err := strconv.ParseUint(from[0], 10, 64)
	if err != nil {
		return dataflow.Permanent(fmt.Errorf("the stored cursor %s does not begin with a transaction ID: restore the old key, or give the changed flow a new name", from))
	}
	// A standby may lag behind the server from which the cursor comes.
	if last >= limit && !recovery {
		return fmt.Errorf("the stored cursor %s is not before transaction %s, the oldest that may be open, but pgtable.XID8 never reads that far: "+
			"if the database was restored from a dump or has lost transactions, give the flow a new name; if the flow ran without the guard, wait for that transaction to end", from, oldest)
	}
	return nil
}
