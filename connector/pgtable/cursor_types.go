package pgtable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// The types of time that the text of a cursor shows.
const (
	dateOnly = "date"
	zoneless = "timestamp without time zone"
	withZone = "timestamp with time zone"

	clock         = "time without time zone"
	clockWithZone = "time with time zone"
)

// collateMark precedes the collation in the text of a keyType.
const collateMark = " collate "

// Texts that mean the same time in every session.
var (
	timeInCursor  = regexp.MustCompile(`^\d{4,}-\d\d?-\d\d?(?:([T ]\d[\d:.]*)? ?(Z|[+-]\d[\d:]*|[A-Za-z_]+/[A-Za-z_/]+|UTC)?)?(?: BC)?$`)
	clockInCursor = regexp.MustCompile(`^\d\d?:[\d:.]+ ?(Z|[+-]\d[\d:]*)?$`)
)

// timeTypeOf returns the type of the time that a cursor's text shows, or "" for any
// other text.
func timeTypeOf(text string) string {
	switch parts := timeInCursor.FindStringSubmatch(text); {
	case parts == nil:
		return ""
	case parts[2] != "":
		return withZone
	case parts[1] != "":
		return zoneless
	default:
		return dateOnly
	}
}

// clockTypeOf does the same for a time without a date.
func clockTypeOf(text string) string {
	switch parts := clockInCursor.FindStringSubmatch(text); {
	case parts == nil:
		return ""
	case parts[1] != "":
		return clockWithZone
	default:
		return clock
	}
}

// checkCursor refuses a cursor that may be at another place now: because the type of
// a key column has changed, or because its text depends on the session. It returns the
// cursor at the same row in the types of now.
func (r *reader) checkCursor(ctx context.Context, cursor Cursor) (Cursor, error) {
	values, types := rowmap.Place(cursor)
	if types == nil {
		return cursor, r.checkTimes(values)
	}
	at, err := r.convertTimes(ctx, values, types)
	if err != nil {
		return nil, err
	}
	folded := make([]bool, len(at))
	for i := range types {
		folded[i] = isFolded(types[i], r.keys[i].text)
	}
	for i, text := range values {
		now := r.keys[i].text
		reason := changed(types[i], now, text)
		if folded[i] {
			moved, err := r.hasMoved(ctx, at, folded)
			if err != nil {
				return nil, fmt.Errorf("look for rows that the new type %s of key column %q has moved: %w", now, r.query.Key[i], err)
			}
			if reason = ""; moved {
				reason = "a row is on the other side of the cursor now"
			}
		}
		if reason != "" {
			return nil, r.changedError(i, types[i], text, reason)
		}
	}
	return append(at, cursor[len(values):]...), r.checkTimes(at)
}

func (r *reader) changedError(i int, then, text, reason string) error {
	return dataflow.Permanent(fmt.Errorf("key column %q is of type %s, but the cursor's %q was made of type %s: %s: set the cursor with \"dataflow cursor set\"",
		r.query.Key[i], r.keys[i].text, text, then, reason))
}

func (r *reader) checkTimes(values []string) error {
	for i, text := range values {
		if err := checkTime(r.query.Key[i], r.keys[i].DataTypeOID, text); err != nil {
			return dataflow.Permanent(err)
		}
	}
	return nil
}

// isFolded reports whether a column of texts has become one of citext, which has the same texts in
// another order.
func isFolded(then, now string) bool {
	then, thenCollation, _ := strings.Cut(then, collateMark)
	now, nowCollation, _ := strings.Cut(now, collateMark)
	return now == "citext" && thenCollation == nowCollation && slices.Contains([]string{"text", "character varying", "name"}, then)
}

