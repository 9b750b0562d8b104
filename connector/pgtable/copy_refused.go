package pgtable

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// outcome is the result of writing a batch by COPY.
type outcome struct {
	accepted bool
	direct   bool // true for a COPY directly into the table
	notPlain bool // a value has no binary encoder
	conflict bool // Postgres found a duplicate key
	line     int  // the row of the COPY that Postgres rejected, from 1; 0 if unknown
	// refused is the error of a row, if only the row's own values can cause it.
	// Then nobody needs to try the row in another way. It is set only for parts of
	// a batch with bad rows.
	refused error
}

// reject rolls back a failed COPY. It returns a nil error if the batch must be
// written with arrays.
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

// ofTheRow reports whether an error concerns a value that COPY has decoded
// correctly, and that an insert would reject too, whatever the other rows are.
// Errors of keys depend on other rows.
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

// refuse rolls back a part that was copied directly into the table, as reject does,
// and names the rejected row. The same round trip checks that the columns still
// have the encoded types. If not, Postgres may have misread the values, and nothing
// is known about the row.
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

// copyLine returns the row, from 1, that was copied when an error occurred, or 0 if
// the error's context does not say. The context ends with "COPY name, line 7,
// column a", in the server's language.
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

// refusal reports whether an error concerns the written rows or the way of writing
// them. If it concerns the rows, writing them with arrays meets it again.
func refusal(code string) bool {
	if code == "08P01" { // protocol_violation: the bytes do not fit the column's type
		return true
	}
	switch code[:min(2, len(code))] {
	case "08", "25", "40", "53", "55", "57", "58":
		return false
	default:
		return true
	}
}
