package pgtable

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/internal/keyrange"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Keys are the keys of a table, for [reconcile.New]. As a target, the database also keeps the
// flow's checkpoint; see [CheckpointTable]. A range is read without sorting if an index begins with the
// key's columns, in their order. The caller closes the pool after the client has stopped.
func Keys(pool *pgxpool.Pool, table reconcile.Table) reconcile.Side {
	k := &keys{pool: pool, table: table, server: &server{}}
	k.table.Key = slices.Clone(table.Key)
	k.name, k.nameErr = rowmap.SplitTable(table.Name)
	return k
}

// keys is a [reconcile.Side].
type keys struct {
	pool    *pgxpool.Pool
	table   reconcile.Table
	name    pgx.Identifier
	nameErr error
	server  *server
}

func (k *keys) Validate() error {
	errs := []error{k.table.Validate()}
	if k.pool == nil {
		errs = append(errs, &dataflow.ConfigError{Field: "pool", Reason: "it is nil: create it with pgxpool.New"})
	}
	if k.nameErr != nil && k.table.Name != "" {
		errs = append(errs, &dataflow.ConfigError{Field: "Name", Reason: k.nameErr.Error()})
	}
	return errors.Join(errs...)
}

func (k *keys) Describe() dataflow.Description {
	return dataflow.Description{Type: "pgtable.keys", Detail: map[string]any{"table": k.table.Name, "key": k.table.Key}}
}

// PoolUse says that each statement borrows a connection.
func (k *keys) PoolUse() []dataflow.PoolUse { return useOf(k.pool, 0, 1) }

// Table returns the table.
func (k *keys) Table() reconcile.Table { return k.table }

// keyKind returns the kind of a type, "" if its values cannot be compared.
func keyKind(oid uint32) keyrange.Kind {
	switch oid {
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID:
		return keyrange.Integer
	case pgtype.NumericOID:
		return keyrange.Numeric
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID:
		return keyrange.Text
	case pgtype.UUIDOID:
		return keyrange.UUID
	case pgtype.ByteaOID:
		return keyrange.Bytes
	case pgtype.DateOID:
		return keyrange.Date
	case pgtype.TimestampOID:
		return keyrange.Timestamp
	case pgtype.TimestamptzOID:
		return keyrange.TimestampTZ
	default:
		return ""
	}
}

// orderQuery looks up how the columns of a table order texts. In a database of UTF-8, the collations of
// libc that are called C or POSIX, and all that are built in, order by code points. A
// collation without a version is only known to be that of the same server. The version that counts is that of
// the library in use: the one in the catalog is that of the day when the collation was created.
const orderQuery = `
select attname, case when not collisdeterministic then 'its collation is nondeterministic' else '' end,
	case when pg_catalog.getdatabaseencoding() <> 'UTF8' then ''
		when provider = 'b' or provider = 'c' and locale in ('C', 'POSIX') then 'C'
		else concat_ws(' ', provider, locale, coalesce(version, pg_catalog.pg_postmaster_start_time()::text), rules) end
from (
	select a.attname, c.collisdeterministic, coalesce(nullif(c.collprovider::text, 'd'), o.j ->> 'datlocprovider', 'c') as provider,
		coalesce(o.j ->> 'colllocale', o.j ->> 'colliculocale', o.j ->> 'datlocale', o.j ->> 'daticulocale', o.j ->> 'collcollate', o.j ->> 'datcollate') as locale,
		coalesce(pg_catalog.pg_collation_actual_version(c.oid), o.j ->> 'collversion', o.j ->> 'datcollversion') as version,
		coalesce(o.j ->> 'collicurules', o.j ->> 'daticurules') as rules
	from pg_catalog.pg_attribute a join pg_catalog.pg_collation c on c.oid = a.attcollation
	cross join lateral (select case c.collprovider when 'd' then to_jsonb(d) else to_jsonb(c) end from pg_catalog.pg_database d where d.datname = current_database()) o (j)
	where a.attrelid = to_regclass($1) and a.attname = any($2)
) a`

// collation is how a column compares texts.
type collation struct {
	Column, Loose, Order string
}

