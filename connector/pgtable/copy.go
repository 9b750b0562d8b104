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
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// copyFrom is the smallest batch for which COPY is faster than the prepared
// statement with arrays. COPY's statements are parsed each time.
const copyFrom = 64

// copyBytes is the weight of the texts and bytes of a batch from which COPY is used
// whatever the number of rows. COPY sends them from where they are. As arrays they would be
// copied several times first.
const copyBytes = 256 << 10

// stagedBatches is the number of batches for which an upsert uses the temporary
// table after it has met an existing key.
const stagedBatches = 100

// copier writes batches by COPY: directly into the table while keys are new,
// otherwise through a temporary table.
//
// All statements of a batch follow a savepoint and cost one round trip. If Postgres
// rejects any of them, the batch is written with arrays instead. So COPY changes
// neither what is written nor the text of an error.
type copier struct {
	of       *statement
	table    string
	columns  []*column
	encoders []encoder
	names    string // the column names
	types    string // a query that fails if the types of the columns have changed, or the table has got rules
	arbiter  string // a statement that fails without a unique index of the key; empty for Insert
	direct   bool   // true if COPY may write directly into the table

	samples  bool   // true if a direct COPY looks first whether some keys exist
	stage    string // the temporary table; empty for Insert
	create   string
	last     string // writes the last row of each key from the temporary table
	all      string // the same for keys that are distinct and in order
	lastTold string // last and all, returning the outcome of each row
	allTold  string
	integers []*column

	readers sync.Pool
	skip    atomic.Int64 // the number of batches still to write through the temporary table
	stale   atomic.Bool  // true once Postgres has rejected a batch
}

// isHeavy reports whether the texts and bytes of a batch weigh copyBytes or more.
func (cp *copier) isHeavy(rows reflect.Value) bool {
	weight := 0
	for i := range rows.Len() {
		row := rows.Index(i)
		for _, c := range cp.columns {
			v := c.field.In(row)
			if v.Kind() == reflect.Pointer {
				v = v.Elem()
			}
			if v.Kind() == reflect.String || v.Kind() == reflect.Slice {
				weight += v.Len()
			}
		}
	}
	return weight >= copyBytes
}

// newCopier returns nil if COPY cannot write T to the table.
func newCopier(table pgx.Identifier, st *statement, t *target, how way) *copier {
	if t.arrays {
		return nil
	}
	cp := &copier{of: st, table: table.Sanitize(), columns: st.columns, names: st.columnNames(), direct: t.plain}
	for _, c := range st.columns {
		enc := newEncoder(c)
		if enc == nil {
			return nil
		}
		cp.encoders = append(cp.encoders, enc)
	}
	cp.types = typesQuery(cp.table, st.columns)
	if how.upsert {
		if !t.temporary {
			return nil
		}
		cp.direct = cp.direct && (!st.looks || !how.sparing)
		cp.samples = st.looks
		cp.stageFor(table, st, t, how.key)
	} else if !cp.direct {
		return nil
	}
	cp.readers.New = func() any { return &copyReader{columns: cp.columns, encoders: cp.encoders} }
	return cp
}

// typesQuery returns a query that fails if the columns' types have changed, or if the table has got
// rules. COPY's binary format carries no types, so Postgres would misread the bytes of another
// type, and COPY fires no rules. The transaction holds a lock on the table by then.
func typesQuery(table string, columns []*column) string {
	var now, then []string
	for _, c := range columns {
		now = append(now, "pg_typeof((null::"+table+")."+rowmap.Quote(c.name)+")")
		then = append(then, strconv.FormatUint(uint64(c.declared), 10))
	}
	return "select (case when array[" + strings.Join(now, ", ") + "]::oid[] = '{" + strings.Join(then, ",") +
		"}' and not (select relhasrules from pg_catalog.pg_class where oid = " + literal(table) + "::regclass) then '0' else 'the columns or rules of the table have changed' end)::int"
}

const (
	savepoint    = "savepoint dataflow_copy; "
	release      = "; release savepoint dataflow_copy"
	backToBefore = "rollback to savepoint dataflow_copy" + release
)

// deadlocks is how often an upsert is repeated in its transaction after a deadlock.
const deadlocks = 3

// copyAs is what is known about the rows to copy.
type copyAs struct {
	part    bool // true for a part of a batch with bad rows
	checked bool // true if this transaction has checked the table, and so holds its lock
}

// checkedTable is the last table into which a connection has copied a part of a
// batch. It is stored in the connection's custom data under checkedMark.
type checkedTable struct {
	tx     pgx.Tx // holding it keeps its address from being reused
	copier *copier
}

const checkedMark = "dataflow_checked"

// copy writes a batch, or a part of one, by COPY. The first accepted part checks
// the table and locks it for the later parts. No savepoint spans several parts.
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

// write writes a batch. If the batch is not accepted, the caller must write it with
// arrays. results may be nil.
//
// COPY directly into the table locks keys in the order of the batch, so two writers
// can deadlock. After a deadlock, write rolls back to the savepoint and uses the
// temporary table, which locks keys in the same order for all writers.
func (cp *copier) write(ctx context.Context, conn *pgx.Conn, rows reflect.Value, results []dataflow.RowResult, as copyAs) (outcome, error) {
	if conn.PgConn().TxStatus() != 'T' {
		return outcome{}, nil // the statement with arrays reports what is wrong
	}
	result, err := cp.writeOnce(ctx, conn, rows, results, as)
	for range deadlocks {
		if cp.stage == "" || !sqlstate.Has(err, sqlstate.DeadlockDetected) || conn.PgConn().Exec(ctx, backToBefore).Close() != nil {
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
	sql := savepoint
	if cp.samples {
		sql += cp.sample(conn.TypeMap(), rows)
	}
	sql += "copy " + cp.table + " (" + cp.names + ") from stdin (format binary)"
	if !as.checked {
		sql += "; " + cp.types + cp.arbiter
	}
	result, err := cp.send(ctx, conn, sql+release, rows, nil, as)
	result.direct = true
	return result, err
}

// send executes the statements and streams the batch to the COPY among them.
func (cp *copier) send(ctx context.Context, conn *pgx.Conn, sql string, rows reflect.Value, mark *stageMark, as copyAs) (outcome, error) {
	r := cp.readers.Get().(*copyReader) //nolint:forcetypeassert // the pool holds only this type
	lent := &lentReader{r: r}
	defer cp.readers.Put(r)
	if r.numbered = mark != nil; r.numbered {
		r.first = mark.next
		mark.next += int64(rows.Len())
	}
	r.start(conn.TypeMap(), rows)
	_, err := conn.PgConn().CopyFrom(ctx, lent, sql)
	lent.end()
	r.rows = reflect.Value{}
	r.enc.reset() // it refers to large values
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
