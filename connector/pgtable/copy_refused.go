package pgtable

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// outcome is what became of a batch.
type outcome struct {
	accepted bool
	direct   bool // straight into the table
	notPlain bool // a value is none that is encoded here
	conflict bool // Postgres has found a key twice
	line     int  // the row of the COPY that Postgres has refused, from 1; 0: it does not say
	// refused is why, if that can only be for what is in the row: nobody needs to try it
	// otherwise. It is asked for parts of a batch that has bad rows.
	refused error
}

// reject takes back what has failed. The error is nil if the batch is to be written
// otherwise.
func (cp *copier) reject(ctx context.Context, conn *pgx.Conn, err error) (outcome, error) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !refusal(pg.Code) {
		return outcome{}, err
	}
	if err := conn.PgConn().Exec(ctx, backToBefore).Close(); err != nil {
		return outcome{}, err
	}
	result := outcome{conflict: pg.Code == "23505", line: copyLine(pg.Where)}
	if !result.conflict {
		cp.stale.Store(true)
	}
	return result, nil
}

// ofTheRow reports whether an error is about a value that COPY has read well, and which an
// insert would refuse for the same reason, whatever other rows there are: not of keys.
func ofTheRow(code string) bool {
	switch code {
	case "22001", // string_data_right_truncation
		"22003",          // numeric_value_out_of_range
		"22021",          // character_not_in_repertoire
		"23502", "23514": // not null, check
		return true
	default:
		return false
	}
}

// refuse takes back a part of a batch that was copied straight into the table, as reject
// does, and says which row it was. In the same round trip it asks whether the columns are
// still those that were encoded: if not, their values may have been taken for others, and
// nothing is known of the row.
func (cp *copier) refuse(ctx context.Context, conn *pgx.Conn, err error) (outcome, error) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !ofTheRow(pg.Code) || copyLine(pg.Where) == 0 {
		return cp.reject(ctx, conn, err)
	}
	if conn.PgConn().Exec(ctx, "rollback to savepoint dataflow_copy; "+cp.types+release).Close() != nil {
		return cp.reject(ctx, conn, err)
	}
	return outcome{line: copyLine(pg.Where), refused: err}, nil
}

// copyLine returns the row that was copied when an error came up, from 1, and 0 if its
// context does not tell. That ends with "COPY name, line 7, column a", in the server's
// language.
func copyLine(where string) int {
	last := where[strings.LastIndexByte(where, '\n')+1:]
	if !strings.HasPrefix(last, "COPY ") {
		return 0
	}
	for _, part := range strings.Split(last, ", ")[1:] {
		_, number, _ := strings.Cut(part, " ")
		if n, err := strconv.Atoi(number); err == nil {
			return n
		}
	}
	return 0
}

// refusal reports whether an error is about what was written, or how. It is found
// again with arrays, if it is about the rows.
func refusal(code string) bool {
	if code == "08P01" { // protocol_violation: the bytes of another type
		return true
	}
	switch code[:min(2, len(code))] {
	case "08", "25", "40", "53", "55", "57", "58":
		return false
	default:
		return true
	}
}
