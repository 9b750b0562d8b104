package pgtable

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// A column that changes between types of times is converted in a time zone, which Postgres
// stores nowhere. convertTimes tries the zones that are likely, and believes one only if the
// table proves it: the row of the cursor is where that zone puts it.

// zonesQuery lists the zones in which a column may have been converted.
const zonesQuery = `
select distinct zone from (
	select current_setting('TimeZone')
	union all select 'UTC'
	union all select reset_val from pg_catalog.pg_settings where name = 'TimeZone'
	union all select substr(c, 10)
	from pg_catalog.pg_db_role_setting s
	cross join lateral unnest(s.setconfig) c
	where c ilike 'timezone=%' and s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
) z (zone)
where zone is not null
order by zone`

// timeConversion is a change of type that a time zone decides about. Its fields are SQL.
type timeConversion struct {
	// value converts the cursor's value $1 in the zone $2.
	value string
	// fits is whether the order is kept around the cursor's value $1 in the zone $2.
	fits string
	// other is whether a row's value, %[1]s, was not converted in the zone %[2]s. It is "" if a
	// row does not show that. Then the other key columns must identify the cursor's row.
	other string
}

// steady is whether the zone $2 keeps its offset for a day before and after a time.
const steady = `(select bool_and((m + h * interval '24 hours') at time zone $2::text = m at time zone $2::text + h * interval '24 hours') from (select %s) t (m), generate_series(-1, 1) h)`

// zoneConversion returns nil for a change of type that no zone decides about.
func zoneConversion(then, now string) *timeConversion {
	const moment = `($1::text::timestamp at time zone $2::text)`
	switch {
	case then == dateOnly && now == withZone:
		return &timeConversion{
			value: moment,
			fits:  `(` + moment + ` at time zone $2::text)::date = $1::text::date`,
			other: `%[1]s <> ((%[1]s at time zone %[2]s)::date::timestamp at time zone %[2]s)`,
		}
	case then == zoneless && now == withZone:
		return &timeConversion{value: moment, fits: fmt.Sprintf(steady, moment)}
	case then == withZone && now == zoneless:
		return &timeConversion{value: `($1::text::timestamptz at time zone $2::text)`, fits: fmt.Sprintf(steady, `$1::text::timestamptz`)}
	case then == clock && now == clockWithZone:
		return &timeConversion{
			value: `($1::text || $2::text)::timetz`,
			fits:  `$1::text is not null and $2::text ~ '^[+-]'`,
			other: `substring(%[1]s::text from '[+-].*$') <> %[2]s`,
		}
	default:
		return nil
	}
}

// convertTimes returns a cursor's values in the types of now, where a zone decides about that.
func (r *reader) convertTimes(ctx context.Context, values, types []string) ([]string, error) {
	conversions, first := make([]*timeConversion, len(values)), -1
	for i := range values {
		then, _, _ := scaleOf(types[i])
		now, _, _ := scaleOf(r.keys[i].text)
		if c := zoneConversion(then, now); c != nil && !isInfinite(values[i]) && changed(types[i], r.keys[i].text, values[i]) == "" {
			conversions[i], first = c, max(first, i)
		}
	}
	if first < 0 {
		return slices.Clone(values), nil
	}
	zones, err := r.zones(ctx, first)
	if err != nil {
		return nil, inTheWay(fmt.Errorf("look up time zones: %w", err))
	}
	var proved [][]string
	for _, zone := range zones {
		at, err := r.convertIn(ctx, zone, values, conversions)
		if err != nil {
			return nil, fmt.Errorf("look for the row of the cursor in time zone %s: %w", zone, err)
		}
		if at != nil && !slices.ContainsFunc(proved, func(p []string) bool { return slices.Equal(p, at) }) {
			proved = append(proved, at)
		}
	}
	if len(proved) != 1 {
		return nil, r.changedError(first, types[first], values[first], unproved(proved, zones, conversions))
	}
	return proved[0], nil
}

// zones returns the zones in which key column i may have been converted. For a time without a
// date these are the offsets of its values.
func (r *reader) zones(ctx context.Context, i int) ([]string, error) {
	query, args := zonesQuery, []any(nil)
	if r.keys[i].DataTypeOID == pgtype.TimetzOID {
		whole := r.unbounded()
		query = "select distinct substring(" + rowmap.Qualified(whole.query.Key)[i] + "::text from '[+-].*$') as zone" + whole.query.From() + " order by zone limit 5"
		args = whole.args
	}
	rows, err := r.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// unproved says why it is not known in which zone a column was converted.
func unproved(proved [][]string, zones []string, conversions []*timeConversion) string {
	identified := slices.ContainsFunc(conversions, func(c *timeConversion) bool { return c == nil || c.other != "" })
	switch {
	case len(proved) > 1:
		return fmt.Sprintf("the rows do not show in which time zone the column was converted: %s all fit", strings.Join(zones, ", "))
	case !identified:
		return "without another key column, the rows do not show in which time zone the column was converted"
	default:
		return fmt.Sprintf("the rows do not show in which time zone the column was converted: none of %s puts the row of the cursor where one is now", strings.Join(zones, ", "))
	}
}

// convertIn returns a cursor's values as they are if the columns were converted in a zone, and
// nil if the rows do not prove that.
func (r *reader) convertIn(ctx context.Context, zone string, values []string, conversions []*timeConversion) ([]string, error) {
	at := slices.Clone(values)
	for i, c := range conversions {
		if c == nil {
			continue
		}
		var fits bool
		var raw string
		if err := r.pool.QueryRow(ctx, "select coalesce("+c.fits+", false), "+r.keys[i].expression(c.value), values[i], zone).Scan(&fits, &raw); err != nil || !fits {
			return nil, err
		}
		text, err := r.keys[i].appendText(nil, []byte(raw))
		if err != nil {
			return nil, err
		}
		at[i] = string(text)
	}
	whole := r.unbounded()
	args := slices.Clone(whole.args)
	for _, v := range at {
		args = append(args, v)
	}
	args = append(args, zone)
	columns := rowmap.Qualified(whole.query.Key)
	params, others, otherParams := make([]string, len(columns)), []string{}, []string{}
	var wrong []string
	unique := false
	for i, c := range conversions {
		params[i] = "$" + strconv.Itoa(len(whole.args)+i+1) + r.keys[i].cast
		switch {
		case c == nil:
			others, otherParams = append(others, columns[i]+r.keys[i].cast), append(otherParams, params[i])
		case c.other == "":
			unique = true
		default:
			wrong = append(wrong, fmt.Sprintf(c.other, columns[i], "$"+strconv.Itoa(len(args))+"::text"))
		}
		columns[i] += r.keys[i].cast
	}
	key, place := strings.Join(columns, ", "), strings.Join(params, ", ")
	where := whole.query.From() + " where "
	proof := "exists (select" + where + "(" + key + ") = (" + place + "))"
	if unique {
		if len(others) == 0 {
			return nil, nil
		}
		proof += " and (select count(*) = 1 from (select" + where + "(" + strings.Join(others, ", ") + ") = (" + strings.Join(otherParams, ", ") + ") limit 2) o)"
	}
	if wrong != nil {
		proof += " and not exists (select" + where + "(" + key + ") <= (" + place + ") and (" + strings.Join(wrong, " or ") + "))"
	}
	// The zone has a type also where no condition uses it.
	var proved bool
	err := r.pool.QueryRow(ctx, "select "+proof+" and $"+strconv.Itoa(len(args))+"::text is not null", args...).Scan(&proved)
	if err != nil || !proved {
		return nil, err
	}
	return at, nil
}
