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
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
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

// Hashes are those that Postgres computes.
func (k *keys) Hashes() []reconcile.Hash { return []reconcile.Hash{reconcile.Jenkins, reconcile.MD5} }

// keyKind returns the kind of a type, "" if its values cannot be compared.
func keyKind(oid uint32) reconcile.Kind {
	switch oid {
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID:
		return reconcile.Integer
	case pgtype.NumericOID:
		return reconcile.Numeric
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID:
		return reconcile.Text
	case pgtype.UUIDOID:
		return reconcile.UUID
	case pgtype.ByteaOID:
		return reconcile.Bytes
	case pgtype.DateOID:
		return reconcile.Date
	case pgtype.TimestampOID:
		return reconcile.Timestamp
	case pgtype.TimestamptzOID:
		return reconcile.TimestampTZ
	default:
		return ""
	}
}

// looseQuery lists the columns of a table that have a nondeterministic collation.
const looseQuery = `
select a.attname from pg_catalog.pg_attribute a join pg_catalog.pg_collation c on c.oid = a.attcollation
where a.attrelid = to_regclass($1) and a.attname = any($2) and not c.collisdeterministic`

// Columns looks up the columns of the key.
func (k *keys) Columns(ctx context.Context) ([]reconcile.Column, error) {
	if err := k.server.check(ctx, k.pool); err != nil {
		return nil, err
	}
	rows, err := k.pool.Query(ctx, "select "+rowmap.QuoteAll(k.table.Key, ", ")+" from "+k.name.Sanitize()+" limit 0")
	if err != nil {
		return nil, transient(ctx, k.pool, err)
	}
	fields := slices.Clone(rows.FieldDescriptions())
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, transient(ctx, k.pool, err)
	}
	rows, err = k.pool.Query(ctx, looseQuery, k.name.Sanitize(), k.table.Key)
	if err != nil {
		return nil, transient(ctx, k.pool, err)
	}
	loose, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, transient(ctx, k.pool, err)
	}
	columns := make([]reconcile.Column, len(fields))
	for i, f := range fields {
		if columns[i], err = k.column(ctx, f); err != nil {
			return nil, err
		}
		if slices.Contains(loose, f.Name) {
			columns[i].Loose = "its collation is nondeterministic"
		}
	}
	return columns, nil
}

func (k *keys) column(ctx context.Context, f pgconn.FieldDescription) (reconcile.Column, error) {
	c := reconcile.Column{Name: f.Name, Kind: keyKind(f.DataTypeOID)}
	if err := k.pool.QueryRow(ctx, `select pg_catalog.format_type($1::bigint::oid, null)`, int64(f.DataTypeOID)).Scan(&c.Type); err != nil {
		return c, transient(ctx, k.pool, err)
	}
	if c.Kind == "" {
		return c, dataflow.Permanent(fmt.Errorf("key column %q is %s, which cannot be compared across databases: use a key of integers, numeric, text, uuid, bytea, date or timestamps, or name a view that casts it", c.Name, c.Type))
	}
	if f.DataTypeOID == pgtype.BPCharOID {
		c.Loose = "it is character(n), which takes texts for equal that differ in trailing blanks"
	}
	return c, nil
}

// canonical returns SQL for the canonical text of a column.
func canonical(kind reconcile.Kind, column string) string {
	switch kind {
	case reconcile.Numeric:
		return "trim_scale(" + column + ")::text"
	case reconcile.Bytes:
		return "encode(" + column + ", 'hex')"
	case reconcile.Date:
		return "encode(date_send(" + column + "), 'hex')"
	case reconcile.Timestamp:
		return "encode(timestamp_send(" + column + "), 'hex')"
	case reconcile.TimestampTZ:
		return "encode(timestamptz_send(" + column + "), 'hex')"
	default:
		return column + "::text"
	}
}

// castOf returns the type as which a text is compared with a column.
func castOf(kind reconcile.Kind) string {
	switch kind {
	case reconcile.Integer:
		return "bigint"
	case reconcile.Bytes:
		return "bytea"
	default:
		return string(kind) // Postgres has the others by these names
	}
}

// list returns SQL for the canonical texts of a table's key.
func (k *keys) list(p *reconcile.Plan) string {
	list := make([]string, len(k.table.Key))
	for i, name := range k.table.Key {
		list[i] = canonical(p.Kinds[i], "t."+rowmap.Quote(name))
	}
	return strings.Join(list, ", ")
}

