package pgtable

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
)

// XID8 leaves the rows to a later read that were written by a transaction that
// is not older than all open ones. It needs a column that holds the ID of the
// row's transaction, an index, no permissions, and Postgres 13:
//
//	alter table orders add txid xid8 not null default pg_current_xact_id()
//	create index on orders (txid, id)
//
// The column is the first of the key, as in Key: []string{"txid", "id"}. To
// leave out the young transactions and to order by the id alone would not do: an
// id may be taken by a transaction that is younger than that of the id after it.
//
// Adding the column rewrites the table. The default sets it for new rows. If
// changed rows are to be read again, each update sets it, or a trigger does.
//
// The IDs are those of one server. Where rows were restored from a dump, or come
// by logical replication, set the column to pg_current_xact_id() once more.
type XID8 struct {
	// Column is the name of the column. It must be given.
	Column string
}

const xidQuery = `select pg_snapshot_xmin(pg_current_snapshot())::text, pg_is_in_recovery()`

func (g XID8) String() string { return "xid8 " + g.Column }

func (g XID8) validate(key []string) error {
	switch {
	case g.Column == "":
		return badGuard("XID8.Column is empty: name the column of type xid8 that holds the row's transaction")
	case len(key) > 0 && key[0] != g.Column:
		return badGuard("XID8.Column %q is not the first of Query.Key (%q is): an id alone does not order rows as they are committed, so use Key: []string{%q, …}", g.Column, key[0], g.Column)
	}
	return nil
}

func (g XID8) cast(first keyColumn) (string, error) {
	if first.DataTypeOID != pgtype.XID8OID {
		return "", fmt.Errorf("key column %q is of type %s, and pgtable.XID8 needs one of type xid8 with the default pg_current_xact_id()", first.Name, typeName(first.DataTypeOID))
	}
	return "%s::xid8", nil
}

func (g XID8) horizon(ctx context.Context, r readStart) (horizon, error) {
	var oldest string
	var recovery bool
	if err := r.pool.QueryRow(ctx, xidQuery).Scan(&oldest, &recovery); err != nil {
		return horizon{}, fmt.Errorf("ask for the oldest open transaction: %w", err)
	}
	return horizon{limit: oldest}, checkCursor(r.from, oldest, recovery)
}

// checkCursor refuses a cursor that no read of XID8 can have left behind. With
// it rows would be missed.
func checkCursor(from Cursor, oldest string, recovery bool) error {
	if from == nil {
		return nil
	}
	limit, err := strconv.ParseUint(oldest, 10, 64)
	if err != nil {
		return fmt.Errorf("transaction %q: %w", oldest, err)
	}
	// Postgres 15 takes any text for an xid8.
	last, err := strconv.ParseUint(from[0], 10, 64)
	if err != nil {
		return dataflow.Permanent(fmt.Errorf("the stored cursor %s does not begin with a transaction ID: restore the key that it was written with, or give the changed flow a new name", from))
	}
	// A standby may be behind the server that the cursor is from.
	if last >= limit && !recovery {
		return fmt.Errorf("the stored cursor %s is not before transaction %s, the oldest that may be open, and pgtable.XID8 reads no further than that: "+
			"if the database was restored from a dump or has lost transactions, give the flow a new name; if the flow ran without the guard, wait for that transaction to end", from, oldest)
	}
	return nil
}
