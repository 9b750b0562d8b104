package pgtable

import (
	"context"
	"errors"
	"hash/fnv"
	"reflect"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Placeholders in a statement for the number of the batch's first row and for its
// number of rows. No name contains a zero byte.
const (
	firstMark = "\x00first"
	countMark = "\x00count"
)

// stageFor builds the statements of an upsert through the temporary table.
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
	conflict := st.onConflict(key, nil)
	into := st.into(table) + " select "
	on := strings.Join(order, ", ")
	stage := cp.stage
	if rounded := st.roundedKeys(); rounded != "" {
		stage = "(select n, " + rounded + " from " + cp.stage + ") r"
	}
	where := " where n >= " + firstMark + " and " + st.unlessAltered()
	from := st.names() + " from " + stage + where
	cp.last = into + "distinct on (" + on + ") " + from + " order by " + on + st.newest() + ", n desc " + conflict
	cp.all = into + from + " " + conflict
	rows := batchRows{query: "select " + st.names() + ", n - " + firstMark + " + 1 as n from " + stage + where, inline: true}
	told, untold := &cp.lastTold, &cp.last
	for range 2 {
		*told = st.withResults(table, t, key, rows)
		if st.looks {
			*untold = st.lookingFirst(table, key, rows)
		}
		rows.ordered, rows.count = true, countMark
		told, untold = &cp.allTold, &cp.all
	}
	on = strings.Join(keys, ", ")
	cp.arbiter = "; explain insert into " + cp.table + " (" + on + ") select " + on + " from " + cp.table + " where false on conflict (" + on + ") do nothing"
}

// roundedKeys selects the columns of the temporary table, with the keys as the table rounds them;
// empty if it rounds none.
func (st *statement) roundedKeys() string {
	names, rounds := strings.Split(st.names(), ", "), false
	for i, c := range st.columns {
		if c.key && c.assigned() != "" {
			names[i] += c.assigned() + " as " + names[i]
			rounds = true
		}
	}
	if !rounds {
		return ""
	}
	return strings.Join(names, ", ")
}

// stageMark describes a connection's temporary table.
type stageMark struct {
	next int64 // the number of the next row; no number repeats in a transaction
	made bool  // true if the table exists
}

// writeStaged writes through the temporary table. With results it costs another
// round trip, because COPY's answer has no room for them.
func (cp *copier) writeStaged(ctx context.Context, conn *pgx.Conn, rows reflect.Value, results []dataflow.RowResult) (outcome, error) {
	marks := conn.PgConn().CustomData()
	mark, _ := marks[cp.stage].(*stageMark)
	if mark == nil {
		mark = &stageMark{}
		marks[cp.stage] = mark
	}
	create := ""
	if !mark.made {
		create = cp.create + "; "
	}
	// Rows of earlier batches of this transaction have lower numbers.
	fillIn := strings.NewReplacer(firstMark, strconv.FormatInt(mark.next, 10), countMark, strconv.Itoa(rows.Len()))
	ordered := cp.ascending(rows)
	sql := savepoint + create + "copy " + cp.stage + " from stdin (format binary)"
	if results == nil {
		if err := cp.of.awaitPredecessor(ctx); err != nil {
			return outcome{}, err
		}
		sql += "; " + fillIn.Replace(choose(ordered, cp.all, cp.last)) + release
	}
	result, err := cp.send(ctx, conn, sql, rows, mark, copyAs{})
	if result.accepted && results != nil {
		if err = cp.of.awaitPredecessor(ctx); err != nil {
			return outcome{}, err
		}
		result, err = cp.writeWithResults(ctx, conn, fillIn.Replace(choose(ordered, cp.allTold, cp.lastTold)), results)
	}
	mark.made = result.accepted // otherwise a rollback may have removed the table
	return result, err
}

func choose(ordered bool, all, last string) string {
	if ordered {
		return all
	}
	return last
}

// writeWithResults writes the rows of the temporary table and stores the outcome of
// each in results. The statement is planned each time, for the rows that are there.
func (cp *copier) writeWithResults(ctx context.Context, conn *pgx.Conn, sql string, results []dataflow.RowResult) (outcome, error) {
	answers := conn.PgConn().Exec(ctx, sql+release)
	known, first := true, true
	var noteErr error
	for answers.NextResult() {
		reader := answers.ResultReader()
		for first && reader.NextRow() {
			noteErr = errors.Join(noteErr, noteText(reader.Values(), results, &known))
		}
		_, _ = reader.Close() // answers.Close returns the same error
		first = false
	}
	if err := answers.Close(); err != nil {
		clear(results)
		return cp.reject(ctx, conn, err)
	}
	if !known {
		clear(results)
	}
	return outcome{accepted: true}, noteErr
}

// ascending reports whether the rows' keys are distinct and in order. It is false
// for keys other than integers: only the server can compare those.
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
