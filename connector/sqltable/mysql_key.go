package sqltable

import (
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// mysqlKey says how a key column of MySQL is read into a cursor and compared with
// one. A parameter must have the column's type: MySQL compares a number with a text
// as floats, by which close numbers are equal.
type mysqlKey struct {
	read    func(column string) string // SQL that returns the value for literal
	cast    string                     // the SQL of the parameter
	literal func(any) (string, error)
	arg     func(literal string) (any, error)
	text    bool
	bytes   bool
}

// mysqlKeyOf returns the mysqlKey for a column, chosen by the driver's name of its
// type.
func mysqlKeyOf(column *sql.ColumnType) (mysqlKey, error) {
	name := strings.TrimPrefix(column.DatabaseTypeName(), "UNSIGNED ")
	switch name {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "YEAR":
		return mysqlKey{read: itself, cast: "?", literal: numberLiteral, arg: integerArg}, nil
	case "DECIMAL":
		_, scale, _ := column.DecimalSize()
		return mysqlKey{read: asText, cast: fmt.Sprintf("cast(? as decimal(65, %d))", scale), literal: numberLiteral, arg: decimalArg}, nil
	case "FLOAT", "DOUBLE":
		// MySQL prints a float with fewer digits than it has.
		return mysqlKey{read: func(c string) string { return c + " + 0e0" }, cast: "?", literal: floatLiteral, arg: floatArg}, nil
	case "DATE":
		return mysqlKey{read: asText, cast: "cast(? as date)", literal: timeLiteral, arg: dateArg}, nil
	case "DATETIME", "TIMESTAMP":
		return mysqlKey{read: asText, cast: "cast(? as datetime(6))", literal: timeLiteral, arg: timeArg}, nil
	case "CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT":
		return mysqlKey{read: asText, cast: "?", literal: textLiteral, arg: textArg, text: true}, nil
	case "BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB":
		return mysqlKey{read: func(c string) string { return "hex(" + c + ")" }, cast: "unhex(?)", literal: hexLiteral, arg: hexArg, bytes: true}, nil
	default:
		return mysqlKey{}, dataflow.Permanent(fmt.Errorf("key column %q is of type %s, which MySQL sorts and compares differently: use a number, text, bytes, date or datetime, for example cast(… as char) as %s",
			column.Name(), name, rowmap.Backtick(column.Name())))
	}
}

func itself(column string) string { return column }

// asText returns SQL that yields a value as the server's text, which the driver
// does not convert.
func asText(column string) string { return "cast(" + column + " as char)" }

// textOf returns a value from the driver as text.
func textOf(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}

func numberLiteral(v any) (string, error) { return textOf(v), nil }

func floatLiteral(v any) (string, error) {
	if _, ok := v.(float64); ok {
		return literalOf(v)
	}
	f, err := strconv.ParseFloat(textOf(v), 64)
	if err != nil {
		return "", err
	}
	return literalOf(f)
}

func textLiteral(v any) (string, error) { return literalOf("t" + textOf(v)) }

func hexLiteral(v any) (string, error) { return "x'" + strings.ToLower(textOf(v)) + "'", nil }

func integerArg(literal string) (any, error) {
	if n, err := strconv.ParseInt(literal, 10, 64); err == nil {
		return n, nil
	}
	n, err := strconv.ParseUint(literal, 10, 64)
	if err != nil {
		return nil, errors.New("a whole number")
	}
	return n, nil
}

var decimalPattern = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

func decimalArg(literal string) (any, error) {
	if !decimalPattern.MatchString(literal) {
		return nil, errors.New("a decimal number")
	}
	return literal, nil
}

func floatArg(literal string) (any, error) {
	f, err := strconv.ParseFloat(literal, 64)
	if err != nil {
		return nil, errors.New("a number")
	}
	return f, nil
}

func textArg(literal string) (any, error) {
	if v, err := parseLiteral(literal); err == nil {
		if s, ok := v.(string); ok {
			return s, nil
		}
	}
	return nil, errors.New("text in single quotes")
}

// timeArg rejects a time that MySQL would turn into NULL: a comparison with NULL
// finds no rows.
func timeArg(literal string) (any, error) {
	v, err := textArg(literal)
	if err != nil || !isTime(v.(string)) { //nolint:forcetypeassert // textArg returns only strings
		return nil, errors.New("a time like '2006-01-02 15:04:05.000000'")
	}
	return v, nil
}

// dateArg rejects a time of day: the column had one when the cursor was stored, and the rows of that day that came later
// have no place after it.
func dateArg(literal string) (any, error) {
	v, err := timeArg(literal)
	if err != nil || len(v.(string)) != len(time.DateOnly) { //nolint:forcetypeassert // timeArg returns only strings
		return nil, errors.New("a date like '2006-01-02'")
	}
	return v, nil
}

// timeLiteral returns an error for a time that timeArg would reject, such as
// 0000-00-00.
func timeLiteral(v any) (string, error) {
	if !isTime(textOf(v)) {
		return "", dataflow.Permanent(fmt.Errorf("a key has the invalid time %s: exclude such rows in the query", textOf(v)))
	}
	return textLiteral(v)
}

func isTime(s string) bool {
	for _, layout := range []string{time.DateTime, time.DateOnly} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

func hexArg(literal string) (any, error) {
	if v, err := parseLiteral(literal); err == nil {
		if b, ok := v.([]byte); ok {
			return hex.EncodeToString(b), nil
		}
	}
	return nil, errors.New("bytes like x'00ff'")
}

// mysqlKeys are the key columns of a query.
type mysqlKeys []mysqlKey

// values returns a cursor as arguments of a statement.
func (keys mysqlKeys) values(from Cursor) ([]any, error) {
	if len(from) > len(keys) {
		return nil, dataflow.Permanent(fmt.Errorf("the stored cursor %s has more values than the key has columns: restore the old key, or give the changed flow a new name", from))
	}
	values := make([]any, len(from))
	for i, literal := range from {
		v, err := keys[i].arg(literal)
		if err != nil {
			return nil, dataflow.Permanent(fmt.Errorf("value %d of the stored cursor %s is not %w", i+1, from, err))
		}
		values[i] = v
	}
	return values, nil
}
