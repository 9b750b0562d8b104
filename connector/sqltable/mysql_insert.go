package sqltable

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

const (
	// mysqlParameters is MySQL's limit for one statement.
	mysqlParameters = 65535
	// mysqlBytes limits the size of a statement, unless one row is larger. Every
	// server accepts this size by default.
	mysqlBytes = 1 << 20
)

// writeRows writes rows, as many in each statement as fit.
func (s *mysqlSink[T]) writeRows(ctx context.Context, tx sqlTx, rows []T) error {
	if s.sink.remove != nil {
		return s.sink.remove(ctx, tx, rows)
	}
	columns := s.sink.fields.Names()
	head := "insert into " + rowmap.BacktickAll(s.sink.name, ".") + " (" + rowmap.BacktickAll(columns, ", ") + ") values "
	row := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ") + ")"
	tail := ""
	if s.sink.upsert {
		tail = onDuplicate(columns, s.sink.key, s.sink.newer, s.enum.Load())
	}
	most := max(1, min(maxChunk, mysqlParameters/len(columns)))
	var args []any
	n, size := 0, 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		_, err := tx.ExecContext(ctx, head+strings.TrimSuffix(strings.Repeat(row+", ", n), ", ")+tail, args...)
		args, n, size = args[:0], 0, 0
		return err
	}
	all := reflect.ValueOf(rows)
	for i := range rows {
		values, bytes, err := s.row(all.Index(i), i)
		if err == nil {
			if err = s.checkValues(i, values); err != nil {
				err = cmp.Or(s.checkStillTyped(ctx, tx), err) // by the types of now, it may be good
			}
		}
		if err != nil {
			return err
		}
		if n == most || size+bytes > mysqlBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		args, n, size = append(args, values...), n+1, size+bytes
	}
	return flush()
}

// row returns a record's values and about how many bytes they take.
func (s *mysqlSink[T]) row(record reflect.Value, i int) (values []any, size int, err error) {
	for j := range s.sink.fields.Columns {
		c := &s.sink.fields.Columns[j]
		v, err := mysqlValue(c.In(record))
		if err == nil && v == nil && s.sink.upsert && slices.Contains(s.sink.key, c.Name) {
			err = errors.New("a key must not be NULL")
		}
		if err != nil {
			return nil, 0, badRow(i, fmt.Errorf("column %q (field %s): %w", c.Name, c.Field, err))
		}
		values = append(values, v)
		size += sizeOf(v)
	}
	if most := s.packet.Load(); most > 0 && int64(size) >= most {
		return nil, 0, badRow(i, fmt.Errorf("the row takes %d bytes, but the server's max_allowed_packet is %d: raise that setting", size, most))
	}
	return values, size, nil
}

// badRow returns the error of a row that cannot be written.
func badRow(i int, err error) error {
	return &dataflow.RowError{Row: i, Alone: true, Err: &dataflow.RecordError{Stage: dataflow.StageWrite, Key: fmt.Sprintf("row %d of the batch", i+1), Err: err}}
}

func sizeOf(v any) int {
	const other = 16
	switch v := v.(type) {
	case string:
		return len(v) + other
	case []byte:
		return len(v) + other
	default:
		return other
	}
}

// onDuplicate returns the end of an insert statement that replaces the values of a
// row with an existing key. Both MySQL and MariaDB support its form values().
//
// With a column newer, values are replaced only if the row has no greater one there. The columns
// are set from left to right, so this one comes last: the others compare with its old value.
func onDuplicate(columns, key []string, newer *rowmap.Column, enum bool) string {
	var set []string
	for _, name := range columns {
		if !slices.Contains(key, name) && (newer == nil || name != newer.Name) {
			set = append(set, rowmap.Backtick(name)+" = "+unlessNewer(name, newer, enum))
		}
	}
	if newer != nil {
		set = append(set, rowmap.Backtick(newer.Name)+" = "+unlessNewer(newer.Name, newer, enum))
	}
	if set == nil { // the clause must set something
		set = []string{rowmap.Backtick(key[0]) + " = " + rowmap.Backtick(key[0])}
	}
	return " on duplicate key update " + strings.Join(set, ", ")
}

// mysqlValue returns a field's value for the driver.
func mysqlValue(field reflect.Value) (any, error) {
	v, err := driver.DefaultParameterConverter.ConvertValue(field.Interface())
	if err != nil {
		_, isValuer := field.Interface().(driver.Valuer)
		if n := reflect.Indirect(field); !isValuer && n.CanUint() {
			return n.Uint(), nil // the driver accepts values over the maximum of int64
		}
		return nil, err
	}
	switch v := v.(type) {
	case time.Time:
		// The server would round, possibly to a time in the future.
		if v = v.Truncate(time.Microsecond); v.IsZero() {
			return nil, errors.New("MySQL's driver would store the time 0001-01-01 00:00:00 as 0000-00-00: use a pointer, so that it can be NULL")
		}
		return v, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("MySQL cannot store %v: use a pointer, so that it can be NULL", v)
		}
	case []byte:
		if t := field.Type(); t == reflect.TypeFor[json.RawMessage]() || t == reflect.TypeFor[*json.RawMessage]() {
			return string(v), nil // MySQL does not accept bytes as JSON
		}
	}
	return v, nil
}
