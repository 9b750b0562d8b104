package pgtable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// keyType is what the order of a key column depends on.
type keyType struct {
	// text names the type, and the collation if it has one: "numeric(12,2)", "text
	// collate C". A domain counts as its base type.
	text string
	reg  bool   // true if the text of a value is the name of an object
	cast string // the cast of a cursor's value, "" where Postgres finds the type
}

// commonType returns the name of a type that needs no look-up, and whose values are
// equal only if their texts are, with a deterministic collation. "" is another type.
func commonType(oid uint32) string {
	switch oid {
	case pgtype.Int2OID:
		return "smallint"
	case pgtype.Int4OID:
		return "integer"
	case pgtype.Int8OID:
		return "bigint"
	case pgtype.OIDOID:
		return "oid"
	case pgtype.XID8OID:
		return "xid8"
	case pgtype.UUIDOID:
		return "uuid"
	case pgtype.BoolOID:
		return "boolean"
	case pgtype.ByteaOID:
		return "bytea"
	case pgtype.TextOID:
		return "text"
	case pgtype.VarcharOID:
		return "character varying"
	case pgtype.BPCharOID:
		return "character"
	case pgtype.NameOID:
		return "name"
	case pgtype.TimetzOID:
		return "" // 10:00+02 and 08:00+00 are two times
	default:
		return timeType(oid)
	}
}

// timeType returns the name of a type of times, or "".
func timeType(oid uint32) string {
	switch oid {
	case pgtype.TimestamptzOID:
		return withZone
	case pgtype.TimestampOID:
		return zoneless
	case pgtype.DateOID:
		return dateOnly
	case pgtype.TimeOID:
		return clock
	case pgtype.TimetzOID:
		return clockWithZone
	default:
		return ""
	}
}

// unevenType returns the name of a type that needs no look-up, and has different
// texts for equal values. "" is another type.
func unevenType(oid uint32) string {
	switch oid {
	case pgtype.Float4OID:
		return "real"
	case pgtype.Float8OID:
		return "double precision"
	case pgtype.NumericOID:
		return "numeric"
	case pgtype.TimetzOID:
		return clockWithZone
	default:
		return ""
	}
}

// keyTypesQuery describes types:
//
//   - its name, without its schema, with the labels of an enum, and the parts of a
//     composite type or a range;
//   - whether it has a collation;
//   - whether its text is the name of an object;
//   - the cast to it, if Postgres does not find the type of what it is compared with;
//   - whether it has no input, like the type record;
//   - whether its text depends on settings of the session.
const keyTypesQuery = insideTypes + `, described as (
	select t.oid, t.typcollation <> 0 as collated, t.typname ~ '^reg' and n.nspname = 'pg_catalog' as reg,
	case when t.oid = 'money'::regtype then '::pg_catalog.numeric' when t.typtype in ('c', 'e') then '::' || quote_ident(n.nspname) || '.' || quote_ident(t.typname) else '' end as "cast", t.typtype = 'p' as pseudo, case
		when t.typtype = 'e' then 'enum ' || coalesce((select json_agg(e.enumlabel order by e.enumsortorder)::text from pg_catalog.pg_enum e where e.enumtypid = t.oid), '[]')
		when t.typtype = 'c' then t.typname || ' (' || coalesce((select string_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) || coalesce(' collate ' || nullif(a.attcollation, 0)::regcollation, ''), ', ' order by a.attnum)
			from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), '') || ')'
		when t.oid = 'money'::regtype then 'money as numeric'
		when n.nspname = 'pg_catalog' then pg_catalog.format_type(t.oid, null)
		when t.typcategory = 'A' then regexp_replace(t.typname, '^_', '') || '[]'
		else t.typname
	end as name
	from pg_catalog.pg_type t
	join pg_catalog.pg_namespace n on n.oid = t.typnamespace
)
select d.oid::bigint, d.name, d.collated, d.reg, d."cast", d.pseudo, exists (select from inside where inside.type = d.oid and inside.oid in (
	'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'float4'::regtype, 'float8'::regtype, 'interval'::regtype))
	or exists (select from inside join pg_catalog.pg_type p on p.oid = inside.oid where inside.type = d.oid and p.typname = 'cube'),
	current_setting('DateStyle') ~ '^ISO' and current_setting('IntervalStyle') = 'postgres' and current_setting('extra_float_digits')::int > 0
from described d
where d.oid in (select type from inside)`

