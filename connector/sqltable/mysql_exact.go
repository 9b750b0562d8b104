package sqltable

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// checkValues returns an error if strict mode would let MySQL store a value of a row as another one: a part of a number,
// a text without the blanks at its end, another label of an enum, or the time of the write in place of NULL. It goes by
// the types that the table had when it was checked.
func (s *mysqlSink[T]) checkValues(row int, values []any) error {
	t := s.table.Load()
	if t == nil {
		return nil
	}
	for i, v := range values {
		if b, ok := v.([]byte); ok {
			v = string(b)
		}
		if err := s.checkClock(i, v); err != nil {
			return badRow(row, err)
		}
		if !mayChange(v) && !s.delicate(i, v) {
			continue
		}
		c, declared := &s.sink.fields.Columns[i], t.written[i].declared
		becomes := mysqlChange(v, declared)
		if becomes == "" && s.sink.upsert && slices.Contains(s.sink.key, c.Name) {
			becomes = mysqlKeyChange(v, declared)
		}
		if becomes != "" {
			return badRow(row, fmt.Errorf("column %q (field %s): MySQL would store %s as %s in a column of type %s", c.Name, c.Field, rowmap.Clip(valueText(v)), becomes, rowmap.Clip(declared)))
		}
	}
	return nil
}

func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return strconv.Quote(v)
	case time.Time:
		return v.Format("2006-01-02 15:04:05.999999999 -07:00")
	default:
		return fmt.Sprint(v)
	}
}

// checkClock returns an error if a value is a time that the clock of a timestamp column shows twice.
func (s *mysqlSink[T]) checkClock(i int, v any) error {
	t := s.table.Load()
	at, isTime := v.(time.Time)
	if !isTime || t == nil || t.clock == nil || t.written[i].name != "timestamp" {
		return nil
	}
	if err := checkRepeated(at.In(t.clock)); err != nil {
		return fmt.Errorf("column %q (field %s): %w", s.sink.fields.Columns[i].Name, s.sink.fields.Columns[i].Field, err)
	}
	return nil
}

// delicate reports whether a written column is of a type that changes values of its own: all of them may be others.
func (s *mysqlSink[T]) delicate(i int, v any) bool {
	t := s.table.Load()
	if t == nil || i >= len(t.written) {
		return false
	}
	switch text, isText := v.(string); t.written[i].name {
	case "enum", "set":
		return isText
	case "year", "time":
		return v != nil
	case "datetime", "timestamp":
		_, isTime := v.(time.Time)
		return isText && strings.Contains(text, ".") || isTime && s.sink.upsert || v == nil && t.written[i].name == "timestamp"
	default:
		return false
	}
}

var columnTypePattern = regexp.MustCompile(`^(\w+)(?:\((\d+)(?:,(\d+))?\))?`)

// mysqlBlanks are what strict mode cuts at the end of a text that is too long, without an error.
const mysqlBlanks = " \t\n\v\f\r"

// mayChange reports whether MySQL stores a value as another one in columns of some types.
func mayChange(v any) bool {
	switch v := v.(type) {
	case string:
		return v != strings.TrimRight(v, mysqlBlanks) || numberText.MatchString(v)
	case float64:
		return v != 0
	case int64:
		return v > 1<<24 || v < -1<<24
	case uint64:
		return true
	default:
		return false
	}
}

// mysqlChange says what a column would hold in place of a value, "" for the value itself. A number becomes the nearest
// one of a floating-point type, and a float the nearest decimal.
func mysqlChange(v any, declared string) string {
	parts := columnTypePattern.FindStringSubmatch(strings.ToLower(declared))
	if parts == nil {
		return ""
	}
	text, isText := v.(string)
	f, isFloat := v.(float64)
	switch parts[1] {
	case "year":
		if becomes := yearChange(v); becomes != "" {
			return becomes
		}
		fallthrough
	case "tinyint", "smallint", "mediumint", "int", "bigint", "bit":
		if isFloat && f != math.Trunc(f) || isText && parts[1] != "bit" && !isWhole(text, 0) {
			return "a whole number"
		}
	case "decimal":
		scale, _ := strconv.Atoi(parts[3])
		if isText && !isWhole(text, scale) {
			return fmt.Sprintf("a number with %d digits after the point", scale)
		}
	case "float", "double":
		return floatChange(v, parts[1] == "float")
	case "enum", "set":
		number := strings.Trim(text, mysqlBlanks)
		if isFloat && f != math.Trunc(f) || isText && number != "" && strings.Trim(number, "+0123456789") == "" && !strings.Contains(declared, "'"+number+"'") {
			return "the label of that number"
		}
		if isText {
			return labelChange(text, declared, parts[1] == "set")
		}
	case "time", "datetime", "timestamp":
		return timeChange(v, parts[1], parts[2], declared)
	case "tinytext", "text", "mediumtext":
		return blankChange(text, parts[1], declared)
	case "char", "varchar":
		most, _ := strconv.Atoi(parts[2])
		if isFloat && shortest(f) > most {
			return "a number with fewer digits"
		}
		if parts[1] == "char" {
			text = strings.TrimRight(text, " ") // a char has no blanks at its end, however long it is
		}
		if text != strings.TrimRight(text, mysqlBlanks) && utf8.RuneCountInString(text) > most {
			return "a shorter text"
		}
	}
	return ""
}

// shortest returns how many characters MySQL needs for all digits of a float.
func shortest(f float64) int {
	power := strings.NewReplacer("e+0", "e", "e+", "e", "e-0", "e-").Replace(strconv.FormatFloat(f, 'e', -1, 64))
	return min(len(power), len(strconv.FormatFloat(f, 'f', -1, 64)))
}

// isWhole reports whether a text is no number, or one with so many digits after the point at most.
func isWhole(text string, digits int) bool {
	n, ok := new(big.Rat).SetString(strings.TrimSpace(text))
	if !numberText.MatchString(text) || !ok {
		return true // MySQL refuses it
	}
	return n.Mul(n, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil))).IsInt()
}

// floatChange is mysqlChange for a floating-point type.
func floatChange(v any, single bool) string {
	var exact *big.Float
	switch v := v.(type) {
	case int64:
		if v <= 1<<24 && v >= -1<<24 {
			return ""
		}
		exact = new(big.Float).SetInt64(v)
	case uint64:
		exact = new(big.Float).SetUint64(v)
	case float64:
		if single && float32(v) == 0 {
			return "0"
		}
		return ""
	default:
		return ""
	}
	stored, _ := exact.Float64()
	if single {
		f, _ := exact.Float32()
		stored = float64(f)
	}
	if exact.Cmp(big.NewFloat(stored)) == 0 {
		return ""
	}
	return strconv.FormatFloat(stored, 'f', -1, 64)
}
