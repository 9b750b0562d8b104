package pgchange

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// fetch reads large values (TOAST) from the table that a change left alone, so that Postgres does not
// send them, and that the target lacks too. There are two such changes:
//
//   - an update after which the row passes the publication's filter is sent as an insert
//   - an update during the load may give a row that is not loaded yet a key that the load has passed
//
// If the row is gone by now, a later change removes it from the target, or gives it another key. So
// with a filter, each change of a key is looked up.
func (r *reader[T]) fetch(ctx context.Context, rel *relation[T], op pgtable.ChangeOp, before tuple, after *tuple) (gone bool, err error) {
	moves := op == pgtable.ChangeUpdate && before.values != nil && (rel.of.filter != "" || !r.pos.isLoaded(rel.of))
	if op != pgtable.ChangeInsert && !moves || len(rel.absent(*after)) == len(rel.missing) {
		return false, nil
	}
	began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	for {
		seen, found, err := r.fetchRow(ctx, rel, after)
		switch {
		case sqlstate.Has(err, "42P01", "42703"):
			return false, dataflow.Transient(fmt.Errorf("table %s was altered while it was read: the read begins again: %w", rel.of.name, err))
		case sqlstate.Has(err, "42501"):
			return false, dataflow.Permanent(fmt.Errorf("table %s: Postgres does not send a large value that an update left alone, so that it is read from the table: grant select on it to the role: %w", rel.of.name, err))
		case err != nil:
			return false, fmt.Errorf("table %s: read a large value that an update left alone: %w", rel.of.name, err)
		case seen && !found && r.chunk != nil && r.chunk.of == rel.of:
			r.chunk.unclear = true // its snapshot may not see what became of the row
		}
		if seen {
			return !found, nil
		}
		if time.Since(began) > settleTold {
			r.s.tell(ctx, fmt.Sprintf("table %s: a large value that an update left alone is read from the table once queries see the update, which may wait for a synchronous standby: see pg_stat_activity for wait_event SyncRep", rel.of.name))
		}
		t := time.NewTimer(chunkAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false, ctx.Err()
		}
	}
}

// fetchRow completes a row by its key. seen is false if queries do not see the transaction yet that
// is read.
func (r *reader[T]) fetchRow(ctx context.Context, rel *relation[T], row *tuple) (seen, found bool, err error) {
	var names, marks []string
	var at []int
	var args [][]byte
	for i, name := range rel.columns {
		switch {
		case row.absent[i] && rel.decoder.Has(i) && slices.Contains(rel.of.columns, name):
			names, at = append(names, pgx.Identifier{name}.Sanitize()), append(at, i)
		case rel.isKey[i]:
			args = append(args, row.values[i])
			marks = append(marks, pgx.Identifier{name}.Sanitize()+" = $"+strconv.Itoa(len(args)))
		}
	}
	if names == nil || marks == nil {
		return true, true, nil
	}
	sql := "select " + strings.Join(names, ", ") + " from " + rel.of.only() + " where " + strings.Join(marks, " and ")
	err = pgx.BeginTxFunc(ctx, r.control, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var text string
		if err := tx.QueryRow(ctx, "select pg_catalog.pg_current_snapshot()::text").Scan(&text); err != nil {
			return err
		}
		sees, err := parseSnapshot(text)
		if seen = err == nil && sees.has(r.tx.xid); !seen {
			return err
		}
		result := tx.Conn().PgConn().ExecParams(ctx, sql, args, nil, nil, nil)
		for result.NextRow() {
			found = true
			for k, value := range result.Values() {
				row.values[at[k]], row.absent[at[k]] = slices.Clone(value), false
			}
		}
		if _, err = result.Close(); err != nil || found {
			return err
		}
		anew, err := rewritten(ctx, tx, rel.of)
		seen = !anew
		return err
	})
	return seen, found, err
}
