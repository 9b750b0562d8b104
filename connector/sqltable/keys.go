package sqltable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/internal/keyrange"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Keys are the keys of a table of SQLite, MySQL or MariaDB, for [reconcile.New]. As a target, the
// database also keeps the flow's checkpoint; see [CheckpointTable]. The caller closes db after
// the client has stopped.
//
// SQLite computes no hashes, so all keys of its side are read. MySQL and MariaDB compute MD5.
//
// MySQL and MariaDB need another connection of the pool while a batch is removed.
func Keys(db *sql.DB, table reconcile.Table) reconcile.Side {
	k := &keys{db: &database{DB: db}, table: table}
	k.table.Key = slices.Clone(table.Key)
	k.name, k.nameErr = rowmap.SplitTable(table.Name)
	return k
}

// keys is a [reconcile.Side].
type keys struct {
	db      *database
	table   reconcile.Table
	name    []string
	nameErr error
}

func (k *keys) Validate() error {
	errs := []error{k.table.Validate()}
	if k.db.DB == nil {
		errs = append(errs, &dataflow.ConfigError{Field: "db", Reason: "it is nil: create it with sql.Open"})
	}
	if k.nameErr != nil && k.table.Name != "" {
		errs = append(errs, &dataflow.ConfigError{Field: "Name", Reason: k.nameErr.Error()})
	}
	return errors.Join(errs...)
}

func (k *keys) Describe() dataflow.Description {
	return dataflow.Description{Type: "sqltable.keys", Detail: map[string]any{"table": k.table.Name, "key": k.table.Key}}
}

// PoolUse says that each statement borrows a connection.
func (k *keys) PoolUse() []dataflow.PoolUse { return useOf(k.db.DB, 0, 1) }

// Table returns the table.
func (k *keys) Table() reconcile.Table { return k.table }

// keyDialect is what SQLite and MySQL do in different ways.
type keyDialect interface {
	// columns looks up the columns of the key.
	columns(ctx context.Context, k *keys) ([]keyrange.Column, error)
	// hashes are those that the side computes, the fastest first.
	hashes() []keyrange.Hash
	// besides reports whether a pool may be asked while one of its transactions writes.
	besides() bool
	// estimate returns about how many keys "from … where …" has, if it can tell without reading them.
	estimate(ctx context.Context, q queryer, from string) (rows int64, ok bool, err error)
	// sum counts and adds up the keys of "from … where …".
	sum(ctx context.Context, k *keys, p *keyrange.Plan, from string, args []any) (keyrange.Sum, error)
	// text is the SQL of what canonical makes a canonical text of.
	text(kind keyrange.Kind, column string) string
	canonical(kind keyrange.Kind, v any) (string, error)
	// param returns the SQL of a parameter, and its value.
	param(kind keyrange.Kind, text string) (string, any, error)
	quote(name string) string
	// dual is the table of a select without one, with its "from".
	dual() string
	// forUpdate ends a statement that locks what it reads.
	forUpdate() string
	// deleteFrom begins a statement that deletes rows of a table, which it names t.
	deleteFrom(table string) string
	as() string
	now() string
	// refusesKey reports whether the database cannot compare a column with a value.
	refusesKey(err error) bool
	// refused reports whether the database refused rows for their data.
	refused(err error) bool
}

// dialect asks which database it is.
func (k *keys) dialect(ctx context.Context) (keyDialect, error) {
	mysql, err := k.db.isMySQLBy(ctx, k.queryer(ctx))
	if err != nil {
		return nil, err
	}
	if mysql {
		return mysqlDialect{}, nil
	}
	return sqliteDialect{}, nil
}

// Columns looks up the columns of the key.
func (k *keys) Columns(ctx context.Context) ([]keyrange.Column, []keyrange.Hash, error) {
	d, err := k.dialect(ctx)
	if err != nil {
		return nil, nil, err
	}
	columns, err := d.columns(ctx, k)
	return columns, d.hashes(), passing(ctx, err)
}

// sqlKeys writes the statements of a side in a dialect.
type sqlKeys struct {
	*keys
	keyDialect
	plan *keyrange.Plan
}

func (k *keys) sql(ctx context.Context, p *keyrange.Plan) (*sqlKeys, error) {
	d, err := k.dialect(ctx)
	return &sqlKeys{keys: k, keyDialect: d, plan: p}, err
}

func (s *sqlKeys) table() string {
	quoted := make([]string, len(s.name))
	for i, part := range s.name {
		quoted[i] = s.quote(part)
	}
	return strings.Join(quoted, ".")
}

