package pgtable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// columnsQuery lists a table's columns with the base types of their domains. The
// types have no length: a cast to a type with a length silently cuts values off,
// but the assignment to the column gives an error.
const columnsQuery = `
with recursive step (number, type, typmod) as (
	select attnum, atttypid, atttypmod
	from pg_catalog.pg_attribute
	where attrelid = to_regclass($1) and attnum > 0 and not attisdropped
	union all
	select step.number, t.typbasetype, t.typtypmod
	from step
	join pg_catalog.pg_type t on t.oid = step.type
	where t.typtype = 'd'
), inside (type, oid) as (
	select type, type from step
	union` + typeParts + `
)
select a.attname, t.oid, pg_catalog.format_type(t.oid, -1), t.typcategory = 'A', t.typtype = 'e',
	a.atttypid, a.atttypmod, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attidentity = 'a',
	a.attidentity <> '' or coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid) like '%nextval(%', false), coalesce(quote_ident(n.nspname) || '.' || quote_ident(c.collname), ''), a.attcollation <> 0,
	coalesce((select quote_ident(s.nspname) || '.' || quote_ident(f.proname) from pg_catalog.pg_proc f join pg_catalog.pg_namespace s on s.oid = f.pronamespace where f.oid = t.typsend
		and exists (select from inside join pg_catalog.pg_type p on p.oid = inside.oid where inside.type = t.oid
			and p.typname in ('float4', 'float8', 'point', 'lseg', 'path', 'box', 'polygon', 'line', 'circle', 'cube'))
		and not exists (select from inside join pg_catalog.pg_type p on p.oid = inside.oid where inside.type = t.oid and p.typsend = 0)), ''),
	case when t.oid in ('varchar'::regtype, 'varchar[]'::regtype) and step.typmod > 4 then step.typmod - 4 else coalesce((
		with recursive element (type, typmod) as (
			select t.typelem, -1 where t.typcategory = 'A'
			union all
			select d.typbasetype, d.typtypmod from element join pg_catalog.pg_type d on d.oid = element.type where d.typtype = 'd'
		) select typmod - 4 from element where type = 'varchar'::regtype and typmod > 4), 0) end
from step
join pg_catalog.pg_attribute a on a.attrelid = to_regclass($1) and a.attnum = step.number
join pg_catalog.pg_type t on t.oid = step.type and t.typtype <> 'd'
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
left join pg_catalog.pg_collation c on c.oid = a.attcollation and c.collname <> 'default'
left join pg_catalog.pg_namespace n on n.oid = c.collnamespace
order by a.attnum`

// arbiterQuery lists the collations of key columns in the unique indexes that "on conflict" infers
// from the key. An index may have another collation than its column. If several indexes are
// inferred, equal by one is equal: a nondeterministic collation comes last.
const arbiterQuery = `
with recursive related (oid) as (
	select to_regclass($1)::oid
	union
	select d.refobjid
	from related
	join pg_catalog.pg_rewrite r on r.ev_class = related.oid
	join pg_catalog.pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass and d.refobjid <> related.oid
)
select a.attname, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(l.collname)
from related
join pg_catalog.pg_index i on i.indrelid = related.oid
cross join lateral unnest(i.indkey::int2[], i.indcollation::oid[]) k (number, locale)
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
join pg_catalog.pg_collation l on l.oid = k.locale
join pg_catalog.pg_namespace n on n.oid = l.collnamespace
where i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
	and (select array_agg(c.attname::text order by c.attname::text) from pg_catalog.pg_attribute c
		where c.attrelid = i.indrelid and c.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])) = (select array_agg(name order by name) from unnest($2::text[]) name)
order by l.collisdeterministic desc, l.oid`

// tableColumn is a column of the table to write to.
type tableColumn struct {
	name       string
	oid        uint32
	typ        string // as SQL
	isArray    bool
	isEnum     bool
	declared   uint32 // the declared type, which may be a domain
	typmod     int32  // its length or precision, as Postgres keeps it
	full       string // the declared type as SQL, with its length
	isIdentity bool   // generated always as identity
	isNumbered bool   // its default takes a number from a sequence
	collation  string // as SQL; empty for the database's default, or none; of a key, that of its index
	collated   bool   // true if it has a collation
	send       string // the function that makes the binary form of a type with floating-point numbers; empty for others
	most       int    // the characters of a varchar, or of each in an array of them or of domains over it; 0 for any number, and for other types
}