// Columns looks up the columns of the key.
func (k *keys) Columns(ctx context.Context) ([]keyrange.Column, []keyrange.Hash, error) {
	if err := k.server.check(ctx, k.pool); err != nil {
		return nil, nil, err
	}
	var columns []keyrange.Column
	err := retryStale(k.pool, func() (err error) {
		columns, err = k.lookUp(ctx)
		return err
	})
	return columns, []keyrange.Hash{keyrange.Postgres, keyrange.Jenkins, keyrange.MD5}, transient(ctx, k.pool, err)
}

func (k *keys) lookUp(ctx context.Context) ([]keyrange.Column, error) {
	rows, err := k.pool.Query(ctx, "select "+rowmap.QuoteAll(k.table.Key, ", ")+" from "+k.name.Sanitize()+" limit 0")
	if err != nil {
		return nil, err
	}
	fields, encoding := slices.Clone(rows.FieldDescriptions()), checkEncoding(rows.Conn())
	rows.Close()
	if err := errors.Join(rows.Err(), encoding); err != nil {
		return nil, err
	}
	if rows, err = k.pool.Query(ctx, orderQuery, k.name.Sanitize(), k.table.Key); err != nil {
		return nil, err
	}
	collations, err := pgx.CollectRows(rows, pgx.RowToStructByPos[collation])
	if err != nil {
		return nil, err
	}
	columns := make([]keyrange.Column, len(fields))
	for i, f := range fields {
		if columns[i], err = k.column(ctx, f); err != nil {
			return nil, err
		}
		for _, c := range collations {
			if c.Column == f.Name {
				columns[i].Order, columns[i].Loose = c.Order, cmp.Or(columns[i].Loose, c.Loose)
				if c.Order != "" && f.DataTypeOID == pgtype.BPCharOID {
					columns[i].Order += " without trailing blanks"
				}
			}
		}
	}
	return columns, nil
}

func (k *keys) column(ctx context.Context, f pgconn.FieldDescription) (keyrange.Column, error) {
	c := keyrange.Column{Name: f.Name, Kind: keyKind(f.DataTypeOID)}
	err := k.pool.QueryRow(ctx, `select pg_catalog.format_type($1::bigint::oid, null), `+hides("to_regclass($2)"),
		int64(f.DataTypeOID), k.name.Sanitize()).Scan(&c.Type, &c.Hides)
	if err != nil {
		return c, err
	}
	switch c.Kind {
	case "":
		return c, dataflow.Permanent(fmt.Errorf("key column %q is %s, which cannot be compared across databases: use a key of integers, numeric, text, uuid, bytea, date or timestamps, or name a view that casts it", c.Name, c.Type))
	case keyrange.UUID:
		c.Order = keyrange.CodePoints
	case keyrange.Numeric:
		if c.Digits = keyrange.AllDigits; f.TypeModifier >= 0 {
			c.Digits = int((f.TypeModifier-4)&0x7ff^0x400) - 0x400 // the scale, which may be negative
		}
	case keyrange.Timestamp, keyrange.TimestampTZ:
		if c.Digits = 6; f.TypeModifier >= 0 {
			c.Digits = int(f.TypeModifier)
		}
	default:
	}
	if f.DataTypeOID == pgtype.BPCharOID {
		c.Own = "bpchar" // otherwise 'a' is not found by 'a  ', which is what is copied of it
		c.Loose = "it is character(n), which takes texts for equal that differ in trailing blanks"
	}
	return c, nil
}

// canonical returns SQL for the canonical text of a column.
func canonical(kind keyrange.Kind, column string) string {
	switch kind {
	case keyrange.Numeric:
		return "trim_scale(" + column + ")::text"
	case keyrange.Bytes:
		return "encode(" + column + ", 'hex')"
	case keyrange.Date:
		return "encode(date_send(" + column + "), 'hex')"
	case keyrange.Timestamp:
		return "encode(timestamp_send(" + column + "), 'hex')"
	case keyrange.TimestampTZ:
		return "encode(timestamptz_send(" + column + "), 'hex')"
	default:
		return column + "::text"
	}
}

// castOf returns the type as which a text is compared with a column.
func castOf(kind keyrange.Kind) string {
	switch kind {
	case keyrange.Integer:
		return "bigint"
	case keyrange.Bytes:
		return "bytea"
	default:
		return string(kind) // Postgres has the others by these names
	}
}