// collationsQuery names the collations, each with the locale that decides its order.
// Locales that order by code points are one. The last column tells whether the database has foreign tables.
const collationsQuery = `
select l.n, case when l.provider = 'b' or lower(l.locale) in ('c', 'posix') then 'C'
	else replace(lower(l.locale), 'utf-8', 'utf8') || coalesce(l.rules, '') || case l.provider when 'i' then ' (icu)' else '' end
		|| case when l.deterministic then '' else ' (nondeterministic)' end end, l.deterministic, exists (select from pg_catalog.pg_foreign_table)
from (
	select k.n, c.collisdeterministic as deterministic,
		case c.collprovider when 'd' then coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') else c.collprovider::text end as provider,
		case c.collprovider when 'd' then coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate)
			else coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate) end as locale,
		case c.collprovider when 'd' then to_jsonb(d) ->> 'daticurules' else to_jsonb(c) ->> 'collicurules' end as rules
	from unnest(array[%s]::regcollation[]) with ordinality k (oid, n)
	join pg_catalog.pg_collation c on c.oid = k.oid
	join pg_catalog.pg_database d on d.datname = current_database()
) l`

// lookUpTypes looks up the types of the key columns, their collations, and whether
// different texts may be equal values.
func (r *reader) lookUpTypes(ctx context.Context) error {
	r.ties, r.common = false, true
	var unknown []int64
	var collated []int
	for i := range r.keys {
		k := &r.keys[i]
		if name := commonType(k.DataTypeOID); name != "" {
			k.text = name + modifier(k.FieldDescription)
			if isCollated(k.DataTypeOID) {
				collated = append(collated, i)
			}
			continue
		}
		r.common, r.ties = false, true
		if name := unevenType(k.DataTypeOID); name != "" {
			k.text = name + modifier(k.FieldDescription)
			continue
		}
		unknown = append(unknown, int64(k.DataTypeOID))
	}
	if unknown != nil {
		more, err := r.lookUpUnknown(ctx, unknown)
		if err != nil {
			return err
		}
		collated = append(collated, more...)
		r.useCasts()
	}
	if collated == nil {
		return nil
	}
	return r.lookUpCollations(ctx, collated)
}

// lookUpUnknown looks up types, and returns the columns that have a collation.
func (r *reader) lookUpUnknown(ctx context.Context, types []int64) (collated []int, err error) {
	rows, err := r.pool.Query(ctx, keyTypesQuery, types)
	if err != nil {
		return nil, inTheWay(fmt.Errorf("look up the types of the key: %w", err))
	}
	var oid int64
	var name, cast string
	var hasCollation, reg, pseudo, dependent, settings bool
	_, err = pgx.ForEachRow(rows, []any{&oid, &name, &hasCollation, &reg, &cast, &pseudo, &dependent, &settings}, func() error {
		for i := range r.keys {
			k := &r.keys[i]
			if int64(k.DataTypeOID) != oid {
				continue
			}
			k.keyType = keyType{text: name, reg: reg, cast: cast}
			if pseudo {
				return dataflow.Permanent(fmt.Errorf("a cursor cannot be compared with the key (%s): Postgres reads no value of type %s: name its parts in Key instead", strings.Join(r.query.Key, ", "), name))
			}
			if hasCollation {
				collated = append(collated, i)
			}
			if dependent && !settings && k.DataTypeOID != pgtype.IntervalOID {
				return dataflow.Permanent(fmt.Errorf("key column %q is of type %s, whose text depends on settings of the session, so a cursor could be at another place in another session: "+
					"use DateStyle ISO, IntervalStyle postgres and extra_float_digits 1, the defaults, or another key", r.query.Key[i], name))
			}
		}
		return nil
	})
	if err != nil && !dataflow.IsPermanent(err) {
		err = inTheWay(fmt.Errorf("look up the types of the key: %w", err))
	}
	return collated, err
}

