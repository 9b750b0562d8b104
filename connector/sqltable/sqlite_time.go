package sqltable

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
)

// textExpression returns SQL that yields the text of a column as it is stored, after a "t", or NULL if
// it is no text. A driver turns the text of some columns into times. One of them makes the year 1 of
// a text that it cannot read.
func textExpression(name string) string {
	return "case typeof(" + name + ") when 'text' then 't' || " + name + " end"
}

// timePlaces returns the places of the targets that are times.
func timePlaces(targets []any) []int {
	var places []int
	for i, t := range targets {
		if _, isTime := t.(timeTarget); isTime {
			places = append(places, i)
		}
	}
	return places
}

// heldValue is a scan target that keeps what the driver returns.
type heldValue struct{ src any }

// Scan implements sql.Scanner.
func (h *heldValue) Scan(src any) error {
	if b, ok := src.([]byte); ok {
		src = slices.Clone(b)
	}
	h.src = src
	return nil
}

// sqliteTime sets a time by its text, or by what the driver returned if it is no text.
func sqliteTime(target timeTarget, text sql.NullString, held *heldValue) error {
	if !text.Valid {
		return target.Scan(held.src)
	}
	parsed, err := parseTime(strings.TrimPrefix(text.String, "t"))
	if err != nil {
		return err
	}
	return target.set(&parsed)
}

// timeText matches a text that is a date and a time. Texts of one spelling sort like the times; texts
// of two do not.
var timeText = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)([T ])\d\d:\d\d(?::\d\d(\.\d+)?)?(Z| ?[+-]\d\d:?\d\d.*)?$`)

// spelling returns the part of a text's form by which times of one day sort, and whether the text is a
// time. A Z sorts after a dot, so with one the number of digits counts.
func spelling(literal string) (string, bool) {
	text, err := parseLiteral(literal)
	s, isText := text.(string)
	if err != nil || !isText {
		return "", false
	}
	parts := timeText.FindStringSubmatch(s)
	if parts == nil {
		return "", false
	}
	form := parts[2] + parts[4]
	if parts[4] == "Z" {
		form += fmt.Sprint(len(parts[3]))
	}
	return form, true
}

// spellingError returns the error of two keys that are times in two spellings.
func (r *reader[T]) spellingError(column string, a, b string) error {
	return dataflow.Permanent(fmt.Errorf("key column %q has times in two spellings, %s and %s: as texts they are not in the order of time, and rows would be skipped: "+
		"write all alike, or select one form and order by it, such as strftime('%%Y-%%m-%%d %%H:%%M:%%f', %s) as %s", column, a, b, column, column))
}

// checkSpelling returns an error if a key is a time in another spelling than the key before it.
func (r *reader[T]) checkSpelling(keys []string) error {
	width := len(r.query.Key)
	if r.mysql != nil || len(keys) < 2*width {
		return nil
	}
	before, key := keys[len(keys)-2*width:len(keys)-width], keys[len(keys)-width:]
	return r.sameSpelling(before, key)
}

func (r *reader[T]) sameSpelling(before, key []string) error {
	for i, column := range r.query.Key[:len(key)] {
		a, isTime := spelling(before[i])
		b, isToo := spelling(key[i])
		if isTime && isToo && a != b {
			return r.spellingError(column, before[i], key[i])
		}
	}
	return nil
}

// checkSpellingBefore looks for rows before a cursor, on its day or the day before, whose first key
// is a time in another spelling. They may be new, and would never be read.
func (r *reader[T]) checkSpellingBefore(ctx context.Context, from Cursor) error {
	if r.mysql != nil || len(from) == 0 {
		return nil
	}
	if _, isTime := spelling(from[0]); !isTime {
		return nil
	}
	value, err := parseLiteral(from[0])
	if err != nil {
		return err
	}
	const rows = 1000 // the newest ones before the cursor
	column := r.query.Qualified(r.query.Key[:1])[0]
	mark := fmt.Sprintf("?%d", len(r.args)+1)
	rest := " else '' end"
	form := func(x string) string {
		return "substr(" + x + ", 11, 1) || case when " + x + " like '%Z' then 'Z' || length(" + x + ") when substr(" + x + ", 20) glob '*[+-][0-9][0-9]*' then ltrim(substr(" + x + ", 20), '.0123456789')" + rest
	}
	query := "select " + textExpression(column) + " from (" + strings.TrimRight(strings.TrimSpace(r.query.SQL), ";") + ") q where typeof(" + column + ") = 'text'" +
		" and " + column + " < " + mark + " and " + column + " >= date(substr(" + mark + ", 1, 10), '-1 day')" +
		" and " + column + " glob '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ][0-9][0-9]:*' and " + form(column) + " <> " + form(mark) + " limit " + fmt.Sprint(rows)
	found, err := r.run(ctx, query, slices.Concat(r.args, []any{value}))
	if err != nil {
		return err
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var text string
		if err := found.Scan(&text); err != nil {
			return err
		}
		other, err := literalOf(text)
		if err != nil {
			return err
		}
		if err := r.sameSpelling([]string{other}, from[:1]); err != nil {
			return err
		}
	}
	return found.Err()
}