// targetQuery asks eleven questions:
//
//   - whether COPY does the same to the table as an insert;
//   - whether this role may create temporary tables;
//   - whether the table returns xmax, as partitioned tables do not;
//   - whether the table has triggers;
//   - whether one of them sees a row before it is inserted;
//   - whether it has foreign keys to itself;
//   - what kind of relation it is;
//   - which of its constraints, as SQL, are checked at the commit;
//   - whether this role may read all of it, as reading ctid needs;
//   - which locale the session's money has;
//   - whether NULL in an array that is sent as text is NULL, and not the text NULL;
//   - the number of the server process, which a proxy hides when one connects.
const targetQuery = `
with root (oid) as (
	select coalesce(pg_catalog.pg_partition_root(to_regclass($1)), to_regclass($1))::oid
), parts (oid) as (
	select oid from root
	union
	select relid::oid from root, pg_catalog.pg_partition_tree(root.oid::regclass)
)
select c.relkind in ('r', 'p') and not c.relhasrules and not row_security_active(c.oid),
	has_database_privilege(current_database(), 'temporary'),
	c.relkind = 'r',
	exists (select from pg_catalog.pg_trigger where tgrelid in (select oid from parts) and not tgisinternal),
	exists (select from pg_catalog.pg_trigger where tgrelid in (select oid from parts) and not tgisinternal and tgtype & 7 = 7),
	exists (select from pg_catalog.pg_constraint where contype = 'f' and conrelid in (select oid from parts) and confrelid in (select oid from parts)),
	c.relkind::text,
	coalesce((select string_agg(pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(d.conname), ', ' order by d.oid)
		from pg_catalog.pg_constraint d join pg_catalog.pg_namespace n on n.oid = d.connamespace where d.conrelid = c.oid and d.condeferred), ''),
	pg_catalog.has_table_privilege(c.oid, 'select'), current_setting('lc_monetary'), current_setting('array_nulls')::boolean, pg_backend_pid()
from pg_catalog.pg_class c where c.oid = to_regclass($1)`

// target is a table to write to, with the answers of targetQuery.
type target struct {
	columns   []tableColumn
	plain     bool
	temporary bool
	xmax      bool // true if the table returns xmax
	arrays    bool // true if neither COPY nor temporary tables may be used
	triggers  bool
	before    bool   // true if a trigger sees a row before it is inserted, and may change it
	looks     bool   // true if writing looks at other rows of the table, by triggers or by foreign keys to itself
	kind      string // "r" for a table, "v" for a view, "f" for a foreign table
	deferred  string
	readable  bool   // true if this role may read all of it
	money     string // the locale of the session's money
}

// lookUp looks up a table. key are the columns of the key of an upsert.
func lookUp(ctx context.Context, tx pgx.Tx, table pgx.Identifier, key []string) (*target, error) {
	if err := checkEncoding(tx.Conn()); err != nil {
		return nil, err
	}
	columns, err := tableColumns(ctx, tx, table)
	if err != nil {
		return nil, err
	}
	if err := compareAsIndex(ctx, tx, table, key, columns); err != nil {
		return nil, err
	}
	t := &target{columns: columns, arrays: isPlain(tx.Conn())}
	var nulls bool
	var pid uint32
	err = tx.QueryRow(ctx, targetQuery, table.Sanitize()).Scan(&t.plain, &t.temporary, &t.xmax, &t.triggers, &t.before, &t.looks, &t.kind, &t.deferred, &t.readable, &t.money, &nulls, &pid)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, noTable(table) // it has just gone
	case err != nil:
		return nil, inTheWay(fmt.Errorf("look up the table: %w", err))
	case !nulls:
		return nil, dataflow.Permanent(errors.New("array_nulls is off in this session, in which a NULL in an array would become the text NULL: set array_nulls to on for this role"))
	}
	// In transaction mode, a temporary table would stay in a process of the pooler's.
	t.temporary = t.temporary && pid == tx.Conn().PgConn().PID()
	t.looks = t.looks || t.triggers
	return t, nil
}

