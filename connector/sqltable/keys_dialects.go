package sqltable

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/keyrange"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// typesOf returns the types of a query's columns.
func typesOf(ctx context.Context, q queryer, query string) ([]*sql.ColumnType, error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	types, err := rows.ColumnTypes()
	return types, errors.Join(err, rows.Err())
}

// sqliteDialect is SQLite's dialect. A column may hold values of any type.
type sqliteDialect struct{}

// collateQuery asks of a schema whether it has the table, and how much of it may have a collation: the
// table, or all that a view may read.
const collateQuery = `select exists (select 1 from %[1]s where name = ?1 collate nocase), (select count(*) from %[1]s where lower(sql) like '%%collate%%'
	and (name = ?1 collate nocase or exists (select 1 from %[1]s where name = ?1 collate nocase and type = 'view')))`

// collates reports whether the table may have a collation. A name without a schema is looked up as SQLite does: in the
// temporary tables, the main database, and those that are attached. Only a temporary view may read other schemas
// than its own, so it counts as one with a collation.
func (sqliteDialect) collates(ctx context.Context, k *keys) (bool, error) {
	schemas, table := k.name[:len(k.name)-1], k.name[len(k.name)-1]
	if len(schemas) == 0 {
		schemas = []string{"temp", "main"}
		rows, err := k.queryer(ctx).QueryContext(ctx, "select name from pragma_database_list where name not in ('temp', 'main') order by seq")
		if err != nil {
			return false, err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return false, err
			}
			schemas = append(schemas, name)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return false, err
		}
	}
	for _, schema := range schemas {
		var there bool
		var n, views int
		master := rowmap.Quote(schema) + ".sqlite_master"
		if err := k.queryer(ctx).QueryRowContext(ctx, fmt.Sprintf(collateQuery, master), table).Scan(&there, &n); err != nil {
			return false, err
		}
		if !there {
			continue
		}
		if strings.EqualFold(schema, "temp") {
			err := k.queryer(ctx).QueryRowContext(ctx, "select count(*) from "+master+" where name = ? collate nocase and type = 'view'", table).Scan(&views)
			return n+views > 0, err
		}
		return n > 0, nil
	}
	return false, nil
}

// hashes are both, which Go computes.
func (sqliteDialect) hashes() []keyrange.Hash { return []keyrange.Hash{keyrange.Jenkins, keyrange.MD5} }

// besides is false: a pool of SQLite may have one connection only.
func (sqliteDialect) besides() bool { return false }

func (d sqliteDialect) columns(ctx context.Context, k *keys) ([]keyrange.Column, error) {
	types, err := typesOf(ctx, k.queryer(ctx), "select "+rowmap.QuoteAll(k.table.Key, ", ")+" from "+rowmap.QuoteAll(k.name, ".")+" limit 0")
	if err != nil {
		return nil, err
	}
	var encoding string
	collates, err := d.collates(ctx, k)
	if err != nil {
		return nil, err
	}
	if err := k.queryer(ctx).QueryRowContext(ctx, "pragma encoding").Scan(&encoding); err != nil {
		return nil, err
	}
	columns := make([]keyrange.Column, len(types))
	for i, t := range types {
		columns[i] = keyrange.Column{Name: k.table.Key[i], Type: "SQLite's " + cmp.Or(strings.ToLower(t.DatabaseTypeName()), "untyped"), Kind: keyrange.Literal, Affinity: affinityOf(t.DatabaseTypeName())}
		switch {
		case columns[i].Affinity == "time":
			columns[i].Loose = "it is " + columns[i].Type + ", whose times may be written in several ways"
		case collates:
			columns[i].Loose = "its table has a collation, by which different texts may be equal"
		case encoding == "UTF-8":
			columns[i].Order = keyrange.CodePoints
		}
	}
	return columns, nil
}

// affinityOf returns the affinity of a declared type, by the rules of SQLite. Drivers make times of what is
// declared as one.
func affinityOf(declared string) string {
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(strings.ToUpper(declared), part) })
	}
	switch {
	case has("INT"):
		return "number"
	case has("CHAR", "CLOB", "TEXT"):
		return "text"
	case declared == "" || has("BLOB"):
		return ""
	case has("DATE", "TIME"):
		return "time"
	default:
		return "number"
	}
}

