package pgtable

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// guarded is the query of a read, restricted to the rows that its guard allows.
type guarded struct {
	horizon
	query *rowmap.Keyset
	args  []any
	cast  string
}

// guardedQuery asks the guard how far the read may go. It does so once, before the
// first page, so that the read has an end.
func (s *keyset) guardedQuery(ctx context.Context, first keyColumn, start readStart) (*guarded, error) {
	guard := guardFor(s.guard, first)
	cast, err := guard.cast(first)
	if err != nil {
		return nil, dataflow.Permanent(err)
	}
	if cast == "" {
		return &guarded{query: &s.query, args: s.args}, nil
	}
	start.pool, start.server = s.pool, s.server
	h, err := guard.horizon(ctx, start)
	if err != nil {
		return nil, err
	}
	g := &guarded{horizon: h, cast: cast, args: append(slices.Clone(s.args), h.limit, h.server)}
	same := s.sameServer(2)
	if s.complete { // an empty page of another server must not pass for the end
		same = "1 / (" + same + ")::int = 1"
	}
	g.query = s.query.Where(s.compare("<", cast, 1)+" and "+same, 2)
	return g, nil
}

// checkComplete returns an error if the guard would leave out rows up to the end of the read. None
// of them can be committed late, as the end was read under the same guard. So it is an error only if
// the guard asks another server now, or a transaction was prepared, whose start is recorded nowhere.
func (r *reader) checkComplete(ctx context.Context) error {
	var lets bool
	query := "select $1::text::" + r.keys[0].text + " < " + fmt.Sprintf(r.guarded.cast, "$2")
	values, _ := rowmap.Place(r.until)
	if err := r.pool.QueryRow(ctx, query, values[0], r.guarded.limit).Scan(&lets); err != nil || lets {
		return err
	}
	held := ""
	if r.guarded.held != nil {
		held = ": " + r.guarded.held.String()
	}
	return dataflow.Transient(fmt.Errorf("rows up to %s, where this range of the first load ends, are held back%s; trying again", r.until, held))
}

// sameServer returns a condition that is true on the server that the guard has asked. n is the
// number of the parameter, counted after the query's own.
func (s *keyset) sameServer(n int) string {
	return serverID + " = $" + strconv.Itoa(len(s.args)+n) + "::bigint"
}

// elsewhereNote is about pages that reach another server than the guard does. They are empty,
// so that no row is missed. The statement has the query in it, because a proxy may look at that
// to choose a server.
func (r *reader) elsewhereNote(ctx context.Context) ([]string, error) {
	if r.guarded.cast == "" {
		return nil, nil
	}
	var same bool
	query := "select " + r.sameServer(1) + ", exists (select" + r.query.From() + " limit 1)"
	if err := r.pool.QueryRow(ctx, query, append(slices.Clone(r.args), r.guarded.server)...).Scan(&same, nil); err != nil || same {
		return nil, err
	}
	return []string{"no rows are read, because " + fromElsewhere}, nil
}

const fromElsewhere = "the pages come from another server than the one that was asked how far they may go: a proxy balances the load, or the address leads to several servers: give the source an address of one server, or turn off load balancing for it"

// divisionByZero is the error of a page that must not be empty, and comes from elsewhere.
const divisionByZero = "22012"

// compare returns a condition on the first key column. n is the number of the
// parameter, counted after the query's own.
func (s *keyset) compare(operator, cast string, n int) string {
	return rowmap.Qualified(s.query.Key)[0] + " " + operator + " " + fmt.Sprintf(cast, "$"+strconv.Itoa(len(s.args)+n))
}

// stalled returns an error if a transaction has held rows back for longer than the
// guard's patience. Otherwise this would go unnoticed, because every read succeeds.
func (r *reader) stalled(ctx context.Context, from Cursor) error {
	h := r.guarded.held
	if h == nil || h.patience < 0 || h.since.IsZero() {
		return nil
	}
	patience := h.patience
	if patience == 0 {
		patience = defaultPatience
	}
	if h.asked.Sub(h.since) < patience {
		return nil
	}
	waiting, err := r.rowsWait(ctx, from)
	if err != nil || !waiting {
		return err
	}
	return fmt.Errorf("%s: end it, choose another guard in Query.LateCommits, or set a longer Patience", h)
}

// rowsWait reports whether rows are held back that are otherwise ready.
func (r *reader) rowsWait(ctx context.Context, from Cursor) (bool, error) {
	h := r.guarded.held
	waiting := r.query.Where(r.compare(">=", r.guarded.cast, 1)+" and "+r.compare("<", r.guarded.cast, 2), 2)
	waiting.PageSize = 1
	args := withCursor(append(slices.Clone(r.args), r.guarded.limit, h.upTo), from)
	rows, err := r.pool.Query(ctx, waiting.PageQuery([]string{"1"}, from != nil), args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	return rows.Next(), rows.Err()
}

// withCursor returns the arguments of a statement followed by those of a cursor.
// pgx sends a string as text. Postgres reads it as a value of the column that it is
// compared with.
func withCursor(args []any, from Cursor) []any {
	all := slices.Clone(args)
	values, _ := rowmap.Place(from)
	for _, v := range values {
		all = append(all, v)
	}
	return all
}