// compareAsIndex gives the key columns the collations by which "on conflict" compares them.
func compareAsIndex(ctx context.Context, tx pgx.Tx, table pgx.Identifier, key []string, columns []tableColumn) error {
	if !slices.ContainsFunc(columns, func(c tableColumn) bool { return c.collated && slices.Contains(key, c.name) }) {
		return nil
	}
	rows, err := tx.Query(ctx, arbiterQuery, table.Sanitize(), key)
	if err != nil {
		return inTheWay(fmt.Errorf("look up the collations of the key: %w", err))
	}
	var name, collation string
	_, err = pgx.ForEachRow(rows, []any{&name, &collation}, func() error {
		for i := range columns {
			if columns[i].name == name {
				columns[i].collation = collation
			}
		}
		return nil
	})
	if err != nil {
		return inTheWay(fmt.Errorf("look up the collations of the key: %w", err))
	}
	return nil
}

func noTable(table pgx.Identifier) error {
	return fmt.Errorf("there is no table %s in this database, or the search path does not lead to it: create it, or qualify its name with a schema", table.Sanitize())
}

// tableColumns looks up a table's columns.
func tableColumns(ctx context.Context, tx pgx.Tx, table pgx.Identifier) ([]tableColumn, error) {
	rows, err := tx.Query(ctx, columnsQuery, table.Sanitize())
	if err != nil {
		return nil, inTheWay(fmt.Errorf("look up its columns: %w", err))
	}
	defer rows.Close()
	var columns []tableColumn
	for rows.Next() {
		var c tableColumn
		if err := rows.Scan(&c.name, &c.oid, &c.typ, &c.isArray, &c.isEnum, &c.declared, &c.typmod, &c.full, &c.isIdentity, &c.isNumbered, &c.collation, &c.collated, &c.send, &c.most); err != nil {
			return nil, inTheWay(fmt.Errorf("look up its columns: %w", err))
		}
		columns = append(columns, c)
	}
	if err := rows.Err(); err != nil {
		return nil, inTheWay(fmt.Errorf("look up its columns: %w", err))
	}
	if len(columns) == 0 {
		return nil, noTable(table)
	}
	return columns, nil
}

// statement writes a batch to a table.
type statement struct {
	sql      string
	results  string // like sql, but returns the outcome of each row; empty for Insert
	fields   *rowmap.Plan
	columns  []*column
	copier   *copier                // nil if all batches are written with arrays
	check    string                 // checks the constraints that the commit would check; empty if there are none
	looks    bool                   // true if an upsert looks first which rows exist; see lookingFirst
	only     string                 // "only ", as "on conflict" sees no rows of tables that inherit; or nothing
	over     string                 // "overriding system value ", or nothing
	newer    *column                // the column of a row that must not be greater than the record's; nil: any row is replaced
	offset   atomic.Pointer[string] // of the times that were compared as a wall clock; nil: none was
	asBefore string                 // a condition, see [isAsBefore]
	alone    bool                   // true if the result depends only on the given rows and on the rows with their keys
}

// way is how a sink writes to its table.
type way struct {
	upsert     bool
	key        []string
	overriding bool   // writes its own values to identity columns
	sparing    bool   // spends no number of a sequence in vain; see [Table]
	newer      string // leaves rows alone that are greater by this column; empty: none
}

