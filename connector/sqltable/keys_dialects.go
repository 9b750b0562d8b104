package sqltable

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// sqliteDialect is SQLite's dialect. A column may hold values of any type.
type sqliteDialect struct{}

const collateQuery = `select count(*) from %s where name = ? and lower(sql) like '%%collate%%'`

func (sqliteDialect) columns(ctx context.Context, k *keys) ([]reconcile.Column, error) {
	master := "sqlite_master"
	if len(k.name) == 2 {
		master = rowmap.Quote(k.name[0]) + ".sqlite_master"
	}
	rows, err := k.queryer(ctx).QueryContext(ctx, "select "+rowmap.QuoteAll(k.table.Key, ", ")+" from "+rowmap.QuoteAll(k.name, ".")+" limit 0")
	if err != nil {
		return nil, err
	}
	types, err := rows.ColumnTypes()
	_ = rows.Close()
	if err != nil {
		return nil, err
	}
	var collates int
	if err := k.queryer(ctx).QueryRowContext(ctx, fmt.Sprintf(collateQuery, master), k.name[len(k.name)-1]).Scan(&collates); err != nil {
		return nil, err
	}
	columns := make([]reconcile.Column, len(types))
	for i, t := range types {
		columns[i] = reconcile.Column{Name: k.table.Key[i], Type: strings.TrimSpace("SQLite's " + strings.ToLower(t.DatabaseTypeName())), Kind: reconcile.Literal}
		if collates > 0 {
			columns[i].Loose = "its table has a collation, by which different texts may be equal"
		}
	}
	return columns, nil
}

func (d sqliteDialect) sum(ctx context.Context, k *keys, p *reconcile.Plan, from string, args []any) (reconcile.Sum, error) {
	s, sum := &sqlKeys{keys: k, keyDialect: d, plan: p}, reconcile.Sum{}
	err := s.each(ctx, k.db, "select "+s.textList()+from, args, func(key reconcile.Key) error {
		sum.Rows++
		sum.Hash += p.Hash.Of(key)
		return nil
	})
	return sum, err
}

func (sqliteDialect) text(_ reconcile.Kind, column string) string { return storedExpression(column) }

func (sqliteDialect) canonical(kind reconcile.Kind, v any) (string, error) {
	literal, err := literalOf(v)
	if err != nil || kind == reconcile.Literal {
		return literal, err
	}
	switch v := v.(type) {
	case int64:
		if kind == reconcile.Integer {
			return literal, nil
		}
	case []byte:
		if kind == reconcile.Bytes {
			return hex.EncodeToString(v), nil
		}
	case string:
		if (kind == reconcile.Text || kind == reconcile.UUID) && !strings.HasPrefix(literal, "t") {
			return v[1:], nil
		}
	}
	return "", fmt.Errorf("it holds %s, which is no %s", literal, kind)
}

func (sqliteDialect) param(reconcile.Kind) string { return "?" }

func (sqliteDialect) arg(kind reconcile.Kind, text string) (any, error) {
	switch kind {
	case reconcile.Literal:
		return parseLiteral(text)
	case reconcile.Integer:
		return strconv.ParseInt(text, 10, 64)
	case reconcile.Bytes:
		return hex.DecodeString(text)
	default:
		return text, nil
	}
}

func (sqliteDialect) quote(name string) string   { return rowmap.Quote(name) }
func (sqliteDialect) dual() string               { return "" }
func (sqliteDialect) lock() string               { return "" } // a transaction that has written is the only one
func (sqliteDialect) remove(table string) string { return "delete from " + table + " as t" }
func (sqliteDialect) as() string                 { return " as t" }
func (sqliteDialect) now() string                { return "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000000Z'" }
func (sqliteDialect) refused(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), "constraint")
}

// mysqlDialect is the dialect of MySQL and MariaDB.
type mysqlDialect struct{}

const mysqlKeyColumns = `select column_name, coalesce(collation_name, '') from information_schema.columns
	where table_schema = coalesce(?, database()) and table_name = ?`

func (mysqlDialect) columns(ctx context.Context, k *keys) ([]reconcile.Column, error) {
	rows, err := k.queryer(ctx).QueryContext(ctx, "select "+rowmap.BacktickAll(k.table.Key, ", ")+" from "+rowmap.BacktickAll(k.name, ".")+" limit 0")
	if err != nil {
		return nil, err
	}
	types, err := rows.ColumnTypes()
	_ = rows.Close()
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
	columns := make([]reconcile.Column, len(types))
	for i, t := range types {
		if columns[i], err = mysqlKeyColumn(t, collations[strings.ToLower(k.table.Key[i])]); err != nil {
			return nil, err
		}
		if columns[i].Kind == reconcile.TimestampTZ {
			if err := checkKeyClock(ctx, k.queryer(ctx), t.Name()); err != nil {
				return nil, err
			}
		}
	}
	return columns, nil
}

