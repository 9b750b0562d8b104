package pgtable

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/keyrange"
)

// held names the key by which a statement failed: one of the other table, as with a NUL character, that
// Postgres cannot read as a value of the column.
func (k *keys) held(ctx context.Context, p *keyrange.Plan, given []keyrange.Key, err error) error {
	if !refusesValue(err) {
		return transient(ctx, k.pool, err)
	}
	for _, key := range given {
		for i, text := range key {
			_, refusal := k.pool.Exec(ctx, "select $1::text::"+castOf(p.Own[i]), k.custom([]any{p.Kinds[i].Readable(text)})...)
			if refusesValue(refusal) {
				return dataflow.Permanent(keyrange.NotHeld(k.table.Key[i], p.Kinds[i], text, refusal))
			}
		}
	}
	return transient(ctx, k.pool, err)
}

// refusesValue reports whether the server could not read a value.
func refusesValue(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, "22")
}