// list returns SQL for the canonical texts of a table's key.
func (k *keys) list(p *keyrange.Plan) string {
	list := make([]string, len(k.table.Key))
	for i, name := range k.table.Key {
		list[i] = canonical(p.Kinds[i], "t."+rowmap.Quote(name))
	}
	return strings.Join(list, ", ")
}

// hash returns SQL for the hash of a key.
func (k *keys) hash(p *keyrange.Plan) string {
	if p.Hash == keyrange.MD5 {
		return k.md5(p)
	}
	seed := "0"
	for i, name := range k.table.Key {
		column := "t." + rowmap.Quote(name)
		switch {
		case p.Hash == keyrange.Postgres && p.Kinds[i] == keyrange.Integer:
			// The function folds the number into 32 bits, and the seed keeps all of them.
			seed = fmt.Sprintf("hashint8extended(%[1]s::bigint, %[1]s::bigint # %[2]s)", column, seed)
		case p.Hash == keyrange.Postgres && p.Kinds[i] == keyrange.UUID:
			seed = "uuid_hash_extended(" + column + ", " + seed + ")"
		default:
			seed = "hashtextextended((" + canonical(p.Kinds[i], column) + `) collate "C", ` + seed + ")"
		}
	}
	return seed
}

func (k *keys) md5(p *keyrange.Plan) string {
	digests := make([]string, len(k.table.Key))
	for i, name := range k.table.Key {
		digests[i] = "md5(" + canonical(p.Kinds[i], "t."+rowmap.Quote(name)) + ")"
	}
	digest := digests[0]
	if len(digests) > 1 {
		digest = "md5(" + strings.Join(digests, " || ") + ")"
	}
	return "('x' || left(" + digest + ", 16))::bit(64)::bigint"
}

// columns returns the key's columns.
func (k *keys) columns() string {
	names := make([]string, len(k.table.Key))
	for i, name := range k.table.Key {
		names[i] = "t." + rowmap.Quote(name)
	}
	return strings.Join(names, ", ")
}

// from returns "from … where …" for the keys of a range, and its arguments.
func (k *keys) from(p *keyrange.Plan, r keyrange.Range) (string, []any) {
	conditions, args := k.conditions(p), []any(nil)
	bound := func(operator string, key keyrange.Key) {
		if key == nil {
			return
		}
		values := make([]string, len(key))
		for i, text := range key {
			args = append(args, p.Kinds[i].Readable(text))
			values[i] = "$" + strconv.Itoa(len(args)) + "::text::" + castOf(p.Own[i])
		}
		conditions = append(conditions, "("+k.columns()+") "+operator+" ("+strings.Join(values, ", ")+")")
	}
	bound(">", r.After)
	bound("<=", r.Until)
	return " from " + k.name.Sanitize() + " t where " + strings.Join(conditions, " and "), args
}

// conditions hold for each row that is compared.
func (k *keys) conditions(p *keyrange.Plan) []string {
	var conditions []string
	if p.Unmarked != "" {
		conditions = append(conditions, "t."+rowmap.Quote(p.Unmarked)+" is null")
	}
	for _, name := range k.table.Key {
		conditions = append(conditions, "t."+rowmap.Quote(name)+" is not null")
	}
	if k.table.Where != "" {
		conditions = append(conditions, "(\n"+k.table.Where+"\n)")
	}
	return conditions
}

// custom lets the server plan a statement for its arguments each time. A plan for any arguments takes a
// range for a small part of the table, and does without parallel workers.
func (k *keys) custom(args []any) []any {
	if k.pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		return args // it does
	}
	return append([]any{pgx.QueryExecModeExec}, args...)
}

// Estimate asks the planner how many keys there are.
func (k *keys) Estimate(ctx context.Context, p *keyrange.Plan) (int64, bool, error) {
	from, args := k.from(p, keyrange.Range{})
	var text string
	err := retryStale(k.pool, func() error {
		return k.pool.QueryRow(ctx, "explain (format json) select 1"+from, k.custom(args)...).Scan(&text)
	})
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &plans)
	}
	if err != nil || len(plans) == 0 {
		return 0, false, transient(ctx, k.pool, err)
	}
	return int64(plans[0].Plan.Rows), true, nil
}

