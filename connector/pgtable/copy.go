package pgtable

import (
	"context"
	"errors"
	"hash/fnv"
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

// What stands in a statement for the number of the batch's first row, and for how many
// rows it has. No name has a zero in it.
const (
	firstMark = "\x00first"
	countMark = "\x00count"
)

// stageFor makes the statements of an upsert.
func (cp *copier) stageFor(table pgx.Identifier, st *statement, t *target, key []string) {
	names := strings.Split(st.names(), ", ")
	define := make([]string, len(st.columns))
	var order, keys []string
	for i, c := range st.columns {
		define[i] = names[i] + " " + c.typ
		if c.key {
			keys = append(keys, rowmap.Quote(c.name))
			order = append(order, names[i]+c.collate())
			if c.isInteger() {
				cp.integers = append(cp.integers, c)
			}
		}
	}
	if len(cp.integers) < len(keys) {
		cp.integers = nil
	}
	definition := "(n bigint, " + strings.Join(define, ", ") + ")"
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(definition))
	cp.stage = "pg_temp.dataflow_stage_" + strconv.FormatUint(hash.Sum64(), 36)
	cp.create = "create temp table if not exists " + cp.stage[len("pg_temp."):] + " " + definition + " on commit delete rows"
	conflict := rowmap.OnConflict(st.fields.Names(), key)
	into := "insert into " + cp.table + " (" + cp.names + ") select "
	on := strings.Join(order, ", ")
	from := st.names() + " from " + cp.stage + " where n >= " + firstMark
	cp.last = into + "distinct on (" + on + ") " + from + " order by " + on + ", n desc " + conflict
	cp.all = into + from + " " + conflict
	rows := batchRows{query: "select " + st.names() + ", n - " + firstMark + " + 1 as n from " + cp.stage + " where n >= " + firstMark, inline: true}
	cp.lastTold = st.withResults(table, t, key, rows)
	rows.ordered, rows.count = true, countMark
	cp.allTold = st.withResults(table, t, key, rows)
	on = strings.Join(keys, ", ")
	cp.arbiter = "; explain insert into " + cp.table + " (" + on + ") select " + on + " from " + cp.table + " where false on conflict (" + on + ") do nothing"
}

// stageMark is what is known of the temporary table of a connection.
type stageMark struct {
	next int64 // the number of the next row
}

const (
	savepoint    = "savepoint dataflow_copy; "
	release      = "; release savepoint dataflow_copy"
	backToBefore = "rollback to savepoint dataflow_copy" + release
)

// outcome is what became of a batch.
type outcome int

const (
	accepted outcome = iota
	refused          // by Postgres
	notPlain         // a value is none that is encoded here
)

// write writes a batch, and reports false if it is to be written otherwise. results may
// be nil.
func (cp *copier) write(ctx context.Context, conn *pgx.Conn, rows reflect.Value, results []dataflow.RowResult) (bool, error) {
	if conn.PgConn().TxStatus() != 'T' {
		return false, nil // which is for others to explain
	}
	if cp.direct && (cp.stage == "" || cp.skip.Add(-1) < 0) {
		cp.skip.Store(0)
		result, err := cp.writeDirect(ctx, conn, rows)
		if result != refused || err != nil || cp.stage == "" {
			return result == accepted, err
		}
		cp.skip.Store(stagedBatches)
	}
	result, err := cp.writeStaged(ctx, conn, rows, results)
	return result == accepted, err
}

func (cp *copier) writeDirect(ctx context.Context, conn *pgx.Conn, rows reflect.Value) (outcome, error) {
	sql := savepoint + "copy " + cp.table + " (" + cp.names + ") from stdin (format binary); " + cp.types + cp.arbiter + release
	return cp.send(ctx, conn, sql, rows, nil)
}

