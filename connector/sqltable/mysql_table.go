package sqltable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// mysqlTable describes a table by MySQL's catalog.
type mysqlTable struct {
	columns      []string       // none if there is no such table
	types        []columnType   // of the columns
	written      []columnType   // the types of the written columns, in their order
	clock        *time.Location // in which times are written into columns of type timestamp, nil if there are none
	timestamps   []string       // the columns of type timestamp
	engine       string         // "" for a view
	transactions bool
	unique       []uniqueIndex
	rowEnd       string            // the column in which a table with history keeps the end of a row, "" for none
	derived      map[string]string // the expressions of generated columns
	repeats      []string          // the columns that have one default for all rows of a statement
}

// columnType is a column's type.
type columnType struct {
	name     string // in lower case, such as decimal
	declared string // such as decimal(10,2) not null
}

// uniqueIndex is a unique index, or the primary key.
type uniqueIndex struct {
	name    string
	columns []string // "" for a part that is not a whole column
}

const (
	mysqlColumns = `select column_name, concat(column_type, if(coalesce(character_set_name, 'utf8') like 'utf8%', '', concat(' character set ', character_set_name)),
		if(is_nullable = 'NO', ' not null', '')) from information_schema.columns
		where table_schema = coalesce(?, database()) and table_name = ? order by ordinal_position`

	mysqlEngine = `select coalesce(t.engine, ''), coalesce(e.transactions, 'YES') from information_schema.tables t
		left join information_schema.engines e on e.engine = t.engine
		where t.table_schema = coalesce(?, database()) and t.table_name = ?`

	// mysqlRowEnd is for MariaDB and MySQL. Only MariaDB keeps the history of rows.
	mysqlRowEnd = `select column_name, '' from information_schema.columns
		where table_schema = coalesce(?, database()) and table_name = ? and generation_expression = 'ROW END'`

	// mysqlUnset finds columns that have a value in rows that do not set them: generated ones with their expression, and
	// those with one default for all rows of a statement, which uuid() is not.
	mysqlUnset = `select column_name, coalesce(generation_expression, '') from information_schema.columns
		where table_schema = coalesce(?, database()) and table_name = ? and case
			when coalesce(generation_expression, '') <> '' then generation_expression not in ('ROW START', 'ROW END')
			else extra not like '%auto_increment%' and coalesce(column_default, 'NULL') <> 'NULL'
				and (column_default not like '%(%)' or column_default like 'current_timestamp%') end`

	mysqlUnique = `select index_name, case when sub_part is null then coalesce(column_name, '') else '' end
		from information_schema.statistics
		where table_schema = coalesce(?, database()) and table_name = ? and non_unique = 0 order by index_name, seq_in_index`
)

// tableOf looks up a table. A nil schema means the session's database.
func tableOf(ctx context.Context, q queryer, schema any, name string) (*mysqlTable, error) {
	t := &mysqlTable{}
	err := t.lookUpColumns(ctx, q, schema, name)
	if err != nil {
		return nil, err
	}
	err = eachPair(ctx, q, mysqlEngine, schema, name, func(engine, transactions string) {
		t.engine, t.transactions = engine, transactions == "YES"
	})
	if err != nil {
		return nil, err
	}
	if err := eachPair(ctx, q, mysqlRowEnd, schema, name, func(column, _ string) { t.rowEnd = column }); err != nil {
		return nil, err
	}
	t.derived = make(map[string]string)
	err = eachPair(ctx, q, mysqlUnset, schema, name, func(column, expression string) {
		if expression == "" {
			t.repeats = append(t.repeats, column)
		} else {
			t.derived[column] = expression
		}
	})
	if err != nil {
		return nil, err
	}
	return t, t.lookUpUnique(ctx, q, schema, name)
}

// lookUpColumns looks up the columns and their types.
func (t *mysqlTable) lookUpColumns(ctx context.Context, q queryer, schema any, name string) error {
	return eachPair(ctx, q, mysqlColumns, schema, name, func(column, declared string) {
		is := columnType{declared: declared}
		if parts := columnTypePattern.FindStringSubmatch(strings.ToLower(declared)); parts != nil {
			is.name = parts[1]
		}
		t.columns, t.types = append(t.columns, column), append(t.types, is)
		if is.name == "timestamp" {
			t.timestamps = append(t.timestamps, column)
		}
	})
}

// lookUpUnique looks up the unique indexes. MariaDB adds the end of a row to each of them, which is the same for all
// rows but those of the history.
func (t *mysqlTable) lookUpUnique(ctx context.Context, q queryer, schema any, name string) error {
	return eachPair(ctx, q, mysqlUnique, schema, name, func(index, column string) {
		if column != "" && strings.EqualFold(column, t.rowEnd) {
			return
		}
		if n := len(t.unique); n == 0 || t.unique[n-1].name != index {
			t.unique = append(t.unique, uniqueIndex{name: index})
		}
		last := &t.unique[len(t.unique)-1]
		last.columns = append(last.columns, column)
	})
}

func eachPair(ctx context.Context, q queryer, query string, schema any, name string, f func(a, b string)) error {
	rows, err := q.QueryContext(ctx, query, schema, name)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var a, b string
		if err := rows.Scan(&a, &b); err != nil {
			return err
		}
		f(a, b)
	}
	return rows.Err()
}

// has reports whether a column is in a list. MySQL ignores case.
func has(columns []string, name string) bool {
	return slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, name) })
}

func hasAll(columns, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !has(columns, name) })
}

