package pgtable

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow/internal/sqlstate"
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
// written with arrays. A part that was too much is divided further, in the same transaction.
func (cp *copier) reject(ctx context.Context, conn *pgx.Conn, err error) (outcome, error) {
	var pg *pgconn.PgError
	switch {
	case sqlstate.Is(err, sqlstate.Batch):
		return outcome{}, undone(err, conn.PgConn().Exec(ctx, backToBefore).Close())
	case !errors.As(err, &pg) || !refusal(err):
		return outcome{}, err
	}
	if err := conn.PgConn().Exec(ctx, backToBefore).Close(); err != nil {
		return outcome{}, err
	}
	result := outcome{conflict: pg.Code == sqlstate.UniqueViolation || strings.Contains(pg.Message, keysExist), line: copyLine(pg.Where)}
	if !result.conflict {
		cp.stale.Store(true)
	}
	return result, nil
}

// refuse rolls back a part that was copied directly into the table, as reject does,
// and names the rejected row. The same round trip checks that the columns still
// have the encoded types. If not, Postgres may have misread the values, and nothing
// is known about the row.
func (cp *copier) refuse(ctx context.Context, conn *pgx.Conn, err error) (outcome, error) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !sqlstate.IsOwn(err) || copyLine(pg.Where) == 0 {
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
// them. If it concerns the rows, writing them with arrays meets it again. Bytes that do
// not fit the column's type are a protocol violation.
func refusal(err error) bool {
	return sqlstate.Has(err, sqlstate.ProtocolViolation) ||
		sqlstate.Is(err, sqlstate.Record, sqlstate.Permanent, sqlstate.Attempt, sqlstate.Again)
}