func newStatement(table pgx.Identifier, fields *rowmap.Plan, to *target, how way) (*statement, error) {
	upsert, key := how.upsert, how.key
	st, columns := &statement{fields: fields, alone: to.plain && !to.looks && (!upsert || to.xmax)}, to.columns
	if to.deferred != "" {
		st.check = "set constraints " + to.deferred + " immediate; set constraints " + to.deferred + " deferred"
	}
	var missing []string
	for i := range fields.Columns {
		f := &fields.Columns[i]
		at := slices.IndexFunc(columns, func(c tableColumn) bool { return c.name == f.Name })
		if at < 0 {
			missing = append(missing, fmt.Sprintf("%q (field %s)", f.Name, f.Field))
			continue
		}
		c := newColumn(f, columns[at], upsert && slices.Contains(key, f.Name))
		st.columns = append(st.columns, c)
		if upsert && f.Name == how.newer {
			st.newer = c
		}
	}
	if missing != nil {
		have := make([]string, len(columns))
		for i, c := range columns {
			have[i] = c.name
		}
		return nil, fmt.Errorf("the table has no column %s; its columns are %s", strings.Join(missing, ", "), rowmap.QuoteAll(have, ", "))
	}
	if err := st.checkMoney(to.money); err != nil {
		return nil, err
	}
	if err := st.checkIdentity(how); err != nil {
		return nil, err
	}
	st.asBefore = isAsBefore(table, to.kind, st.columns)
	if upsert {
		st.looks = st.spares(to)
		if to.kind == "r" {
			st.only = "only "
		}
		rows := batchRows{query: st.numbered()}
		st.results = st.withResults(table, to, key, rows)
		if st.looks {
			st.sql = st.lookingFirst(table, key, rows)
		} else {
			st.sql = st.into(table) + "\n" + st.selectLast() + "\n" + st.onConflict(key, nil)
		}
	} else {
		st.sql = st.into(table) + "\nselect " + strings.Join(st.values(), ", ") + " from unnest(" + st.arrays() + ") as u (" + st.names() + ") where " + st.unlessAltered()
	}
	st.copier = newCopier(table, st, to, how)
	return st, nil
}

// columnNames returns the names of the table's columns.
func (st *statement) columnNames() string { return rowmap.QuoteAll(st.fields.Names(), ", ") }

// selectLast selects the last row of each key, because "on conflict" cannot change
// a row twice. Postgres compares the keys, so they are equal exactly if they are
// equal in the unique index. This also locks the rows in one order, which protects
// concurrent writers from deadlocks.
func (st *statement) selectLast() string {
	var keys []string
	names := strings.Split(st.names(), ", ")
	for i, c := range st.columns {
		if c.key {
			keys = append(keys, names[i]+c.collate())
		}
	}
	on := strings.Join(keys, ", ")
	return "select distinct on (" + on + ") " + st.names() + " from (\n" + st.numbered() + "\n) v order by " + on + st.newest() + ", n desc"
}

// numbered selects the values with their row numbers.
func (st *statement) numbered() string {
	names := strings.Split(st.names(), ", ")
	inner := st.values()
	for i := range inner {
		inner[i] += " as " + names[i]
	}
	return "select " + strings.Join(inner, ", ") + ", n from unnest(" + st.arrays() + ") with ordinality as u (" + st.names() + ", n) where " + st.unlessAltered()
}

// names returns the names of the columns within the statement.
func (st *statement) names() string {
	names := make([]string, len(st.columns))
	for i := range names {
		names[i] = "c" + strconv.Itoa(i+1)
	}
	return strings.Join(names, ", ")
}

// arrays returns the parameters.
func (st *statement) arrays() string {
	arrays := make([]string, len(st.columns))
	for i, c := range st.columns {
		arrays[i] = "$" + strconv.Itoa(i+1) + "::" + c.wire + "[]"
	}
	return strings.Join(arrays, ", ")
}

// values returns the elements of the arrays, cast to the types of the table's
// columns.
func (st *statement) values() []string {
	values := make([]string, len(st.columns))
	for i, c := range st.columns {
		values[i] = "u.c" + strconv.Itoa(i+1)
		switch {
		case c.typ == "regclass": // the cast from text does not take "-", the text of 0
			values[i] = "pg_catalog.regclassin(pg_catalog.textout(" + values[i] + "))"
		case c.wire != c.typ:
			values[i] += "::" + c.typ
		}
		if c.key {
			values[i] += c.assigned() // or two rows could get the same key only in the table
		}
	}
	return values
}