// writeStaged writes by the temporary table. That costs another round trip if it is to
// be told what became of the rows, since COPY's answer has no room for it.
func (cp *copier) writeStaged(ctx context.Context, conn *pgx.Conn, rows reflect.Value, results []dataflow.RowResult) (outcome, error) {
	marks := conn.PgConn().CustomData()
	mark, there := marks[cp.stage].(*stageMark)
	create := ""
	if !there {
		mark, create = &stageMark{}, cp.create+"; "
		marks[cp.stage] = mark
	}
	// What another batch of this transaction has left has lower numbers.
	fillIn := strings.NewReplacer(firstMark, strconv.FormatInt(mark.next, 10), countMark, strconv.Itoa(rows.Len()))
	ordered := cp.ascending(rows)
	sql := savepoint + create + "copy " + cp.stage + " from stdin (format binary)"
	if results == nil {
		sql += "; " + fillIn.Replace(choose(ordered, cp.all, cp.last)) + release
	}
	result, err := cp.send(ctx, conn, sql, rows, mark)
	if result == accepted && results != nil {
		result, err = cp.tell(ctx, conn, fillIn.Replace(choose(ordered, cp.allTold, cp.lastTold)), results)
	}
	if result != accepted {
		delete(marks, cp.stage) // it may never have been committed
	}
	return result, err
}

func choose(ordered bool, all, last string) string {
	if ordered {
		return all
	}
	return last
}

// tell writes the rows of the temporary table, and notes what became of them. The
// statement is planned anew each time, for the rows that are there.
func (cp *copier) tell(ctx context.Context, conn *pgx.Conn, sql string, results []dataflow.RowResult) (outcome, error) {
	answers := conn.PgConn().Exec(ctx, sql+release)
	known, first := true, true
	var noteErr error
	for answers.NextResult() {
		reader := answers.ResultReader()
		for first && reader.NextRow() {
			noteErr = errors.Join(noteErr, noteText(reader.Values(), results, &known))
		}
		_, _ = reader.Close() // answers has the error too
		first = false
	}
	if err := answers.Close(); err != nil {
		clear(results)
		return cp.reject(ctx, conn, err)
	}
	if !known {
		clear(results)
	}
	return accepted, noteErr
}

// send has the statements executed with the batch as input of the COPY among them.
func (cp *copier) send(ctx context.Context, conn *pgx.Conn, sql string, rows reflect.Value, mark *stageMark) (outcome, error) {
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
		return accepted, nil
	}
	if r.err != nil {
		var pg *pgconn.PgError
		if !errors.As(err, &pg) {
			return refused, err
		}
		return notPlain, conn.PgConn().Exec(ctx, backToBefore).Close()
	}
	return cp.reject(ctx, conn, err)
}

// reject takes back what has failed. The error is nil if the batch is to be written
// otherwise.
func (cp *copier) reject(ctx context.Context, conn *pgx.Conn, err error) (outcome, error) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !refusal(pg.Code) {
		return refused, err
	}
	if err := conn.PgConn().Exec(ctx, backToBefore).Close(); err != nil {
		return refused, err
	}
	if pg.Code != "23505" {
		cp.stale.Store(true)
	}
	return refused, nil
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

// ascending reports whether the rows' keys are in order, and none is there twice.
// Only the server can tell for other keys than integers.
func (cp *copier) ascending(rows reflect.Value) bool {
	if cp.integers == nil {
		return false
	}
	for i := 1; i < rows.Len(); i++ {
		if !cp.less(rows.Index(i-1), rows.Index(i)) {
			return false
		}
	}
	return true
}

func (cp *copier) less(a, b reflect.Value) bool {
	for _, c := range cp.integers {
		x, xok := integer(c.field.In(a))
		y, yok := integer(c.field.In(b))
		if x != y || !xok || !yok {
			return xok && yok && x < y
		}
	}
	return false
}

func integer(v reflect.Value) (int64, bool) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch {
	case !v.IsValid():
		return 0, false
	case v.CanInt():
		return v.Int(), true
	case v.CanUint():
		return int64(v.Uint()), v.Uint() < 1<<63
	default:
		return 0, false
	}
}
