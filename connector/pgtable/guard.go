package pgtable

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
)

// Guard leaves rows to a later read as long as a row with a smaller key may
// still be committed. It is an [OpenTransactions], a [Lag], an [XID8] or
// [Unguarded]. The section "Rows that are committed late" of the package
// compares them.
type Guard interface {
	fmt.Stringer
	// validate returns what is wrong with the settings for a query of this key.
	validate(key []string) error
	// cast makes of a parameter, %s, a value to compare the first column of the
	// key with. Empty: there is no limit.
	cast(first keyColumn) (string, error)
	// horizon asks the database how far a read may go.
	horizon(ctx context.Context, r readStart) (horizon, error)
}

// readStart is what a guard knows of a read that begins.
type readStart struct {
	pool *pgxpool.Pool
	from Cursor // nil: at the beginning
	// rough asks for an answer at once, which need not be safe.
	rough bool
}

// horizon is how far a read may go. It holds for all pages of the read: what is
// below it when it was asked for is still below it later.
type horizon struct {
	// limit is what the first column of the key must be less than, as text.
	limit string
	// held is who keeps the limit behind the clock; nil: nobody.
	held *held
}

// held says what keeps rows back that are otherwise ready.
type held struct {
	by       string
	since    time.Time
	asked    time.Time // the clock, by which all rows are ready
	patience time.Duration
}

// guardFor is the guard that is set, or the default for the key.
func guardFor(set Guard, first keyColumn) Guard {
	switch {
	case set != nil:
		return set
	case first.DataTypeOID == pgtype.TimestamptzOID, first.DataTypeOID == pgtype.TimestampOID:
		return OpenTransactions{}
	default:
		return Unguarded{}
	}
}

// Unguarded reads all rows that are visible. Rows are missed that are committed
// after a row with a greater key was read. It is for tables that nobody writes
// to while they are read, or that have one writer at a time.
type Unguarded struct{}

func (Unguarded) validate([]string) error        { return nil }
func (Unguarded) cast(keyColumn) (string, error) { return "", nil }
func (Unguarded) String() string                 { return "unguarded" }
func (Unguarded) horizon(context.Context, readStart) (horizon, error) {
	return horizon{}, nil
}

// negativeInfinity is a limit that no time is less than.
const negativeInfinity = "-infinity"

// timeCast is the cast of the guards that compare times.
func timeCast(guard string, first keyColumn, utc bool) (string, error) {
	switch {
	case first.DataTypeOID == pgtype.TimestamptzOID:
		return "%s::timestamptz", nil
	case first.DataTypeOID == pgtype.TimestampOID && utc:
		return "(%s::timestamptz at time zone 'UTC')", nil
	case first.DataTypeOID == pgtype.TimestampOID:
		return "", fmt.Errorf("key column %q is a timestamp without time zone, which can only be compared with a clock if its zone is known: "+
			"if it holds times in UTC, set Query.LateCommits to pgtable.%s with UTC: true; if nobody writes to the table while it is read, to pgtable.Unguarded{}", first.Name, guard)
	default:
		return "", fmt.Errorf("key column %q is of type %s, and pgtable.%s in Query.LateCommits compares times: "+
			"begin the key with a timestamp with time zone, or with a column for pgtable.XID8", first.Name, typeName(first.DataTypeOID), guard)
	}
}

// typeName names a type for an error.
func typeName(oid uint32) string {
	if t, ok := pgtype.NewMap().TypeForOID(oid); ok {
		return t.Name
	}
	return fmt.Sprintf("OID %d", oid)
}

// timeText is a time as Postgres reads it under all settings.
func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999Z07:00") }

func badGuard(format string, args ...any) error {
	return &dataflow.ConfigError{Field: "Query.LateCommits", Reason: fmt.Sprintf(format, args...)}
}