// hasMoved reports whether a row that was before the cursor, or at it, by the texts of the folded
// columns is after it now, or the other way round. It reads all rows of the query.
func (r *reader) hasMoved(ctx context.Context, values []string, folded []bool) (moved bool, err error) {
	whole := r.unbounded()
	columns := rowmap.Qualified(whole.query.Key)
	params := make([]string, len(columns))
	args := slices.Clone(whole.args)
	tuple := func(cast func(i int) string) string {
		list := slices.Clone(columns)
		for i := range list {
			args = append(args, values[i])
			list[i] += cast(i)
			params[i] = "$" + strconv.Itoa(len(args)) + cast(i)
		}
		return "(" + strings.Join(list, ", ") + ") > (" + strings.Join(params, ", ") + ")"
	}
	before := tuple(func(i int) string {
		if folded[i] {
			return "::text"
		}
		return r.keys[i].cast
	})
	now := tuple(func(i int) string { return r.keys[i].cast })
	err = r.pool.QueryRow(ctx, "select exists (select"+whole.query.From()+" where ("+before+") is distinct from ("+now+"))", args...).Scan(&moved)
	return moved, err
}

func isInfinite(text string) bool { return text == "infinity" || text == negativeInfinity }

func isMoment(typ string) bool { return typ == dateOnly || typ == zoneless || typ == withZone }

// checkTime refuses a time that is not of the column's type. Postgres would read it
// in the session's time zone, or drop its zone or its clock.
func checkTime(column string, oid uint32, text string) error {
	now, then := timeType(oid), timeTypeOf(text)
	switch now {
	case "":
		return nil
	case clock, clockWithZone:
		then = clockTypeOf(text)
	default:
		if isInfinite(text) {
			return nil
		}
	}
	switch {
	case then == now, then == dateOnly && now == zoneless:
		return nil
	case then == "":
		return fmt.Errorf("key column %q is a %s, and the cursor's %q is not a time that is the same in every session: set the cursor with \"dataflow cursor set\", to one such as %s",
			column, now, text, exampleTime(now))
	default:
		return fmt.Errorf("key column %q is a %s, but the cursor's %q is a %s, which does not say at which row it is: set the cursor with \"dataflow cursor set\", to a %[2]s such as %[5]s",
			column, now, text, then, exampleTime(now))
	}
}

func exampleTime(typ string) string {
	switch typ {
	case dateOnly:
		return "2024-01-31"
	case zoneless:
		return "2024-01-31T10:00:00"
	case withZone:
		return "2024-01-31T10:00:00Z"
	case clock:
		return "10:00:00"
	default:
		return "10:00:00+00"
	}
}

// wider returns the types that hold all values of a type in the same order, with the
// same texts.
func wider(typ string) []string {
	switch typ {
	case "smallint":
		return []string{"integer", "bigint", "numeric", "real", "double precision"}
	case "integer":
		return []string{"smallint", "bigint", "numeric", "double precision"}
	case "bigint":
		return []string{"smallint", "integer", "numeric"}
	case "oid":
		return []string{"bigint", "numeric"}
	case "real":
		return []string{"double precision"}
	case dateOnly:
		return []string{zoneless}
	case "text", "character varying", "character", "name":
		return []string{"text", "character varying"}
	case "cidr":
		return []string{"inet"}
	default:
		return nil
	}
}

// precision matches the precision and the scale of a type.
var precision = regexp.MustCompile(`^([a-z ]+)\((\d+)(?:,(-?\d+))?\)$`)