// Sum counts the keys of a range, and adds up their hashes.
func (k *keys) Sum(ctx context.Context, p *keyrange.Plan, r keyrange.Range) (keyrange.Sum, error) {
	from, args := k.from(p, r)
	var s keyrange.Sum
	var hash string
	err := retryStale(k.pool, func() error {
		return k.pool.QueryRow(ctx, "select count(*), mod(coalesce(sum("+k.hash(p)+"), 0), 18446744073709551616)::text"+from, k.custom(args)...).Scan(&s.Rows, &hash)
	})
	if err != nil {
		return s, k.held(ctx, p, []keyrange.Key{r.After, r.Until}, err)
	}
	digits, negative := strings.CutPrefix(hash, "-")
	if s.Hash, err = strconv.ParseUint(digits, 10, 64); negative {
		s.Hash = -s.Hash
	}
	return s, err
}

// Cut returns every step-th key of a range.
func (k *keys) Cut(ctx context.Context, p *keyrange.Plan, r keyrange.Range, step, most int64) ([]keyrange.Key, error) {
	from, args := k.from(p, r)
	if most == 1 || step == 1 {
		// The texts are made outside, and so not of the rows that the offset skips.
		return k.read(ctx, p, r, fmt.Sprintf("select %s from (select %s%s order by %[2]s limit %[4]d offset %[5]d) t order by %[2]s", k.list(p), k.columns(), from, most, step-1), args)
	}
	query := fmt.Sprintf("select %s from (select %s, row_number() over (order by %[2]s) as dataflow_n%s) t where dataflow_n %% %d = 0 order by dataflow_n limit %d",
		k.list(p), k.columns(), from, step, most)
	return k.read(ctx, p, r, query, args)
}

// List returns keys of a range.
func (k *keys) List(ctx context.Context, p *keyrange.Plan, r keyrange.Range, most int) ([]keyrange.Key, error) {
	from, args := k.from(p, r)
	return k.read(ctx, p, r, "select "+k.list(p)+from+" limit "+strconv.Itoa(most), args)
}

// read reads keys of a range.
func (k *keys) read(ctx context.Context, p *keyrange.Plan, r keyrange.Range, query string, args []any) ([]keyrange.Key, error) {
	var found []keyrange.Key
	err := retryStale(k.pool, func() error {
		found = nil
		rows, err := k.pool.Query(ctx, query, k.custom(args)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		texts := make([]string, len(p.Kinds))
		into := make([]any, len(texts))
		for i := range texts {
			into[i] = &texts[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				return err
			}
			found = append(found, slices.Clone(texts))
		}
		return rows.Err()
	})
	return found, k.held(ctx, p, []keyrange.Key{r.After, r.Until}, err)
}

// asked returns "unnest(…) … a" for given keys, the condition under which a row of t has one of them, and the
// arguments. The column dataflow_n is the number of the key, from 1.
func (k *keys) asked(p *keyrange.Plan, given []keyrange.Key) (list, condition string, args []any) {
	params, names, same := make([]string, len(p.Kinds)), make([]string, len(p.Kinds)), k.conditions(p)
	for i, kind := range p.Kinds {
		texts := make([]string, len(given))
		for j, key := range given {
			texts[j] = kind.Readable(key[i])
		}
		args = append(args, texts)
		n := strconv.Itoa(i + 1)
		params[i], names[i] = "$"+n+"::text[]", "dataflow_"+n
		same = append(same, "t."+rowmap.Quote(k.table.Key[i])+" = a.dataflow_"+n+"::"+castOf(p.Own[i]))
	}
	list = "unnest(" + strings.Join(params, ", ") + ") with ordinality a (" + strings.Join(names, ", ") + ", dataflow_n)"
	return list, strings.Join(same, " and "), args
}

// Find reports which keys the table has.
func (k *keys) Find(ctx context.Context, p *keyrange.Plan, given []keyrange.Key) ([]bool, error) {
	list, condition, args := k.asked(p, given)
	var there []bool
	err := retryStale(k.pool, func() error {
		rows, err := k.pool.Query(ctx, "select exists (select from "+k.name.Sanitize()+" t where "+condition+") from "+list+" order by a.dataflow_n", args...)
		if err != nil {
			return err
		}
		there, err = pgx.CollectRows(rows, pgx.RowTo[bool])
		return err
	})
	return there, k.held(ctx, p, given, err)
}
