package pgtable

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// column is a field and the column that it is written to.
type column struct {
	tableColumn
	field *rowmap.Column
	key   bool
	// wire is the SQL type of the elements of the parameter array.
	wire string
	pgx  bool // true if pgx makes the text of the values
	// array creates the array for the values of a batch.
	array func(m *pgtype.Map, n int) array
}

// array collects the values of a column.
type array interface {
	// add adds a value, and reports whether it is null.
	add(v reflect.Value) (null bool, err error)
	// argument returns the parameter for pgx.
	argument() any
}

// newColumn chooses how the values of a field are sent. If Go's type and the
// column's type are of one kind, they are sent unchanged. Otherwise they are sent
// as the text that pgx makes for the column's type. Postgres casts that text.
func newColumn(field *rowmap.Column, to tableColumn, key bool) *column {
	c := &column{tableColumn: to, field: field, key: key}
	t := field.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case hasMethods(t) && t != reflect.TypeFor[time.Time]():
		c.asText()
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 && c.isInteger():
		c.wire, c.array = "bigint", c.integers()
	case t.Kind() == reflect.String && c.takesText(t):
		c.wire, c.array = "text", plain(reflect.Value.String)
	case t.Kind() == reflect.Bool && to.oid == pgtype.BoolOID:
		c.wire, c.array = "boolean", plain(reflect.Value.Bool)
	case (t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32) && (to.oid == pgtype.Float8OID || to.oid == pgtype.Float4OID):
		c.wire, c.array = "double precision", plain(reflect.Value.Float)
	case t == reflect.TypeFor[time.Time]() && to.oid == pgtype.TimestamptzOID:
		// Read through a pointer: v.Interface would copy the time to the heap.
		c.wire, c.array = to.typ, plain(func(v reflect.Value) time.Time { return *v.Addr().Interface().(*time.Time) })
	default:
		c.asText()
	}
	return c
}

// hasMethods reports whether a type might encode itself.
func hasMethods(t reflect.Type) bool { return reflect.PointerTo(t).NumMethod() > 0 }

func (c *column) isInteger() bool {
	return c.oid == pgtype.Int8OID || c.oid == pgtype.Int4OID || c.oid == pgtype.Int2OID
}

// takesText reports whether a string is written unchanged. For a JSON column, pgx
// treats a string as JSON, but a type based on string as a value to encode.
func (c *column) takesText(t reflect.Type) bool {
	return t == reflect.TypeFor[string]() || (c.oid != pgtype.JSONOID && c.oid != pgtype.JSONBOID && !c.isArray)
}

// collate returns the clause by which Postgres compares keys as the table does.
func (c *column) collate() string {
	if c.collation == "" {
		return ""
	}
	return " collate " + c.collation
}

// plainArray is an array of values that pgx encodes directly.
type plainArray[V any] struct {
	get    func(reflect.Value) V
	values []V
	valid  []*V // nil until a value is null
}

func plain[V any](get func(reflect.Value) V) func(*pgtype.Map, int) array {
	return func(_ *pgtype.Map, n int) array {
		return &plainArray[V]{get: get, values: make([]V, 0, n)}
	}
}

func (a *plainArray[V]) add(v reflect.Value) (bool, error) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			a.addNull()
			return true, nil
		}
		v = v.Elem()
	}
	a.push(a.get(v))
	return false, nil
}

// push adds a value. The capacity holds all values, so they never move.
func (a *plainArray[V]) push(v V) {
	a.values = append(a.values, v)
	if a.valid != nil {
		a.valid = append(a.valid, &a.values[len(a.values)-1])
	}
}

func (a *plainArray[V]) addNull() {
	if a.valid == nil {
		a.valid = make([]*V, 0, cap(a.values))
		for i := range a.values {
			a.valid = append(a.valid, &a.values[i])
		}
	}
	var zero V
	a.values = append(a.values, zero)
	a.valid = append(a.valid, nil)
}

func (a *plainArray[V]) argument() any {
	if a.valid != nil {
		return a.valid
	}
	return a.values
}

// integerArray is an array of integers in the range of the column. Postgres would
// reject the others too, but without naming the column.
type integerArray struct {
	plainArray[int64]
	least, most int64
}

func (c *column) integers() func(*pgtype.Map, int) array {
	least, most := int64(math.MinInt64), int64(math.MaxInt64)
	switch c.oid {
	case pgtype.Int4OID:
		least, most = math.MinInt32, math.MaxInt32
	case pgtype.Int2OID:
		least, most = math.MinInt16, math.MaxInt16
	}
	return func(_ *pgtype.Map, n int) array {
		return &integerArray{plainArray: plainArray[int64]{values: make([]int64, 0, n)}, least: least, most: most}
	}
}