// check returns an error if the table is unsuitable. After the first success it
// does nothing. What a migration may take away for a while is no permanent error.
func (s *mysqlSink[T]) check(ctx context.Context) error {
	if s.checked.Load() {
		return nil
	}
	t, err := tableOf(ctx, s.db, s.schema(), s.sink.name[len(s.sink.name)-1])
	if err != nil {
		return fmt.Errorf("look up the table: %w", err)
	}
	if err := s.checkColumns(t); err != nil {
		return err
	}
	if err := s.checkUnique(t); err != nil {
		return err
	}
	if err := s.checkTimes(ctx, t); err != nil {
		return err
	}
	if err := s.checkNewer(ctx, t); err != nil {
		return err
	}
	t.written = s.writtenTypes(t)
	s.table.Store(t)
	s.checked.Store(true)
	return nil
}

// writtenTypes returns the types of the written columns, in their order. One that the table lacks has none.
func (s *mysqlSink[T]) writtenTypes(t *mysqlTable) []columnType {
	types := make([]columnType, len(s.sink.fields.Columns))
	for i, c := range s.sink.fields.Columns {
		if at := slices.IndexFunc(t.columns, func(name string) bool { return strings.EqualFold(name, c.Name) }); at >= 0 {
			types[i] = t.types[at]
		}
	}
	return types
}

// checkStillTyped returns an error if the written columns are of other types than when the table was checked, after a
// transaction has written rows, so that none can change before its commit. Which values MySQL would change depends on them.
func (s *mysqlSink[T]) checkStillTyped(ctx context.Context, tx sqlTx) error {
	t, known := &mysqlTable{}, s.table.Load()
	if known == nil {
		return nil
	}
	err := t.lookUpColumns(ctx, tx, s.schema(), s.sink.name[len(s.sink.name)-1])
	if err == nil && !slices.Equal(s.writtenTypes(t), known.written) {
		s.checked.Store(false)
		err = dataflow.Transient(errors.New("the types of its columns have changed; writing the batch again"))
	}
	return err
}

func (s *mysqlSink[T]) checkColumns(t *mysqlTable) error {
	if len(t.columns) == 0 {
		return errors.New("the table does not exist in this database, or this user may not see it")
	}
	if !t.transactions {
		return dataflow.Permanent(fmt.Errorf("the table's engine %s has no transactions, so rows could arrive twice: alter table %s engine = InnoDB", t.engine, rowmap.BacktickAll(s.sink.name, ".")))
	}
	var missing []string
	for _, c := range s.sink.fields.Columns {
		if !has(t.columns, c.Name) {
			missing = append(missing, fmt.Sprintf("%q (field %s)", c.Name, c.Field))
		}
	}
	if missing != nil {
		return fmt.Errorf("the table has no column %s; its columns are %s", strings.Join(missing, ", "), rowmap.QuoteAll(t.columns, ", "))
	}
	return nil
}

// checkUnique returns an error unless the key, and only the key, identifies a row.
// MySQL's upsert replaces a row with equal values in any unique index.
func (s *mysqlSink[T]) checkUnique(t *mysqlTable) error {
	if !s.sink.upsert {
		return nil
	}
	found := false
	for _, u := range t.unique {
		if len(u.columns) == len(s.sink.key) && hasAll(u.columns, s.sink.key) {
			found = true
		}
	}
	if !found {
		columns := rowmap.BacktickAll(s.sink.key, ", ")
		return fmt.Errorf("the table has no unique index of exactly the key columns (%s): create unique index … on %s (%s)", columns, rowmap.BacktickAll(s.sink.name, "."), columns)
	}
	for _, u := range t.unique {
		if hasAll(u.columns, s.sink.key) {
			continue // an index that includes the key is unique anyway
		}
		if slices.ContainsFunc(u.columns, func(c string) bool { return c == "" || s.sets(t, c) }) || hasAll(t.repeats, u.columns) {
			return dataflow.Permanent(fmt.Errorf("the table has another unique index, %s, and MySQL's upsert would replace a row with equal values there, whatever its key: drop the index, or use InsertTo", rowmap.Backtick(u.name)))
		}
	}
	return nil
}

// sets reports whether a record decides about a column's value by more than its key: the column is written, or generated
// from one that is.
func (s *mysqlSink[T]) sets(t *mysqlTable, column string) bool {
	return slices.ContainsFunc(s.sink.fields.Names(), func(name string) bool {
		return strings.EqualFold(name, column) ||
			!has(s.sink.key, name) && strings.Contains(strings.ToLower(t.derived[column]), strings.ToLower(rowmap.Backtick(name)))
	})
}

// checkStillUnique is checkUnique after a transaction has written rows, so that no index can
// change before its commit. Without the key's index, MySQL's upsert adds rows that exist.
func (s *mysqlSink[T]) checkStillUnique(ctx context.Context, tx sqlTx) error {
	if !s.sink.upsert {
		return nil
	}
	t := &mysqlTable{}
	if known := s.table.Load(); known != nil {
		t.rowEnd, t.derived, t.repeats = known.rowEnd, known.derived, known.repeats
	}
	err := t.lookUpUnique(ctx, tx, s.schema(), s.sink.name[len(s.sink.name)-1])
	if err == nil {
		err = s.checkUnique(t)
	}
	return err
}

// checkTimes returns an error if a time would be written incorrectly.
func (s *mysqlSink[T]) checkTimes(ctx context.Context, t *mysqlTable) error {
	var zero T
	targets := scanTargets(s.sink.fields.Pointers(&zero), true)
	for i, name := range s.sink.fields.Names() {
		if _, isTime := targets[i].(timeTarget); isTime && has(t.timestamps, name) {
			clock, err := clockOf(ctx, s.db)
			if err != nil {
				return fmt.Errorf("column %q is a timestamp: %w", name, err)
			}
			t.clock = clock
		}
	}
	return nil
}