func (s *sqlKeys) column(i int) string { return "t." + s.quote(s.keys.table.Key[i]) }

// columnList lists the columns, and textList what is read of them.
func (s *sqlKeys) columnList() string {
	list := make([]string, len(s.plan.Kinds))
	for i := range list {
		list[i] = s.column(i)
	}
	return strings.Join(list, ", ")
}

func (s *sqlKeys) textList() string {
	list := make([]string, len(s.plan.Kinds))
	for i, kind := range s.plan.Kinds {
		list[i] = s.text(kind, s.column(i))
	}
	return strings.Join(list, ", ")
}

// conditions hold for each row that is compared.
func (s *sqlKeys) conditions() []string {
	var conditions []string
	if s.plan.Unmarked != "" {
		conditions = append(conditions, "t."+s.quote(s.plan.Unmarked)+" is null")
	}
	for i := range s.plan.Kinds {
		conditions = append(conditions, s.column(i)+" is not null")
	}
	if s.keys.table.Where != "" {
		conditions = append(conditions, "(\n"+s.keys.table.Where+"\n)")
	}
	return conditions
}

// from returns "from … where …" for the keys of a range, and its arguments.
func (s *sqlKeys) from(r keyrange.Range) (string, []any, error) {
	conditions, args := s.conditions(), []any(nil)
	for _, bound := range []struct {
		key        keyrange.Key
		next, last string
	}{{r.After, ">", ">"}, {r.Until, "<", "<="}} {
		if bound.key == nil {
			continue
		}
		condition, more, err := s.compare(bound.key, bound.next, bound.last)
		if err != nil {
			return "", nil, err
		}
		conditions, args = append(conditions, condition), append(args, more...)
	}
	return " from " + s.table() + " t where " + strings.Join(conditions, " and "), args, nil
}

// compare compares the key column by column. MySQL finds no index for a comparison of rows.
func (s *sqlKeys) compare(key keyrange.Key, next, last string) (string, []any, error) {
	n := len(key) - 1
	p, v, err := s.param(s.plan.Kinds[n], key[n])
	if err != nil {
		return "", nil, s.notHeld(n, key[n], err)
	}
	condition, args := s.column(n)+" "+last+" "+p, []any{v}
	for i := n - 1; i >= 0; i-- {
		p, v, err := s.param(s.plan.Kinds[i], key[i])
		if err != nil {
			return "", nil, s.notHeld(i, key[i], err)
		}
		condition = fmt.Sprintf("%[1]s %[2]s= %[3]s and (%[1]s %[2]s %[3]s or %[4]s)", s.column(i), next, p, condition)
		args = append([]any{v, v}, args...)
	}
	return condition, args, nil
}

// equals is the condition that a row has a key.
func (s *sqlKeys) equals(key keyrange.Key) (string, []any, error) {
	conditions, args := make([]string, len(key)), make([]any, len(key))
	for i, text := range key {
		p, v, err := s.param(s.plan.Kinds[i], text)
		if err != nil {
			return "", nil, s.notHeld(i, text, err)
		}
		conditions[i], args[i] = s.column(i)+" = "+p, v
	}
	return strings.Join(conditions, " and "), args, nil
}

// notHeld names a key of the other table that the column cannot hold.
func (s *sqlKeys) notHeld(i int, text string, why error) error {
	return dataflow.Permanent(keyrange.NotHeld(s.keys.table.Key[i], s.plan.Kinds[i], text, why))
}

// held names the key of the other table by which a statement failed, as one with a character that is not in the
// column's character set.
func (s *sqlKeys) held(ctx context.Context, given []keyrange.Key, err error) error {
	if err == nil || !s.refusesKey(err) {
		return passing(ctx, err)
	}
	for _, key := range given {
		for i, text := range key {
			p, v, perr := s.param(s.plan.Kinds[i], text)
			if perr != nil {
				continue
			}
			var one int
			perr = s.queryer(ctx).QueryRowContext(ctx, "select 1 from "+s.table()+" t where "+s.column(i)+" = "+p+" limit 1", v).Scan(&one)
			if perr != nil && s.refusesKey(perr) {
				return s.notHeld(i, text, perr)
			}
		}
	}
	return passing(ctx, err)
}

// of names the column of an error that comes again.
func (s *sqlKeys) of(i int, err error) error {
	return dataflow.Permanent(fmt.Errorf("key column %q: %w", s.keys.table.Key[i], err))
}