func mysqlKeyColumn(t *sql.ColumnType, collation string) (reconcile.Column, error) {
	name := strings.TrimPrefix(t.DatabaseTypeName(), "UNSIGNED ")
	c := reconcile.Column{Name: t.Name(), Type: strings.ToLower(name)}
	switch name {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT":
		c.Kind = reconcile.Integer
	case "DECIMAL":
		c.Kind = reconcile.Numeric
	case "DATE":
		c.Kind = reconcile.Date
	case "DATETIME":
		c.Kind = reconcile.Timestamp
	case "TIMESTAMP":
		c.Kind = reconcile.TimestampTZ
	case "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "CHAR":
		c.Kind = reconcile.Text
		if exact := strings.HasSuffix(collation, "_nopad_bin") || strings.HasSuffix(collation, "_0900_bin"); !exact {
			c.Loose = fmt.Sprintf("its collation %s takes different texts for equal, at least in trailing blanks", collation)
		} else if name == "CHAR" {
			c.Loose = "it is char(n), which drops trailing blanks"
		}
	case "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "BINARY":
		c.Kind = reconcile.Bytes
		if name == "BINARY" {
			c.Loose = "it is binary(n), which adds zero bytes"
		}
	default:
		return c, dataflow.Permanent(fmt.Errorf("key column %q is %s, which cannot be compared across databases: use a key of integers, decimal, text, bytes, date, datetime or timestamp, or name a view that casts it", c.Name, c.Type))
	}
	return c, nil
}

func (d mysqlDialect) sum(ctx context.Context, k *keys, p *reconcile.Plan, from string, args []any) (reconcile.Sum, error) {
	if p.Hash != reconcile.MD5 {
		return reconcile.Sum{}, fmt.Errorf("MySQL cannot compute the hash %q", p.Hash)
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
	var sum reconcile.Sum
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

func (mysqlDialect) text(kind reconcile.Kind, column string) string {
	switch kind {
	case reconcile.Numeric:
		return "case when locate('.', cast(" + column + " as char)) > 0 then trim(trailing '.' from trim(trailing '0' from cast(" + column + " as char))) else cast(" + column + " as char) end"
	case reconcile.Bytes:
		return "lower(hex(" + column + "))"
	case reconcile.Date:
		return "lower(right(concat('0000000', hex(datediff(" + column + ", '2000-01-01'))), 8))"
	case reconcile.Timestamp, reconcile.TimestampTZ:
		return "lower(right(concat('000000000000000', hex(timestampdiff(microsecond, '2000-01-01 00:00:00', " + column + "))), 16))"
	default:
		return "cast(" + column + " as char)"
	}
}

var errInvalidKey = errors.New("it holds a value that is no valid date")

func (mysqlDialect) canonical(kind reconcile.Kind, v any) (string, error) {
	if v == nil {
		return "", errInvalidKey
	}
	text := textOf(v)
	if kind == reconcile.Numeric && text == "-0" {
		text = "0"
	}
	return text, nil
}

func (mysqlDialect) param(kind reconcile.Kind) string {
	switch kind {
	case reconcile.Numeric:
		return "cast(? as decimal(65, 30))"
	case reconcile.Date:
		return "cast(? as date)"
	case reconcile.Timestamp, reconcile.TimestampTZ:
		return "cast(? as datetime(6))"
	default:
		return "?"
	}
}

func (mysqlDialect) arg(kind reconcile.Kind, text string) (any, error) {
	switch kind {
	case reconcile.Integer:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		return strconv.ParseUint(text, 10, 64)
	case reconcile.Bytes:
		return hex.DecodeString(text)
	case reconcile.Date, reconcile.Timestamp, reconcile.TimestampTZ:
		return strings.TrimSuffix(kind.Readable(text), "Z"), nil
	default:
		return text, nil
	}
}

func (mysqlDialect) quote(name string) string   { return rowmap.Backtick(name) }
func (mysqlDialect) dual() string               { return " from dual" }
func (mysqlDialect) lock() string               { return " for update" }
func (mysqlDialect) remove(table string) string { return "delete t from " + table + " t" }
func (mysqlDialect) as() string                 { return " t" }
func (mysqlDialect) now() string                { return "now(6)" }

// refused knows the foreign keys of other tables and the checks, and what triggers refuse.
func (mysqlDialect) refused(err error) bool {
	switch errorNumber(err) {
	case 1217, 1451, 1644, 3819, 4025:
		return true
	default:
		return false
	}
}