func (a *integerArray) add(v reflect.Value) (bool, error) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			a.addNull()
			return true, nil
		}
		v = v.Elem()
	}
	var n int64
	if v.CanInt() {
		n = v.Int()
	} else if u := v.Uint(); u <= math.MaxInt64 {
		n = int64(u)
	} else {
		return false, fmt.Errorf("%s is greater than the column's maximum %d", strconv.FormatUint(u, 10), a.most)
	}
	switch {
	case n > a.most:
		return false, fmt.Errorf("%d is greater than the column's maximum %d", n, a.most)
	case n < a.least:
		return false, fmt.Errorf("%d is less than the column's minimum %d", n, a.least)
	}
	a.push(n)
	return false, nil
}

// textArray is an array of values, each as text.
type textArray struct {
	plainArray[string]
	m       *pgtype.Map
	of      *column
	convert reflect.Type // nil if values go to pgx unchanged
	buf     []byte
}

func (c *column) asText() {
	var convert reflect.Type
	// pgx would write a slice type with a String method as that string, not as an
	// array.
	if t := c.field.Type; c.isArray && t.Kind() == reflect.Slice && !t.Implements(reflect.TypeFor[driver.Valuer]()) {
		convert = reflect.SliceOf(t.Elem())
	}
	c.wire, c.pgx = "text", true
	c.array = func(m *pgtype.Map, n int) array {
		return &textArray{plainArray: plainArray[string]{values: make([]string, 0, n)}, m: m, of: c, convert: convert}
	}
}

func (a *textArray) add(v reflect.Value) (bool, error) {
	if a.of.isArray {
		if err := checkRagged(v); err != nil {
			return false, err
		}
	}
	if a.convert != nil {
		v = v.Convert(a.convert)
	}
	text, err := pgxText(a.m, a.of.oid, toWrite(a.m, a.of.oid, v), &a.buf)
	var narrow *narrowError
	if errors.As(err, &narrow) {
		return false, narrow // pgx repeats the value
	}
	if err != nil {
		return false, a.of.writeError(a.m, v.Interface(), err)
	}
	if text == nil {
		a.addNull()
		return true, nil
	}
	if a.of.oid == pgtype.QCharOID || a.of.oid == pgtype.QCharArrayOID { // pgx takes an empty "char" for a zero byte
		a.push(strings.ReplaceAll(string(text), "\x00", emptyChar(a.of.isArray)))
		return false, nil
	}
	if !a.of.isArray { // of a type with its own way to make a text
		if err := a.of.checkText(string(text)); err != nil {
			return false, err
		}
	}
	a.push(string(text))
	return false, nil
}

func emptyChar(inArray bool) string {
	if inArray {
		return `""`
	}
	return ""
}

// encode turns the rows of a batch into one array for each column.
func (st *statement) encode(m *pgtype.Map, rows reflect.Value) ([]any, error) {
	args := make([]any, len(st.columns))
	if slices.ContainsFunc(st.columns, func(c *column) bool { return c.pgx }) {
		m = signedIntervals(strictMap(m, 0))
	}
	for i, c := range st.columns {
		values := c.array(m, rows.Len())
		for j := range rows.Len() {
			null, err := c.add(values, c.field.In(rows.Index(j)))
			if err == nil && null && c.key {
				err = errors.New("a key must not be NULL")
			}
			if err != nil {
				return nil, badRow(j, fmt.Errorf("column %q (field %s): %w", c.name, c.field.Field, err))
			}
		}
		args[i] = values.argument()
	}
	return args, nil
}

// add adds a value, unless Postgres would change it.
func (c *column) add(values array, v reflect.Value) (null bool, err error) {
	if c.cutsTexts() {
		if err := c.checkTexts(v); err != nil {
			return false, err
		}
	}
	if f := v; c.oid == pgtype.Float4OID {
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if f.CanFloat() {
			if err := checkFloat(c.oid, f.Float()); err != nil {
				return false, err
			}
		}
	}
	return values.add(v)
}

// badRow returns the error of row i of a batch, counted from 0.
func badRow(i int, err error) error {
	return &dataflow.RowError{Row: i, Err: &dataflow.RecordError{Stage: dataflow.StageWrite, Key: fmt.Sprintf("row %d of the batch", i+1), Err: err}}
}
