package sqltable

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Cursor is the place directly after a row: the values of its key columns in the
// order of [Query.Key]. Each is written as in SQL: 17, 0.5, 'text', x'00ff'. So a
// value keeps its type, without which SQLite would not find it equal. t'00ff' is
// text that is not UTF-8.
type Cursor []string

// String names the last row before the cursor: "17", or "('2024-01-01', 17)".
func (c Cursor) String() string {
	if high, at := rowmap.SplitMarked(c, 1); at != nil {
		return rowmap.TextAgain(Cursor(high).String(), Cursor(at).String())
	}
	if len(c) == 1 {
		return c[0]
	}
	return "(" + strings.Join(c, ", ") + ")"
}

// values returns the cursor as arguments of a statement.
func (c Cursor) values() ([]any, error) {
	values := make([]any, len(c))
	for i, literal := range c {
		v, err := parseLiteral(literal)
		if err != nil {
			return nil, fmt.Errorf("value %d of the stored cursor: %w", i+1, err)
		}
		values[i] = v
	}
	return values, nil
}

// storedExpression returns SQL that yields a column as it is stored. A driver turns
// the text of some columns into times; the prefix "t" prevents that.
func storedExpression(name string) string {
	return "case typeof(" + name + ") when 'text' then 't' || " + name + " else " + name + " end"
}

// literalOf writes a value of storedExpression as a literal of a cursor.
func literalOf(v any) (string, error) {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".eIN") {
			s += ".0" // otherwise it would be read as an integer
		}
		return s, nil
	case []byte:
		return "x'" + hex.EncodeToString(v) + "'", nil
	case string:
		text := strings.TrimPrefix(v, "t")
		if !utf8.ValidString(text) {
			return "t'" + hex.EncodeToString([]byte(text)) + "'", nil // JSON would change it
		}
		return "'" + strings.ReplaceAll(text, "'", "''") + "'", nil
	default:
		return "", fmt.Errorf("the driver returned a %T", v)
	}
}

// parseLiteral reads a literal written by literalOf.
func parseLiteral(s string) (any, error) {
	prefix, quoted, isQuoted := strings.Cut(s, "'")
	if !isQuoted {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number, text in single quotes, or x'…'", s)
		}
		return f, nil
	}
	body, closed := strings.CutSuffix(quoted, "'")
	if !closed {
		return nil, fmt.Errorf("%q has no closing quote", s)
	}
	if prefix == "" {
		return strings.ReplaceAll(body, "''", "'"), nil
	}
	b, err := hex.DecodeString(body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q: %w", s, err)
	case prefix == "x":
		return b, nil
	case prefix == "t":
		return string(b), nil
	default:
		return nil, fmt.Errorf("%q begins with neither x nor t", s)
	}
}
