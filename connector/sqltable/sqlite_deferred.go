package sqltable

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// foreignKey is a foreign key of the table, all of whose columns are written.
type foreignKey struct {
	parent string
	from   []int    // the places of its columns among the written ones
	to     []string // the columns that they refer to
}

// checkDeferred returns an error that names a row, if one refers to a row that does not exist.
// SQLite checks a foreign key that is deferred at the commit, which is too late to spare the other
// rows. So the rows that it refers to must be there after each batch.
func (s *sink[T]) checkDeferred(ctx context.Context, tx sqlTx, rows reflect.Value) error {
	keys, err := s.deferredKeys(ctx, tx)
	if err != nil || len(keys) == 0 {
		return err
	}
	args := make([]any, 0, s.insert.chunk*len(s.fields.Columns))
	for from := 0; from < rows.Len(); from += s.insert.chunk {
		to := min(from+s.insert.chunk, rows.Len())
		args = args[:0]
		for i := from; i < to; i++ {
			if args, err = s.appendRow(args, rows.Index(i), i); err != nil {
				return err
			}
		}
		for _, key := range keys {
			n, err := s.orphan(ctx, tx, key, to-from, args)
			if err != nil {
				return err
			}
			if n >= 0 {
				return &dataflow.RowError{Row: from + n, Alone: true, Err: fmt.Errorf("FOREIGN KEY constraint failed: it is deferred, and refers to a row of %q that does not exist after the batch", key.parent)}
			}
		}
	}
	return nil
}

// orphan returns the first of the rows that refers to none, or -1.
func (s *sink[T]) orphan(ctx context.Context, tx sqlTx, key foreignKey, rows int, args []any) (int, error) {
	conditions := make([]string, len(key.from))
	given := make([]string, len(key.from))
	for i, place := range key.from {
		column := "v.c" + fmt.Sprint(place+1)
		conditions[i], given[i] = "p."+rowmap.Quote(key.to[i])+" = "+column, column+" is not null"
	}
	names := make([]string, len(s.fields.Columns))
	for i := range names {
		names[i] = "c" + fmt.Sprint(i+1)
	}
	values := make([]string, rows)
	for i := range values {
		values[i] = "(" + fmt.Sprint(i) + strings.Repeat(", ?", len(names)) + ")"
	}
	parent := rowmap.Quote(key.parent)
	if len(s.name) == 2 {
		parent = rowmap.Quote(s.name[0]) + "." + parent
	}
	query := "with v (n, " + strings.Join(names, ", ") + ") as (values " + strings.Join(values, ", ") + ") select coalesce(min(n), -1) from v where " +
		strings.Join(given, " and ") + " and not exists (select 1 from " + parent + " p where " + strings.Join(conditions, " and ") + ")"
	n := -1
	return n, tx.QueryRowContext(ctx, query, args...).Scan(&n)
}

const deferredQuery = `select (select foreign_keys from pragma_foreign_keys) and ((select defer_foreign_keys from pragma_defer_foreign_keys) or exists (select 1 from sqlite_schema where type = 'table' and name = ?1 collate nocase and sql like '%deferrable%initially%deferred%'))`

const foreignKeysQuery = `select k.id, k."table", k."from", coalesce(k."to", (select p.name from pragma_table_info(k."table") p where p.pk = k.seq + 1)) from pragma_foreign_key_list(?1) k order by k.id, k.seq`

// deferredKeys returns the foreign keys of a table that has deferred ones, or all of them in a
// transaction with "pragma defer_foreign_keys = on". SQLite does not tell which of
// them are.
func (s *sink[T]) deferredKeys(ctx context.Context, tx sqlTx) ([]foreignKey, error) {
	table := s.name[len(s.name)-1]
	isDeferred, keys := deferredQuery, foreignKeysQuery
	if len(s.name) == 2 {
		schema := rowmap.Quote(s.name[0])
		isDeferred = strings.Replace(isDeferred, "sqlite_schema", schema+".sqlite_schema", 1)
		keys = strings.NewReplacer(`pragma_foreign_key_list(?1)`, "pragma_foreign_key_list(?1, '"+strings.ReplaceAll(s.name[0], "'", "''")+"')").Replace(keys)
	}
	var deferred bool
	if err := tx.QueryRowContext(ctx, isDeferred, table).Scan(&deferred); err != nil || !deferred {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, keys, table)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	byID := make(map[int]*foreignKey)
	var ids []int
	for rows.Next() {
		var id int
		var parent, from string
		var to sql.NullString
		if err := rows.Scan(&id, &parent, &from, &to); err != nil {
			return nil, err
		}
		if byID[id] == nil {
			byID[id] = &foreignKey{parent: parent}
			ids = append(ids, id)
		}
		place := slices.IndexFunc(s.fields.Columns, func(c rowmap.Column) bool { return strings.EqualFold(c.Name, from) })
		if !to.Valid {
			place = -1 // the parent has no such key: SQLite refuses the write itself
		}
		byID[id].from, byID[id].to = append(byID[id].from, place), append(byID[id].to, to.String)
	}
	var all []foreignKey
	for _, id := range ids {
		if !slices.Contains(byID[id].from, -1) {
			all = append(all, *byID[id])
		}
	}
	return all, rows.Err()
}