// useCasts lets the statements cast the values of a cursor.
func (r *reader) useCasts() {
	whole := *r.unbounded()
	whole.query.Casts = make([]string, len(r.keys))
	for i := range r.keys {
		whole.query.Casts[i] = r.keys[i].cast
	}
	r.restrict(&whole, r.until)
}

// restrict makes the reader read another form of its source, up to a cursor if it has an end, and
// keeps all else by which the read is restricted.
func (r *reader) restrict(whole *keyset, until Cursor) {
	of := *whole
	of.guard = r.guard
	r.keyset = of.upTo(dataflow.Request[Cursor]{Bounded: r.whole != nil, Until: until, Whole: r.complete})
}

func (r *reader) lookUpCollations(ctx context.Context, columns []int) error {
	whole := r.unbounded()
	names := make([]string, len(columns))
	for n, i := range columns {
		names[n] = "pg_catalog.pg_collation_for((select " + rowmap.Qualified(r.query.Key)[i] + whole.query.From() + " limit 0))"
	}
	rows, err := r.pool.Query(ctx, fmt.Sprintf(collationsQuery, strings.Join(names, ", ")), whole.args...)
	if err != nil {
		return inTheWay(fmt.Errorf("look up the collation of the key: %w", err))
	}
	var n int
	var name string
	var deterministic, foreign bool
	_, err = pgx.ForEachRow(rows, []any{&n, &name, &deterministic, &foreign}, func() error {
		r.keys[columns[n-1]].text += collateMark + name
		r.ties = r.ties || !deterministic
		return nil
	})
	if err != nil {
		return inTheWay(fmt.Errorf("look up the collation of the key: %w", err))
	}
	if foreign {
		return r.compareHere(ctx)
	}
	return nil
}

// checkKey refuses a key that cannot be compared with a cursor, as only the second
// page would do.
func (r *reader) checkKey(ctx context.Context) error {
	if r.common {
		return nil
	}
	_, err := r.pool.Exec(ctx, r.query.ProbeQuery(), r.args...)
	var pg *pgconn.PgError
	// The geometric types compare by sizes, which is no order for rows.
	if errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "42") || pg.Routine == "make_row_comparison_op") {
		return dataflow.Permanent(fmt.Errorf("a cursor cannot be compared with the key (%s): cast the column to text, or name another key: %w", strings.Join(r.query.Key, ", "), err))
	}
	return err
}

func isCollated(oid uint32) bool {
	return slices.Contains([]uint32{pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID}, oid)
}

// mostPrecise is the precision of a time that is not rounded.
const mostPrecise = 6

// modifier returns the precision to which a type rounds, such as "(12,2)". A type
// that does not round has none.
func modifier(f pgconn.FieldDescription) string {
	n := f.TypeModifier
	switch {
	case n < 0, n == mostPrecise && f.DataTypeOID != pgtype.NumericOID:
		return ""
	case f.DataTypeOID == pgtype.NumericOID:
		n -= 4
		scale := (n&0x7ff ^ 0x400) - 0x400 // 11 bits with a sign
		return fmt.Sprintf("(%d,%d)", n>>16&0xffff, scale)
	case slices.Contains([]uint32{pgtype.TimestamptzOID, pgtype.TimestampOID, pgtype.TimeOID, pgtype.TimetzOID}, f.DataTypeOID):
		return "(" + strconv.Itoa(int(n)) + ")"
	default:
		return ""
	}
}
