package sqltable

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// checkNumbers returns an error that names a row, if SQLite would store a number that is written as a text with fewer
// digits. It makes a float of it where the column is declared as decimal, numeric or the like, or as an integer. In a
// column that is declared as a float, that is what it is for; there it is a whole number that may lose digits. A column
// that is declared as a string or as JSON takes numbers too, and so would change the text of one, as from 007 to 7.
func (s *sink[T]) checkNumbers(ctx context.Context, tx sqlTx, from int, args []any) error {
	columns := s.fields.Columns
	var types map[string]string
	for i, arg := range args {
		stored, in := sqliteChange(arg)
		if stored == "" {
			continue
		}
		if types == nil {
			var err error
			if types, err = columnTypes(ctx, tx, s.name); err != nil {
				return err
			}
		}
		c := &columns[i%len(columns)]
		if declared := types[strings.ToLower(c.Name)]; in(declared) {
			return &dataflow.RowError{Row: from + i/len(columns), Alone: true, Err: fmt.Errorf("column %q (field %s): SQLite would store %s as %s in a column of type %s: declare it as %s",
				c.Name, c.Field, rowmap.Clip(valueText(arg)), stored, declared, declareAs(arg))}
		}
	}
	return nil
}

// sqliteChange returns what SQLite stores in place of a value, "" for itself, and in columns of which declared types.
func sqliteChange(arg any) (stored string, in func(declared string) bool) {
	switch v := arg.(type) {
	case int64:
		if v > 1<<53 || v < -1<<53 {
			return floatChange(v, false), isReal
		}
	case string:
		if float := outOfRange(v); float != "" {
			return float, func(declared string) bool { return takesNumbers(declared) || isReal(declared) }
		}
		if float, loses := rounded(v); loses {
			return float, takesNumbers
		}
		if number, changes := respelled(v); changes {
			return number, func(declared string) bool { return takesNumbers(declared) && isForTexts(declared) }
		}
	}
	return "", nil
}

// isForTexts reports whether the name of a type is one for texts, although SQLite takes it for one of numbers.
func isForTexts(declared string) bool {
	return slices.ContainsFunc([]string{"STRING", "UUID", "GUID", "ULID", "ENUM", "JSON", "BINARY", "BYTEA"}, func(part string) bool { return strings.Contains(strings.ToUpper(declared), part) })
}

// takesNumbers reports whether SQLite makes a number of a text that is one, in a column that is not for floats.
func takesNumbers(declared string) bool {
	affinity := affinityOf(declared)
	return affinity != "text" && affinity != "" && !isFloatType(declared) && !strings.EqualFold(declared, "any")
}

// isReal reports whether SQLite makes a float of a whole number in a column.
func isReal(declared string) bool {
	return isFloatType(declared) && affinityOf(declared) == "number" && !strings.Contains(strings.ToUpper(declared), "INT")
}

// declareAs returns the type that a column should have for a value.
func declareAs(arg any) string {
	if _, isText := arg.(string); isText {
		return "text"
	}
	return "integer"
}

// exactDigits is the number of decimal digits that each float keeps.
const exactDigits = 15

var numberText = regexp.MustCompile(`^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*$`)

var anyNumberText = regexp.MustCompile(`^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$`)

// outOfRange returns what SQLite makes of a number that is written as a text and is too great or too small for a float,
// such as 123e4567: infinity, or 0. It returns "" for others.
func outOfRange(text string) string {
	if text == "" || text[0] > '9' || len(text) < 300 && !strings.ContainsAny(text, "eE") { // most texts: few digits, no exponent
		return ""
	}
	parts := anyNumberText.FindStringSubmatch(text)
	if parts == nil {
		return ""
	}
	f, _ := strconv.ParseFloat(strings.TrimSpace(text), 64) // infinity comes with an error
	if math.IsInf(f, 0) || f == 0 && strings.ContainsAny(parts[1], "123456789") {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return ""
}

// rounded returns the float of a number that is written as a text, and whether it is another number.
func rounded(text string) (float string, loses bool) {
	if len(text) <= exactDigits || !numberText.MatchString(text) {
		return "", false
	}
	text = strings.TrimSpace(text)
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return "", false // it is stored as an integer
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return "", false // it is infinity, see outOfRange
	}
	float = strconv.FormatFloat(f, 'g', -1, 64)
	exact, ok := new(big.Rat).SetString(text)
	stored, isNumber := new(big.Rat).SetString(float)
	return float, ok && isNumber && exact.Cmp(stored) != 0
}

// respelled returns the number that SQLite makes of a text where it takes numbers, and whether its text is another one.
func respelled(text string) (number string, changes bool) {
	if text == "" || text[0] > '9' || !numberText.MatchString(text) {
		return "", false
	}
	trimmed := strings.TrimSpace(text)
	if n, err := strconv.ParseInt(trimmed, 10, 64); err == nil {
		number = strconv.FormatInt(n, 10)
	} else {
		f, _ := strconv.ParseFloat(trimmed, 64) // It is a number. One that is too great is infinity, in SQLite too.
		number = strconv.FormatFloat(f, 'f', -1, 64)
	}
	return number, number != text
}

// isFloatType reports whether SQLite makes a float of each number in a column.
func isFloatType(declared string) bool {
	d := strings.ToUpper(declared)
	return strings.Contains(d, "REAL") || strings.Contains(d, "FLOA") || strings.Contains(d, "DOUBLE")
}

const typesQuery = `select name, type from pragma_table_xinfo(?)`

// columnTypes looks up the declared types of a table's columns, by their names in lower case.
func columnTypes(ctx context.Context, tx sqlTx, name []string) (map[string]string, error) {
	query, args := typesQuery, []any{name[len(name)-1]}
	if len(name) == 2 {
		query, args = strings.Replace(query, "(?)", "(?, ?)", 1), append(args, name[0])
	}
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	types := make(map[string]string)
	for rows.Next() {
		var column, declared string
		if err := rows.Scan(&column, &declared); err != nil {
			return nil, err
		}
		types[strings.ToLower(column)] = declared
	}
	return types, rows.Err()
}
