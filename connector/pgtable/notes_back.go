package pgtable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// lastNumberQuery asks for the last number that the sequence of a column has given.
const lastNumberQuery = `
select coalesce(pg_catalog.pg_sequence_last_value(s.seqrelid), s.seqstart - 1)
from pg_catalog.pg_sequence s
where s.seqincrement > 0 and pg_catalog.has_sequence_privilege(s.seqrelid, 'usage, select') and s.seqrelid in (
	select objid from pg_catalog.pg_depend
	where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass and refobjid = $1::bigint::oid and refobjsubid = $2 and deptype in ('a', 'i'))
order by 1 desc limit 1`

// setBackNote is about a sequence whose numbers begin anew before the cursor, as after "truncate …
// restart identity": no row is there any more from the cursor on.
func (r *reader) setBackNote(ctx context.Context, from Cursor) ([]string, error) {
	key := r.keys[0]
	if len(from) == 0 || r.whole != nil || key.TableOID == 0 || !slices.Contains([]uint32{pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID}, key.DataTypeOID) {
		return nil, nil
	}
	values, _ := rowmap.Place(from)
	at, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil {
		return nil, nil // the read says what is wrong with it
	}
	var last int64
	err = r.pool.QueryRow(ctx, lastNumberQuery, int64(key.TableOID), int16(key.TableAttributeNumber)).Scan(&last)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && last >= at:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look up the sequence of the key: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	whole, follows := r.unbounded(), false
	args := append(slices.Clone(whole.args), at)
	query := "select exists (select" + whole.query.From() + " where " + rowmap.Qualified(r.query.Key)[0] + " >= $" + strconv.Itoa(len(args)) + "::bigint)"
	err = r.pool.QueryRow(within, query, args...).Scan(&follows)
	switch {
	case within.Err() != nil && ctx.Err() == nil: // it is not known
		return nil, nil
	case err != nil || follows:
		return nil, err
	}
	return []string{fmt.Sprintf("the sequence of key column %q is at %d, before the cursor %d, so that rows that get its numbers now are never read: the table was truncated with \"restart identity\", or the sequence was set back: "+
		"set the cursor to the beginning (dataflow cursor set FLOW --beginning), or the sequence after the cursor", r.query.Key[0], last, at)}, nil
}