// Estimate asks the planner how many keys there are.
func (k *keys) Estimate(ctx context.Context, p *keyrange.Plan) (int64, bool, error) {
	s, err := k.sql(ctx, p)
	if err != nil {
		return 0, false, err
	}
	from, _, err := s.from(keyrange.Range{})
	if err != nil {
		return 0, false, err
	}
	rows, ok, err := s.estimate(ctx, k.queryer(ctx), from)
	return rows, ok, passing(ctx, err)
}

// Sum counts the keys of a range, and adds up their hashes.
func (k *keys) Sum(ctx context.Context, p *keyrange.Plan, r keyrange.Range) (keyrange.Sum, error) {
	s, err := k.sql(ctx, p)
	if err != nil {
		return keyrange.Sum{}, err
	}
	from, args, err := s.from(r)
	if err != nil {
		return keyrange.Sum{}, err
	}
	sum, err := s.sum(ctx, k, p, from, args)
	return sum, s.held(ctx, []keyrange.Key{r.After, r.Until}, err)
}

// Cut returns every step-th key of a range.
func (k *keys) Cut(ctx context.Context, p *keyrange.Plan, r keyrange.Range, step, most int64) ([]keyrange.Key, error) {
	s, err := k.sql(ctx, p)
	if err != nil {
		return nil, err
	}
	from, args, err := s.from(r)
	if err != nil {
		return nil, err
	}
	if most == 1 || step == 1 {
		// The texts are made outside, and so not of the rows that the offset skips.
		return s.read(ctx, r, fmt.Sprintf("select %s from (select %s%s order by %[2]s limit %[4]d offset %[5]d) t order by %[2]s", s.textList(), s.columnList(), from, most, step-1), args)
	}
	return s.read(ctx, r, fmt.Sprintf("select %s from (select %s, row_number() over (order by %[2]s) as dataflow_n%s) t where dataflow_n %% %d = 0 order by dataflow_n limit %d",
		s.textList(), s.columnList(), from, step, most), args)
}

// List returns keys of a range.
func (k *keys) List(ctx context.Context, p *keyrange.Plan, r keyrange.Range, most int) ([]keyrange.Key, error) {
	s, err := k.sql(ctx, p)
	if err != nil {
		return nil, err
	}
	from, args, err := s.from(r)
	if err != nil {
		return nil, err
	}
	return s.read(ctx, r, "select "+s.textList()+from+" limit "+strconv.Itoa(most), args)
}

// read reads keys of a range.
func (s *sqlKeys) read(ctx context.Context, r keyrange.Range, query string, args []any) ([]keyrange.Key, error) {
	var found []keyrange.Key
	err := s.each(ctx, s.queryer(ctx), query, args, func(key keyrange.Key) error {
		found = append(found, slices.Clone(key))
		return nil
	})
	return found, s.held(ctx, []keyrange.Key{r.After, r.Until}, err)
}

// each calls f for each key of a result. The next one takes its memory.
func (s *sqlKeys) each(ctx context.Context, q queryer, query string, args []any, f func(keyrange.Key) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	key, values := make(keyrange.Key, len(s.plan.Kinds)), make([]any, len(s.plan.Kinds))
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			if key[i], err = s.canonical(s.plan.Kinds[i], v); err != nil {
				_ = rows.Close() // a pool may have no other connection
				return s.of(i, s.spelled(ctx, q, i, err))
			}
		}
		if err := f(key); err != nil {
			return err
		}
	}
	return rows.Err()
}

// mostAsked is the number of keys that one statement looks for. SQLite takes 500 selects in a union.
const mostAsked = 200

// Find reports which keys the table has.
func (k *keys) Find(ctx context.Context, p *keyrange.Plan, given []keyrange.Key) ([]bool, error) {
	s, err := k.sql(ctx, p)
	if err != nil {
		return nil, err
	}
	there := make([]bool, len(given))
	for from := 0; from < len(given); from += mostAsked {
		var selects []string
		var args []any
		for i, key := range given[from:min(from+mostAsked, len(given))] {
			condition, more, err := s.equals(key)
			if err != nil {
				return nil, err
			}
			selects = append(selects, fmt.Sprintf("select %d as n%s where exists (select 1 from %s t where %s)", from+i, s.dual(), s.table(),
				strings.Join(append(s.conditions(), condition), " and ")))
			args = append(args, more...)
		}
		if err := s.numbers(ctx, strings.Join(selects, " union all "), args, there); err != nil {
			return nil, s.held(ctx, given[from:min(from+mostAsked, len(given))], err)
		}
	}
	return there, nil
}

// numbers sets what a result numbers.
func (s *sqlKeys) numbers(ctx context.Context, query string, args []any, there []bool) error {
	rows, err := s.queryer(ctx).QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return err
		}
		there[n] = true
	}
	return rows.Err()
}