// estimate cannot tell: SQLite's planner knows no sizes of tables that were not analyzed.
func (sqliteDialect) estimate(context.Context, queryer, string) (int64, bool, error) {
	return 0, false, nil
}

func (d sqliteDialect) sum(ctx context.Context, k *keys, p *keyrange.Plan, from string, args []any) (keyrange.Sum, error) {
	s, sum := &sqlKeys{keys: k, keyDialect: d, plan: p}, keyrange.Sum{}
	err := s.each(ctx, k.queryer(ctx), "select "+s.textList()+from, args, func(key keyrange.Key) error {
		sum.Rows++
		sum.Hash += p.Hash.Of(key)
		return nil
	})
	return sum, err
}

func (sqliteDialect) text(_ keyrange.Kind, column string) string { return storedExpression(column) }

func (sqliteDialect) canonical(kind keyrange.Kind, v any) (string, error) {
	literal, err := literalOf(v)
	if err != nil || kind == keyrange.Literal {
		return literal, err
	}
	switch v := v.(type) {
	case int64:
		if kind == keyrange.Integer {
			return literal, nil
		}
	case []byte:
		if kind == keyrange.Bytes {
			return hex.EncodeToString(v), nil
		}
	case string:
		if (kind == keyrange.Text || kind == keyrange.UUID) && !strings.HasPrefix(literal, "t") {
			return v[1:], nil
		}
	}
	return "", fmt.Errorf("it holds %s, which is no %s", literal, kind)
}

func (sqliteDialect) param(kind keyrange.Kind, text string) (string, any, error) {
	var v any = text
	var err error
	switch kind {
	case keyrange.Literal:
		v, err = parseLiteral(text)
	case keyrange.Integer:
		if v, err = strconv.ParseInt(text, 10, 64); err != nil {
			err = errors.New("integers of SQLite have 64 bits")
		}
	case keyrange.Bytes:
		v, err = hex.DecodeString(text)
	default:
	}
	return "?", v, err
}

func (sqliteDialect) quote(name string) string       { return rowmap.Quote(name) }
func (sqliteDialect) dual() string                   { return "" }
func (sqliteDialect) forUpdate() string              { return "" } // a transaction that has written is the only one
func (sqliteDialect) deleteFrom(table string) string { return "delete from " + table + " as t" }
func (sqliteDialect) as() string                     { return " as t" }
func (sqliteDialect) now() string                    { return "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000000Z'" }

func (sqliteDialect) refusesKey(error) bool { return false }

func (sqliteDialect) refused(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), "constraint")
}

// mysqlDialect is the dialect of MySQL and MariaDB.
type mysqlDialect struct{}

// hashes is the only one that MySQL has.
func (mysqlDialect) hashes() []keyrange.Hash { return []keyrange.Hash{keyrange.MD5} }

// besides is true: a transaction would see what was there when it first read.
func (mysqlDialect) besides() bool { return true }

// mysqlKeyColumns reads the collation of each text. Other types have their name in place of it, in
// capitals: the driver takes MariaDB's uuid, inet4 and inet6 for char.
const mysqlKeyColumns = `select column_name, coalesce(collation_name, upper(data_type)) from information_schema.columns
	where table_schema = coalesce(?, database()) and table_name = ?`

func (mysqlDialect) columns(ctx context.Context, k *keys) ([]keyrange.Column, error) {
	types, err := typesOf(ctx, k.queryer(ctx), "select "+rowmap.BacktickAll(k.table.Key, ", ")+" from "+rowmap.BacktickAll(k.name, ".")+" limit 0")
	if err != nil {
		return nil, err
	}
	var schema any
	if len(k.name) == 2 {
		schema = k.name[0]
	}
	collations := map[string]string{}
	err = eachPair(ctx, k.queryer(ctx), mysqlKeyColumns, schema, k.name[len(k.name)-1], func(column, collation string) { collations[strings.ToLower(column)] = collation })
	if err != nil {
		return nil, err
	}
	columns := make([]keyrange.Column, len(types))
	for i, t := range types {
		if columns[i], err = mysqlKeyColumn(t, collations[strings.ToLower(k.table.Key[i])]); err != nil {
			return nil, err
		}
		if columns[i].Kind == keyrange.TimestampTZ {
			if err := checkKeyClock(ctx, k.queryer(ctx), t.Name()); err != nil {
				return nil, err
			}
		}
		if columns[i].Kind == keyrange.Text {
			if err := checkKeyCharset(ctx, k.queryer(ctx), t.Name()); err != nil {
				return nil, err
			}
		}
	}
	return columns, nil
}

