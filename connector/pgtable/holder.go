package pgtable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow/internal/rowmap"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// indexColumnsQuery lists the columns of a unique index, unless it has expressions.
const indexColumnsQuery = `
select a.attname::text
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
where i.indrelid = to_regclass($1) and c.relname = $2 and i.indexprs is null`

// nameHolder adds to the error of a single row, which a unique index other than the key's
// refuses, the key of the row that has the value. args are those of the single row.
func (s *tableSink) nameHolder(ctx context.Context, tx pgx.Tx, st *statement, args []any, err error) error {
	var pg *pgconn.PgError
	if !s.upsert || !errors.As(err, &pg) || pg.Code != sqlstate.UniqueViolation {
		return err
	}
	var holder string
	lookErr := withSavepoint(ctx, tx, func() error {
		rows, err := tx.Query(ctx, indexColumnsQuery, pgx.Identifier{pg.SchemaName, pg.TableName}.Sanitize(), pg.ConstraintName)
		if err != nil {
			return err
		}
		columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		query := st.holderQuery(s.name, s.key, columns)
		if query == "" {
			return nil
		}
		return tx.QueryRow(ctx, query, args...).Scan(&holder)
	})
	if lookErr != nil || holder == "" {
		return err
	}
	return fmt.Errorf("%w: the row (%s)=(%s) has that value: if the source gives it away, its record must come first; if the two exchange values, only a deferrable constraint allows it (alter table … drop constraint %s, add constraint … deferrable)",
		sqlstate.Explain(err), strings.Join(s.key, ", "), holder, rowmap.Quote(pg.ConstraintName))
}

// holderQuery selects the key of the row that has the same values in some columns as the
// row to write. It is empty if T lacks one of the columns.
func (st *statement) holderQuery(table pgx.Identifier, key, columns []string) string {
	var on, keys []string
	for i, c := range st.columns {
		if slices.Contains(columns, c.name) {
			on = append(on, "t."+rowmap.Quote(c.name)+" = v.c"+strconv.Itoa(i+1))
		}
	}
	for _, name := range key {
		keys = append(keys, "t."+rowmap.Quote(name)+"::text")
	}
	if len(on) == 0 || len(on) < len(columns) {
		return ""
	}
	return "select concat_ws(', ', " + strings.Join(keys, ", ") + ") from " + table.Sanitize() + " t join (" + st.numbered() + ") v on " + strings.Join(on, " and ") + " limit 1"
}
