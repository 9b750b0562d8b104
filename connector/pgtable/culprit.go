package pgtable

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// nameColumn adds to the error of a single row, one of whose texts is no value of its column's
// type, the column and the text. Postgres names neither. args are those of the single row.
func nameColumn(ctx context.Context, tx pgx.Tx, st *statement, args []any, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !strings.HasPrefix(pg.Code, "22") || pg.ColumnName != "" {
		return err
	}
	for i, c := range st.columns {
		if c.wire != "text" {
			continue
		}
		var refused *pgconn.PgError
		readErr := withSavepoint(ctx, tx, func() error {
			_, err := tx.Exec(ctx, "select u.c::"+c.typ+" from unnest($1::text[]) u (c)", args[i])
			return err
		})
		if !errors.As(readErr, &refused) || refused.Code != pg.Code {
			continue
		}
		var value string
		if texts, ok := args[i].([]string); ok && len(texts) == 1 {
			value = fmt.Sprintf(" %q", rowmap.Clip(texts[0]))
		}
		use := fitting(tx.Conn().TypeMap(), c.oid) + ", or a string that Postgres reads"
		if pg.Code == "22021" {
			use = "a text of valid UTF-8 without zero bytes, or a bytea column"
		}
		return fmt.Errorf("column %q (field %s): cannot write%s to type %s: use %s: %w", c.name, c.field.Field, value, c.typ, use, err)
	}
	return err
}