func mysqlKeyColumn(t *sql.ColumnType, collation string) (keyrange.Column, error) {
	name := strings.TrimPrefix(t.DatabaseTypeName(), "UNSIGNED ")
	if slices.Contains([]string{"UUID", "INET4", "INET6"}, collation) {
		name = collation
	}
	c := keyrange.Column{Name: t.Name(), Type: strings.ToLower(name)}
	switch name {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT":
		c.Kind = keyrange.Integer
	case "DECIMAL":
		c.Kind, c.Digits = keyrange.Numeric, digitsOf(t)
	case "DATE":
		c.Kind = keyrange.Date
	case "DATETIME":
		c.Kind, c.Digits = keyrange.Timestamp, digitsOf(t)
	case "TIMESTAMP":
		c.Kind, c.Digits = keyrange.TimestampTZ, digitsOf(t)
	case "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "CHAR":
		c.Kind, c.Order = keyrange.Text, collation
		if exact := strings.HasSuffix(collation, "_nopad_bin") || strings.HasSuffix(collation, "_0900_bin"); !exact {
			c.Loose = fmt.Sprintf("its collation %s takes different texts for equal, at least in trailing blanks", collation)
		} else {
			if strings.HasPrefix(collation, "utf8") {
				c.Order = keyrange.CodePoints
			}
			if name == "CHAR" {
				c.Loose = "it is char(n), which drops trailing blanks"
			}
		}
	case "UUID":
		c.Kind = keyrange.UUID // MariaDB sorts some of them by their last part first
	case "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "BINARY":
		c.Kind = keyrange.Bytes
		if name == "BINARY" {
			c.Loose = "it is binary(n), which adds zero bytes"
		}
	default:
		return c, dataflow.Permanent(fmt.Errorf("key column %q is %s, which cannot be compared across databases: use a key of integers, decimal, text, uuid, bytes, date, datetime or timestamp, or name a view that casts it", c.Name, c.Type))
	}
	return c, nil
}

// digitsOf returns the digits after the point. A decimal without any has the scale 0; so has a
// column of a driver that does not tell.
func digitsOf(t *sql.ColumnType) int {
	_, scale, _ := t.DecimalSize()
	return int(scale)
}

// estimate takes the largest number of rows that the plan names.
func (mysqlDialect) estimate(ctx context.Context, q queryer, from string) (most int64, ok bool, err error) {
	rows, err := q.QueryContext(ctx, "explain select 1"+from)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	at := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, "rows") })
	if err != nil || at < 0 {
		return 0, false, err
	}
	into := ignored(len(names))
	var n sql.NullInt64
	for into[at] = &n; rows.Next(); ok = true {
		if err := rows.Scan(into...); err != nil {
			return 0, false, err
		}
		most = max(most, n.Int64)
	}
	return most, ok, rows.Err()
}

func (d mysqlDialect) sum(ctx context.Context, k *keys, p *keyrange.Plan, from string, args []any) (keyrange.Sum, error) {
	if p.Hash != keyrange.MD5 {
		return keyrange.Sum{}, fmt.Errorf("MySQL cannot compute the hash %q", p.Hash)
	}
	s := &sqlKeys{keys: k, keyDialect: d, plan: p}
	digests := make([]string, len(p.Kinds))
	for i, kind := range p.Kinds {
		digests[i] = "md5(convert(" + d.text(kind, s.column(i)) + " using utf8mb4))"
	}
	digest := digests[0]
	if len(digests) > 1 {
		digest = "md5(concat(" + strings.Join(digests, ", ") + "))"
	}
	var sum keyrange.Sum
	var total string
	query := "select count(*), cast(coalesce(sum(cast(conv(left(" + digest + ", 16), 16, 10) as unsigned)), 0) as char)" + from
	if err := k.db.QueryRowContext(ctx, query, args...).Scan(&sum.Rows, &total); err != nil {
		return sum, err
	}
	n, ok := new(big.Int).SetString(total, 10)
	if !ok {
		return sum, fmt.Errorf("the database sent an invalid sum: %q", total)
	}
	sum.Hash = new(big.Int).And(n, new(big.Int).SetUint64(1<<64-1)).Uint64()
	return sum, nil
}