// hash returns SQL for the hash of a key.
func (k *keys) hash(p *reconcile.Plan) string {
	seed, digests := "0", make([]string, len(k.table.Key))
	for i, name := range k.table.Key {
		text := "(" + canonical(p.Kinds[i], "t."+rowmap.Quote(name)) + `) collate "C"`
		seed = "hashtextextended(" + text + ", " + seed + ")"
		digests[i] = "md5(" + text + ")"
	}
	if p.Hash != reconcile.MD5 {
		return seed
	}
	if len(digests) == 1 {
		return "('x' || left(" + digests[0] + ", 16))::bit(64)::bigint"
	}
	return "('x' || left(md5(" + strings.Join(digests, " || ") + "), 16))::bit(64)::bigint"
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
func (k *keys) from(p *reconcile.Plan, r reconcile.Range) (string, []any) {
	conditions, args := k.conditions(), []any(nil)
	bound := func(operator string, key reconcile.Key) {
		if key == nil {
			return
		}
		values := make([]string, len(key))
		for i, text := range key {
			args = append(args, p.Kinds[i].Readable(text))
			values[i] = "$" + strconv.Itoa(len(args)) + "::text::" + castOf(p.Kinds[i])
		}
		conditions = append(conditions, "("+k.columns()+") "+operator+" ("+strings.Join(values, ", ")+")")
	}
	bound(">", r.After)
	bound("<=", r.Until)
	return " from " + k.name.Sanitize() + " t where " + strings.Join(conditions, " and "), args
}

// conditions hold for each row that is compared.
func (k *keys) conditions() []string {
	var conditions []string
	for _, name := range k.table.Key {
		conditions = append(conditions, "t."+rowmap.Quote(name)+" is not null")
	}
	if k.table.Where != "" {
		conditions = append(conditions, "(\n"+k.table.Where+"\n)")
	}
	return conditions
}

// Sum counts the keys of a range, and adds up their hashes.
func (k *keys) Sum(ctx context.Context, p *reconcile.Plan, r reconcile.Range) (reconcile.Sum, error) {
	from, args := k.from(p, r)
	var s reconcile.Sum
	var hash string
	err := retryStale(k.pool, func() error {
		return k.pool.QueryRow(ctx, "select count(*), mod(coalesce(sum("+k.hash(p)+"), 0), 18446744073709551616)::text"+from, args...).Scan(&s.Rows, &hash)
	})
	if err != nil {
		return s, transient(ctx, k.pool, err)
	}
	digits, negative := strings.CutPrefix(hash, "-")
	if s.Hash, err = strconv.ParseUint(digits, 10, 64); negative {
		s.Hash = -s.Hash
	}
	return s, err
}

// Cut returns every step-th key of a range.
func (k *keys) Cut(ctx context.Context, p *reconcile.Plan, r reconcile.Range, step, most int64) ([]reconcile.Key, error) {
	from, args := k.from(p, r)
	if most == 1 {
		return k.read(ctx, p, "select "+k.list(p)+from+" order by "+k.columns()+" limit 1 offset "+strconv.FormatInt(step-1, 10), args)
	}
	query := fmt.Sprintf("select %s from (select %s, row_number() over (order by %[2]s) as dataflow_n%s) t where dataflow_n %% %d = 0 order by dataflow_n limit %d",
		k.list(p), k.columns(), from, step, most)
	return k.read(ctx, p, query, args)
}

// List returns keys of a range.
func (k *keys) List(ctx context.Context, p *reconcile.Plan, r reconcile.Range, most int) ([]reconcile.Key, error) {
	from, args := k.from(p, r)
	return k.read(ctx, p, "select "+k.list(p)+from+" limit "+strconv.Itoa(most), args)
}

// read reads keys.
func (k *keys) read(ctx context.Context, p *reconcile.Plan, query string, args []any) ([]reconcile.Key, error) {
	var found []reconcile.Key
	err := retryStale(k.pool, func() error {
		found = nil
		rows, err := k.pool.Query(ctx, query, args...)
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
	return found, transient(ctx, k.pool, err)
}

// asked returns "unnest(…) … a" for given keys, the condition under which a row of t has one of them, and the
// arguments. The column dataflow_n is the number of the key, from 1.
func (k *keys) asked(p *reconcile.Plan, given []reconcile.Key) (list, condition string, args []any) {
	params, names, same := make([]string, len(p.Kinds)), make([]string, len(p.Kinds)), make([]string, len(p.Kinds))
	for i, kind := range p.Kinds {
		texts := make([]string, len(given))
		for j, key := range given {
			texts[j] = kind.Readable(key[i])
		}
		args = append(args, texts)
		n := strconv.Itoa(i + 1)
		params[i], names[i] = "$"+n+"::text[]", "dataflow_"+n
		same[i] = "t." + rowmap.Quote(k.table.Key[i]) + " = a.dataflow_" + n + "::" + castOf(kind)
	}
	list = "unnest(" + strings.Join(params, ", ") + ") with ordinality a (" + strings.Join(names, ", ") + ", dataflow_n)"
	return list, strings.Join(append(same, k.conditions()...), " and "), args
}

// Find reports which keys the table has.
func (k *keys) Find(ctx context.Context, p *reconcile.Plan, given []reconcile.Key) ([]bool, error) {
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
	return there, transient(ctx, k.pool, err)
}
