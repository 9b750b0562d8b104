package pgtable

import (
	"context"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// copyFrom is the least number of rows for which COPY, whose statements are parsed
// each time, is quicker than the prepared statement with arrays.
const copyFrom = 64

// stagedBatches is for how many batches an upsert does without copying straight into
// the table, once it has met a key that is there.
const stagedBatches = 100

// copier writes batches by COPY: straight into the table, as long as keys are new,
// or into a temporary table and from there.
//
// All is done in a string of statements behind a savepoint, which costs one round trip. Whatever Postgres says against it, the batch is then written with arrays
// instead, so that COPY never changes what is written, and never what an error says.
type copier struct {
	table    string
	columns  []*column
	encoders []encoder
	names    string // of the columns
	types    string // checks that the columns are still those that are encoded
	arbiter  string // checks that there is a unique index of the key; empty for Insert
	direct   bool   // the table can be copied into

	stage    string // the temporary table; empty for Insert
	create   string
	last     string // writes from it the last row of each key
	all      string // the same when the keys are in order, and different
	lastTold string // last and all, which tell what became of the rows
	allTold  string
	integers []*column

	readers sync.Pool
	skip    atomic.Int64 // for so many batches, keys are not taken to be new
	stale   atomic.Bool  // Postgres has refused a batch
}

// newCopier returns nil if the table or T is none that can be copied.
func newCopier(table pgx.Identifier, st *statement, t *target, upsert bool, key []string) *copier {
	cp := &copier{table: table.Sanitize(), columns: st.columns, names: st.columnNames(), direct: t.plain}
	for _, c := range st.columns {
		enc := newEncoder(c)
		if enc == nil {
			return nil
		}
		cp.encoders = append(cp.encoders, enc)
		cp.direct = cp.direct && !c.isIdentity
	}
	cp.types = typesQuery(cp.table, st.columns)
	if upsert {
		if !t.temporary {
			return nil
		}
		cp.stageFor(table, st, t, key)
	} else if !cp.direct {
		return nil
	}
	cp.readers.New = func() any { return &copyReader{columns: cp.columns, encoders: cp.encoders} }
	return cp
}

// typesQuery fails unless the columns' types are still these: COPY's binary format
// does not tell types, and Postgres would take the bytes of one for another. The
// transaction has the table locked by then.
func typesQuery(table string, columns []*column) string {
	var now, then []string
	for _, c := range columns {
		now = append(now, "pg_typeof((null::"+table+")."+rowmap.Quote(c.name)+")")
		then = append(then, strconv.FormatUint(uint64(c.declared), 10))
	}
	return "select (case when array[" + strings.Join(now, ", ") + "]::oid[] = '{" + strings.Join(then, ",") +
		"}' then '0' else 'the columns of the table have changed' end)::int"
}

const (
	savepoint    = "savepoint dataflow_copy; "
	release      = "; release savepoint dataflow_copy"
	backToBefore = "rollback to savepoint dataflow_copy" + release
)

// deadlocks is how often an upsert is begun again in its transaction.
const deadlocks = 3

// copyAs is what is known of rows that are to be copied.
type copyAs struct {
	part    bool // they are a part of a batch that has bad rows
	checked bool // the table was checked in this transaction, which has kept it locked since
}

// checkedTable is the table that a connection has last copied into part by part. It stands
// in the connection's data under checkedMark.
type checkedTable struct {
	tx     pgx.Tx // kept, so that no other transaction has its address
	copier *copier
}

const checkedMark = "dataflow_checked"

// copy writes a batch, or a part of one, by COPY. Of the parts, the first that is accepted
// checks the table, and locks it for the others: no savepoint spans several.
func (st *statement) copy(ctx context.Context, tx pgx.Tx, rows reflect.Value, results []dataflow.RowResult, part bool) (outcome, error) {
	conn := tx.Conn()
	if !part {
		return st.copier.write(ctx, conn, rows, results, copyAs{})
	}
	marks, mark := conn.PgConn().CustomData(), checkedTable{tx: tx, copier: st.copier}
	result, err := st.copier.write(ctx, conn, rows, results, copyAs{part: true, checked: marks[checkedMark] == mark})
	if result.accepted && result.direct {
		marks[checkedMark] = mark
	}
	return result, err
}

// write writes a batch, which is to be written otherwise if it is not accepted. results
// may be nil.
//
// Rows that are copied straight into the table lock keys in the order of the batch, and
// not in one that all writers have, so that two of them can wait for each other. Behind
// the savepoint, whoever is told so lets go, and is then in order.
func (cp *copier) write(ctx context.Context, conn *pgx.Conn, rows reflect.Value, results []dataflow.RowResult, as copyAs) (outcome, error) {
	if conn.PgConn().TxStatus() != 'T' {
		return outcome{}, nil // which is for others to explain
	}
	result, err := cp.writeOnce(ctx, conn, rows, results, as)
	for range deadlocks {
		var pg *pgconn.PgError
		if cp.stage == "" || !errors.As(err, &pg) || pg.Code != "40P01" || conn.PgConn().Exec(ctx, backToBefore).Close() != nil {
			return result, err
		}
		cp.skip.Store(stagedBatches)
		result, err = cp.writeStaged(ctx, conn, rows, results)
	}
	return result, err
}

func (cp *copier) writeOnce(ctx context.Context, conn *pgx.Conn, rows reflect.Value, results []dataflow.RowResult, as copyAs) (outcome, error) {
	if cp.direct && (cp.stage == "" || cp.skip.Add(-1) < 0) {
		cp.skip.Store(0)
		result, err := cp.writeDirect(ctx, conn, rows, as)
		if result.accepted || err != nil || cp.stage == "" || !result.conflict {
			return result, err
		}
		cp.skip.Store(stagedBatches)
	}
	return cp.writeStaged(ctx, conn, rows, results)
}

func (cp *copier) writeDirect(ctx context.Context, conn *pgx.Conn, rows reflect.Value, as copyAs) (outcome, error) {
	sql := savepoint + "copy " + cp.table + " (" + cp.names + ") from stdin (format binary)"
	if !as.checked {
		sql += "; " + cp.types + cp.arbiter
	}
	result, err := cp.send(ctx, conn, sql+release, rows, nil, as)
	result.direct = true
	return result, err
}

// send has the statements executed with the batch as input of the COPY among them.
func (cp *copier) send(ctx context.Context, conn *pgx.Conn, sql string, rows reflect.Value, mark *stageMark, as copyAs) (outcome, error) {
	r := cp.readers.Get().(*copyReader) //nolint:forcetypeassert // only these are put there
	defer cp.readers.Put(r)
	if r.numbered = mark != nil; r.numbered {
		r.first = mark.next
		mark.next += int64(rows.Len())
	}
	r.start(conn.TypeMap(), rows)
	_, err := conn.PgConn().CopyFrom(ctx, r, sql)
	r.rows = reflect.Value{}
	if err == nil {
		return outcome{accepted: true}, nil
	}
	if r.err != nil {
		var pg *pgconn.PgError
		if !errors.As(err, &pg) {
			return outcome{}, err
		}
		return outcome{notPlain: true}, conn.PgConn().Exec(ctx, backToBefore).Close()
	}
	if as.part {
		return cp.refuse(ctx, conn, err)
	}
	return cp.reject(ctx, conn, err)
}
