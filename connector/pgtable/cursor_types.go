package pgtable

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// The types of time that the text of a cursor shows.
const (
	dateOnly = "date"
	zoneless = "timestamp without time zone"
	withZone = "timestamp with time zone"
)

// timeInCursor matches a date, a clock and a time zone.
var timeInCursor = regexp.MustCompile(`^\d{4,}-\d\d?-\d\d?(?:([T ]\d[\d:.]*)? ?(Z|[+-]\d[\d:]*|[A-Za-z_]+/[A-Za-z_/]+|UTC)?)?(?: BC)?$`)

// timeTypeOf returns the type of the time that a cursor's text shows, or "" for any
// other text.
func timeTypeOf(text string) string {
	switch parts := timeInCursor.FindStringSubmatch(text); {
	case parts == nil:
		return ""
	case parts[2] != "":
		return withZone
	case parts[1] != "":
		return zoneless
	default:
		return dateOnly
	}
}

// checkCursor refuses a time that is not of the column's type. Postgres would read
// it in the session's time zone, or drop its zone or its clock. The cursor would
// then be at another place.
func (r *reader) checkCursor(from Cursor) error {
	for i, text := range from {
		var now string
		switch r.keys[i].DataTypeOID {
		case pgtype.TimestamptzOID:
			now = withZone
		case pgtype.TimestampOID:
			now = zoneless
		case pgtype.DateOID:
			now = dateOnly
		default:
			continue
		}
		then := timeTypeOf(text)
		if then == "" || then == now || then == dateOnly && now == zoneless {
			continue
		}
		return dataflow.Permanent(fmt.Errorf("key column %q is a %s, but the cursor's %q is a %s, which does not say at which row it is: set the cursor with \"dataflow cursor set\", to a %[2]s",
			r.query.Key[i], now, text, then))
	}
	return nil
}

// explainCursor names the value of the cursor, or of the end of the read, that Postgres cannot read as a value of
// its column. The error may also come from the query's own casts, so Postgres is
// asked.
func (r *reader) explainCursor(ctx context.Context, from Cursor, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !invalidText(pg.Code) || r.keys == nil {
		return err
	}
	for i, text := range slices.Concat(from, r.until) {
		i %= len(r.keys)
		var typ string
		if r.pool.QueryRow(ctx, "select pg_catalog.format_type($1::bigint::oid, -1)", int64(r.keys[i].DataTypeOID)).Scan(&typ) != nil {
			return err
		}
		_, readErr := r.pool.Exec(ctx, "select $1::text::"+typ, text)
		if errors.As(readErr, &pg) && invalidText(pg.Code) {
			return dataflow.Permanent(fmt.Errorf("key column %q is of type %s, which cannot hold the cursor's %q: set the cursor with \"dataflow cursor set\": %w", r.query.Key[i], typ, text, err))
		}
	}
	return err
}

// invalidText reports whether a text is no value of a type.
func invalidText(code string) bool {
	return slices.Contains([]string{"22P02", "22007", "22008", "22003"}, code)
}

// checkKey refuses a key that cannot be compared with a cursor, as only the second
// page would do. It also looks up whether different texts may be equal values.
func (r *reader) checkKey(ctx context.Context) error {
	var texts []string
	common := true
	for i, k := range r.keys {
		switch k.DataTypeOID {
		case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.UUIDOID, pgtype.BoolOID, pgtype.ByteaOID, pgtype.NameOID,
			pgtype.TimestamptzOID, pgtype.TimestampOID, pgtype.DateOID, pgtype.TimeOID, pgtype.OIDOID, pgtype.XID8OID:
		case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID:
			texts = append(texts, "pg_catalog.pg_collation_for((select "+rowmap.Qualified(r.query.Key)[i]+r.query.From()+" limit 0))::regcollation")
		default:
			common, r.ties = false, true
		}
	}
	if texts != nil && !r.ties {
		query := "select exists (select from pg_catalog.pg_collation where not collisdeterministic and oid in (" + strings.Join(texts, ", ") + "))"
		if err := r.pool.QueryRow(ctx, query, r.args...).Scan(&r.ties); err != nil {
			return fmt.Errorf("look up the collation of the key: %w", err)
		}
	}
	if common {
		return nil
	}
	_, err := r.pool.Exec(ctx, r.query.ProbeQuery(), r.args...)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && strings.HasPrefix(pg.Code, "42") {
		return dataflow.Permanent(fmt.Errorf("a cursor cannot be compared with the key (%s): cast the column to its base type, or to text, in the query: %w", strings.Join(r.query.Key, ", "), err))
	}
	return err
}

// tieError returns the error of a row whose key is equal to that of the row before.
func (r *reader) tieError(keys keyText) error {
	values, err := keys.strings()
	width := len(r.query.Key)
	if err != nil || len(values) < 2*width {
		return err
	}
	before, key := values[len(values)-2*width:len(values)-width], values[len(values)-width:]
	if err := r.query.Check(key, before); err != nil {
		return err
	}
	return dataflow.Permanent(fmt.Errorf("the key (%s) is not unique: %s and %s are equal by its type or collation: add a column to the key that distinguishes them",
		strings.Join(r.query.Key, ", "), rowmap.Text(before), rowmap.Text(key)))
}