// changed returns why a cursor that was made of one type is not at the same place in
// the order of another type, or "" if it is.
func changed(then, now, text string) string {
	if then == now {
		return ""
	}
	if labels, ok := strings.CutPrefix(then, "enum "); ok && strings.HasPrefix(now, "enum ") {
		return changedEnum(labels, strings.TrimPrefix(now, "enum "), text)
	}
	then, thenCollation, _ := strings.Cut(then, collateMark)
	now, nowCollation, _ := strings.Cut(now, collateMark)
	then, thenScale, thenRounds := scaleOf(then)
	now, nowScale, nowRounds := scaleOf(now)
	switch {
	case isInfinite(text) && isMoment(then) && isMoment(now):
		return ""
	case then != now && zoneConversion(then, now) == nil && !slices.Contains(wider(then), now):
		return "the two types may order rows differently"
	case thenCollation != nowCollation:
		return "the two collations may order rows differently"
	case then == dateOnly:
		return "" // midnight, whatever the precision
	case nowRounds && then != now && nowScale >= 0 && !isMoment(now) && now != clockWithZone:
		return "" // whole numbers
	case nowRounds && (!thenRounds || nowScale < thenScale):
		return "the new type rounds, so that rows after the cursor may be at it now"
	default:
		return ""
	}
}

// scaleOf splits a type such as "numeric(12,2)" into its name and the number of
// digits after the point. rounds is false if it has no precision.
func scaleOf(typ string) (name string, scale int, rounds bool) {
	parts := precision.FindStringSubmatch(typ)
	if parts == nil {
		return typ, 0, false
	}
	digits := parts[2]
	if parts[3] != "" {
		digits = parts[3]
	}
	scale, err := strconv.Atoi(digits)
	return parts[1], scale, err == nil
}

// changedEnum compares the labels up to the cursor's. Those after it do not matter.
func changedEnum(then, now, text string) string {
	var before, after []string
	if json.Unmarshal([]byte(then), &before) != nil || json.Unmarshal([]byte(now), &after) != nil {
		return "its labels have changed"
	}
	i, j := slices.Index(before, text), slices.Index(after, text)
	switch {
	case j < 0:
		return fmt.Sprintf("it has no label %q any more", text)
	case slices.Equal(before[:i+1], after[:j+1]):
		return ""
	}
	for _, label := range after[:j] {
		if !slices.Contains(before, label) {
			return fmt.Sprintf("its label %q is new and before the cursor, so that rows with it would never be read", label)
		}
	}
	return "its labels up to the cursor are in another order"
}

// explainCursor names the value of the cursor, or of the end of the read, that
// Postgres cannot read as a value of its column. The error may also come from the
// query's own casts, so Postgres is asked.
func (r *reader) explainCursor(ctx context.Context, from Cursor, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !invalidText(pg.Code) || r.keys == nil {
		return err
	}
	values, _ := rowmap.Place(from)
	until, _ := rowmap.Place(r.until)
	for i, text := range slices.Concat(values, until) {
		i %= len(r.keys)
		var typ string
		if r.pool.QueryRow(ctx, "select pg_catalog.format_type($1::bigint::oid, -1)", int64(r.keys[i].DataTypeOID)).Scan(&typ) != nil {
			return err
		}
		_, readErr := r.pool.Exec(ctx, "select $1::text::"+typ, text)
		if errors.As(readErr, &pg) && invalidText(pg.Code) {
			return dataflow.Permanent(fmt.Errorf("key column %q is of type %s, which cannot hold the cursor's %q: set the cursor with \"dataflow cursor set\": %w", r.query.Key[i], typ, text, err))
		}
	}
	return err
}

// invalidText reports whether a text is no value of a type.
func invalidText(code string) bool {
	return slices.Contains([]string{sqlstate.InvalidTextValue, sqlstate.NumericOutOfRange, "22007", "22008"}, code)
}

// tieError returns the error of a row whose key is equal to that of the row before.
func (r *reader) tieError(keys keyText) error {
	values, err := keys.strings(false)
	width := len(r.query.Key)
	if err != nil || len(values) < 2*width {
		return err
	}
	before, key := values[len(values)-2*width:len(values)-width], values[len(values)-width:]
	if err := r.query.Check(key, before); err != nil {
		return err
	}
	return dataflow.Permanent(fmt.Errorf("the key (%s) is not unique: %s and %s are equal by its type or collation: add a column to the key that distinguishes them",
		strings.Join(r.query.Key, ", "), rowmap.Text(before), rowmap.Text(key)))
}
