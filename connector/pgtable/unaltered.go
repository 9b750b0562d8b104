package pgtable

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// alteredText is in the error by which a statement ends if its table is not as it was looked up.
const alteredText = "dataflow: the columns of the table have changed"

// isAsBefore returns a condition that is true if a table is of the kind and its columns are of the types for which a
// statement was made. With others, Postgres would still cast the values to the types of then, and so
// cut them, round them, or take a time for one of the session's zone.
func isAsBefore(table pgx.Identifier, kind string, columns []*column) string {
	then := make([]string, len(columns))
	for i, c := range columns {
		then[i] = fmt.Sprintf("(%s, %d, %d)", literal(c.name), c.declared, c.typmod)
	}
	return "(select count(*) from pg_catalog.pg_class r join pg_catalog.pg_attribute a on a.attrelid = r.oid where r.oid = " + literal(table.Sanitize()) + "::regclass and r.relkind = " + literal(kind) +
		" and (a.attname, a.atttypid, a.atttypmod) in (" + strings.Join(then, ", ") + ")) = " + strconv.Itoa(len(columns))
}

// unlessAltered is a condition that is true, or ends the statement with alteredText. Postgres evaluates it
// once for a statement.
func (st *statement) unlessAltered() string {
	return "(case when " + st.asBefore + " then '0' else '" + alteredText + "' end)::int = 0"
}

// staleIfAltered returns the error of a statement whose table was altered as the one by which the server refuses a
// prepared statement that no longer fits its table: the batch is written again, by statements that are made anew. A view
// that has taken the table's place lacks xmax and ctid, which Postgres tells before it evaluates the condition.
func staleIfAltered(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	altered := false
	switch pg.Code {
	case sqlstate.InvalidTextValue:
		altered = strings.Contains(pg.Message, alteredText)
	case sqlstate.UndefinedColumn:
		altered = strings.Contains(pg.Message, "t.xmax") || strings.Contains(pg.Message, "t.ctid")
	}
	if altered {
		return errAltered()
	}
	return err
}

func errAltered() error {
	return &pgconn.PgError{Severity: "ERROR", Code: sqlstate.FeatureNotSupported, Routine: sqlstate.StaleRoutine, Message: "the columns of the table have changed since they were looked up"}
}

// isStale reports whether a batch must be written by statements that are made anew.
func isStale(err error) bool { return sqlstate.Is(err, sqlstate.Again) }

// refusedByNow returns the error of a value that does not fit a column, or that of an altered table if the column is
// of another type now. It asks only then, so that it costs nothing else.
func (st *statement) refusedByNow(ctx context.Context, tx pgx.Tx, refused error) error {
	var same bool
	if err := tx.QueryRow(ctx, "select "+st.asBefore).Scan(&same); err != nil {
		return inTheWay(fmt.Errorf("look whether the table was altered: %w", err))
	}
	if !same {
		return errAltered()
	}
	return refused
}