func (mysqlDialect) text(kind keyrange.Kind, column string) string {
	switch kind {
	case keyrange.Numeric:
		return "case when locate('.', cast(" + column + " as char)) > 0 then trim(trailing '.' from trim(trailing '0' from cast(" + column + " as char))) else cast(" + column + " as char) end"
	case keyrange.Bytes:
		return "lower(hex(" + column + "))"
	case keyrange.Date:
		return "lower(right(concat('0000000', hex(datediff(" + column + ", '2000-01-01'))), 8))"
	case keyrange.Timestamp, keyrange.TimestampTZ:
		return "lower(right(concat('000000000000000', hex(timestampdiff(microsecond, '2000-01-01 00:00:00', " + column + "))), 16))"
	default:
		return "cast(" + column + " as char)"
	}
}

var errInvalidKey = errors.New("it holds a date that the calendar does not have")

// spelled adds a date that the calendar does not have to its error.
func (s *sqlKeys) spelled(ctx context.Context, q queryer, i int, cause error) error {
	var text string
	query := "select cast(" + s.column(i) + " as char) from " + s.table() + " t where " + s.column(i) + " is not null and " + s.text(s.plan.Kinds[i], s.column(i)) + " is null limit 1"
	if !errors.Is(cause, errInvalidKey) || q.QueryRowContext(ctx, query).Scan(&text) != nil {
		return cause
	}
	return fmt.Errorf("%w: %s: mend or delete that row, or leave it out by Where", cause, text)
}

func (mysqlDialect) canonical(kind keyrange.Kind, v any) (string, error) {
	if v == nil {
		return "", errInvalidKey
	}
	text := textOf(v)
	if kind == keyrange.Numeric && text == "-0" {
		text = "0"
	}
	return text, nil
}

func (mysqlDialect) param(kind keyrange.Kind, text string) (string, any, error) {
	switch kind {
	case keyrange.Integer:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return "?", n, nil
		}
		n, err := strconv.ParseUint(text, 10, 64)
		return "?", n, err
	case keyrange.Numeric:
		whole, digits, _ := strings.Cut(strings.TrimPrefix(text, "-"), ".")
		if len(digits) > 30 || len(whole)+len(digits) > 65 || strings.Trim(whole+digits, "0123456789") != "" {
			return "", nil, errors.New("a decimal of MySQL has up to 65 digits, and 30 after the point")
		}
		return fmt.Sprintf("cast(? as decimal(65, %d))", len(digits)), text, nil
	case keyrange.Bytes:
		v, err := hex.DecodeString(text)
		return "?", v, err
	case keyrange.Date, keyrange.Timestamp, keyrange.TimestampTZ:
		v := strings.TrimSuffix(kind.Readable(text), "Z")
		if date, _, _ := strings.Cut(v, " "); len(date) != len("2006-01-02") || strings.HasSuffix(v, "BC") {
			return "", nil, errors.New("dates of MySQL are of the years 0 to 9999")
		}
		if kind == keyrange.Date {
			return "cast(? as date)", v, nil
		}
		return "cast(? as datetime(6))", v, nil
	default:
		return "?", text, nil
	}
}

func (mysqlDialect) quote(name string) string       { return rowmap.Backtick(name) }
func (mysqlDialect) dual() string                   { return " from dual" }
func (mysqlDialect) forUpdate() string              { return " for update" }
func (mysqlDialect) deleteFrom(table string) string { return "delete t from " + table + " t" }
func (mysqlDialect) as() string                     { return " t" }
func (mysqlDialect) now() string                    { return "now(6)" }

// refusesKey knows characters that are not in the column's character set.
func (mysqlDialect) refusesKey(err error) bool { return errorNumber(err) == 1267 }

// refused knows the foreign keys of other tables and the checks, and what triggers refuse.
func (mysqlDialect) refused(err error) bool {
	switch errorNumber(err) {
	case 1217, 1451, 1644, 3819, 4025:
		return true
	default:
		return false
	}
}
