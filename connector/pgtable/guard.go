package pgtable

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
)

// Guard leaves a row to a later read as long as a row with a smaller key may still
// be committed. It is an [OpenTransactions], a [Lag], an [XID8] or [Unguarded]. See
// "Rows that are committed late" in the package documentation for a comparison.
type Guard interface {
	fmt.Stringer
	// validate returns a [dataflow.ConfigError] if the settings do not fit a query
	// with this key.
	validate(key []string) error
	// cast returns the expression that turns a parameter, %s, into a value to
	// compare with the first key column. "" means that there is no limit.
	cast(first keyColumn) (string, error)
	// horizon asks the database how far a read may go.
	horizon(ctx context.Context, r readStart) (horizon, error)
}

// readStart is what a guard knows about a read that begins.
type readStart struct {
	pool   *pgxpool.Pool
	server *server
	from   Cursor // nil for the beginning
	// rough asks for a quick answer, which need not be safe.
	rough bool
}

// horizon is how far a read may go. It holds for all pages of the read: rows below
// it stay below it.
type horizon struct {
	// limit is the upper bound of the first key column, exclusive, as text.
	limit string
	// held is what keeps the limit before the clock's time; nil if nothing does.
	held *held
	// clock is the clock's time, zero for a guard that compares no times.
	clock time.Time
	// server is the server that was asked, see serverID. The rows must be read from it too.
	server int64
}

// serverID tells the servers apart that one address may lead to, as behind Pgpool's load
// balancing, a reader endpoint, or a connection string of several hosts. A page that another
// server answers may lack rows that the guard has let pass.
const serverID = `(extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint`

// held describes what holds back rows that are otherwise ready.
type held struct {
	by       string
	since    time.Time // zero: not known
	asked    time.Time // the clock's time
	upTo     string    // rows before it are ready, as text
	patience time.Duration
}

// guardFor returns the given guard, or the default for the key if it is nil.
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

// Unguarded reads all visible rows. It misses a row that is committed after a row
// with a greater key was read. Use it for tables that are not written to during a
// read, or that have one writer at a time.
type Unguarded struct{}

func (Unguarded) validate([]string) error        { return nil }
func (Unguarded) cast(keyColumn) (string, error) { return "", nil }
func (Unguarded) String() string                 { return "unguarded" }
func (Unguarded) horizon(context.Context, readStart) (horizon, error) {
	return horizon{}, nil
}

// negativeInfinity is a limit below every time.
const negativeInfinity = "-infinity"

// timeCast returns the cast of the guards that compare times.
func timeCast(guard string, first keyColumn, utc bool) (string, error) {
	switch {
	case first.DataTypeOID == pgtype.TimestamptzOID:
		return "%s::timestamptz", nil
	case first.DataTypeOID == pgtype.TimestampOID && utc:
		return "(%s::timestamptz at time zone 'UTC')", nil
	case first.DataTypeOID == pgtype.TimestampOID:
		return "", fmt.Errorf("key column %q is a timestamp without time zone, and its zone must be known to compare it with a clock: "+
			"if it holds times in UTC, set Query.LateCommits to pgtable.%s with UTC: true; if nobody writes to the table while it is read, to pgtable.Unguarded{}", first.Name, guard)
	default:
		return "", fmt.Errorf("key column %q is of type %s, but pgtable.%s in Query.LateCommits compares times: "+
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

// timeText formats a time so that Postgres reads it alike under all settings.
func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999Z07:00") }

func badGuard(format string, args ...any) error {
	return &dataflow.ConfigError{Field: "Query.LateCommits", Reason: fmt.Sprintf(format, args...)}
}
