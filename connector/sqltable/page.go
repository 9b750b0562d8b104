package sqltable

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// reader reads the pages of one read.
type reader[T any] struct {
	*keyset[T]
	request dataflow.Request[Cursor]
	nulls   bool // it is to read the rows without a key, and keyset is not their source yet
	opened  bool
	keys    []string         // the key columns as they are selected
	list    []string         // the fields' columns as they are selected
	scratch T                // the record into which each row is scanned
	rows    []T              // of the last page
	limit   rowmap.PageLimit // how much the next page may hold
	columns []*sql.ColumnType
	spelled bool            // checkSpellingBefore was called
	longest int             // the bytes by which MySQL sorts, if the key has bytes and no text
	differ  map[string]bool // the kinds of pairs of keys that checkTies has found to differ
	texts   []string        // texts of times, as they are selected. MySQL: of dates that the calendar does not have
	textOf  []int           // the places of their columns among the fields
}

// fetchPage is page with the errors that pass marked.
func (r *reader[T]) fetchPage(ctx context.Context, from Cursor) (*rowmap.Page, error) {
	if r.nulls {
		of, err := r.ofNulls(ctx)
		if err != nil {
			return nil, passing(ctx, err)
		}
		r.keyset, r.nulls = of, false
	}
	page, err := r.page(ctx, from)
	if err == nil {
		err = r.checkTies(ctx, page)
	}
	return page, passing(ctx, err)
}

// page reads the page after a cursor, or the first page.
func (r *reader[T]) page(ctx context.Context, from Cursor) (*rowmap.Page, error) {
	if !r.opened {
		if err := r.open(ctx); err != nil {
			return nil, err
		}
		r.opened = true
	}
	args, err := r.with(from)
	if err != nil {
		return nil, err
	}
	if !r.spelled {
		r.spelled = true
		if err := r.checkSpellingBefore(ctx, from); err != nil {
			return nil, err
		}
	}
	if len(from) > 1 && r.query.Nulls == rowmap.NullsRefuse {
		if err := r.refuse(ctx, r.query.NullQuery(r.keys), args[:len(args)-1]); err != nil {
			return nil, err
		}
	}
	list := slices.Concat(r.list, r.keys, r.texts)
	if r.limit.Rows == 0 {
		r.limit = r.query.FirstPage()
	}
	query := r.query
	query.PageSize = r.limit.Rows
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := r.run(within, query.PageQuery(list, from != nil), args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	page, weight, err := r.collect(rows)
	if page != nil && page.More && r.limit.Rest(weight) > r.limit.Bytes {
		cancel() // before Close, for which MySQL's driver would read all remaining rows
	}
	r.limit.Learn(weight)
	return page, err
}

// open looks up the query's columns and checks them against T.
func (r *reader[T]) open(ctx context.Context) error {
	columns, err := r.lookUpKeys(ctx)
	if err != nil {
		return err
	}
	if err := r.fields.Match(namesOf(columns), r.query.Key); err != nil {
		return err
	}
	r.columns = columns
	names := r.query.Qualified(r.fields.Names())
	targets := scanTargets(r.fields.Pointers(&r.scratch), r.mysql != nil)
	if r.mysql != nil {
		r.list = names
		r.texts, r.textOf = zeroDates(columns, r.fields.Names(), names, targets)
	} else {
		r.list = storedList(columns, r.fields.Names(), names, r.fields.Pointers(&r.scratch))
		r.textOf = timePlaces(targets)
		for _, i := range r.textOf {
			r.texts = append(r.texts, textExpression(names[i]))
		}
	}
	if column := timestamp(columns, r.fields.Names(), scanTargets(r.fields.Pointers(&r.scratch), true)); column != "" && r.mysql != nil {
		if err := checkClock(ctx, r.db); err != nil {
			return fmt.Errorf("column %q is a timestamp: %w", column, err)
		}
	}
	if r.mysql.ofBytes() {
		if err := r.db.QueryRowContext(ctx, "select @@max_sort_length").Scan(&r.longest); err != nil {
			return err
		}
	}
	if column := textColumn(columns, r.fields.Names()); column != "" && r.mysql != nil {
		if err := checkTextCharset(ctx, r.db); err != nil {
			return fmt.Errorf("column %q is a text: %w", column, err)
		}
	}
	if r.query.Nulls != rowmap.NullsRefuse {
		return nil
	}
	return r.refuse(ctx, r.query.FirstNullQuery(r.keys), r.args)
}

// lookUpKeys adapts the query to its database and its request, and looks up the key
// columns. It returns all columns.
func (r *reader[T]) lookUpKeys(ctx context.Context) ([]*sql.ColumnType, error) {
	adapted, err := r.adapted(ctx)
	if err != nil {
		return nil, err
	}
	columns, err := adapted.describe(ctx)
	if err != nil {
		return nil, err
	}
	names := namesOf(columns)
	for _, name := range r.query.Key {
		if !slices.Contains(names, name) {
			return nil, r.noKey(name, names)
		}
	}
	if err := adapted.checkKinds(ctx, r.request.From, r.request.Until); err != nil {
		return nil, err
	}
	if r.keyset, err = adapted.upTo(r.request); err != nil {
		return nil, err
	}
	for i, name := range r.query.Qualified(r.query.Key) {
		if r.mysql != nil {
			r.keys = append(r.keys, r.mysql[i].read(name))
		} else {
			r.keys = append(r.keys, storedExpression(name))
		}
	}
	return columns, nil
}

// refuse returns an error if a row has null in its key.
func (r *reader[T]) refuse(ctx context.Context, query string, args []any) error {
	null, err := r.findNull(ctx, query, args)
	return cmp.Or(null, err)
}

// findNull returns the error of a row that a query finds, nil if it finds none.
func (r *reader[T]) findNull(ctx context.Context, query string, args []any) (null, err error) {
	rows, err := r.run(ctx, query, args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return nil, rows.Err()
	}
	key := make([]any, len(r.keys))
	if err := rows.Scan(pointers(key)...); err != nil {
		return nil, err
	}
	return r.nullError(key), nil
}

func (r *reader[T]) nullError(key []any) error {
	text := make([]*string, len(key))
	for i, v := range key {
		if v == nil {
			continue
		}
		literal, err := r.literal(i, v)
		if err != nil {
			return err
		}
		text[i] = &literal
	}
	return r.query.NullError(text)
}

// collect reads a page into memory, up to the limit. It also returns what the page
// weighs.
func (r *reader[T]) collect(rows *sql.Rows) (*rowmap.Page, rowmap.PageWeight, error) {
	var weight rowmap.PageWeight
	page := &rowmap.Page{}
	r.rows = make([]T, 0, len(r.rows))
	var zero T
	key := make([]any, len(r.keys))
	texts := make([]sql.NullString, len(r.texts))
	fields := r.targets()
	dest := slices.Concat(fields, pointers(key))
	held := make([]heldValue, len(texts))
	if r.mysql == nil {
		for n, i := range r.textOf {
			dest[i] = &held[n]
		}
	}
	keysOnly := slices.Concat(ignored(len(fields)), pointers(key))
	for i := range texts {
		dest, keysOnly = append(dest, nothing{}), append(keysOnly, &texts[i])
	}
	var same int64 // 1 if the key equals the previous one by the database's collation, 2 if it is too long to sort
	if r.mysql.collated() {
		dest, keysOnly = append(dest, nothing{}), append(keysOnly, &same)
	}
	for rows.Next() {
		// Scan the key separately: a row with a bad field must still be named by its key.
		if err := rows.Scan(keysOnly...); err != nil {
			return nil, weight, err
		}
		if err := r.addKey(page, key); err != nil {
			return nil, weight, err
		}
		if err := r.checkSpelling(page.Keys); err != nil {
			return nil, weight, err
		}
		switch last := page.Keys[len(page.Keys)-len(r.keys):]; {
		case same == 1:
			return nil, weight, r.equalError(page.Keys)
		case same == 2 || r.tooLong(last):
			return nil, weight, r.query.LongError(last)
		}
		if len(r.rows) == r.limit.Rows {
			page.More = true // the row after the page: only its key counts
			break
		}
		r.scratch = zero // no record shares memory with the previous one
		err := rows.Scan(dest...)
		if found := r.settleTimes(texts, held, fields); found != nil {
			err = found
		}
		if err != nil {
			if page.Bad == nil {
				page.Bad = make(map[int]error)
			}
			page.Bad[len(r.rows)] = err
			r.scratch = zero
		}
		if page.More = !weight.Add(r.limit, r.fields.Weigh(&r.scratch)); page.More {
			delete(page.Bad, len(r.rows))
			break // it is read again, as the first row of the next page
		}
		r.rows = append(r.rows, r.scratch)
	}
	r.scratch = zero // which would keep the last row in memory while the next page is read
	page.Rows = len(r.rows)
	return page, weight, rows.Err()
}

// targets returns the scan targets of the fields.
func (r *reader[T]) targets() []any {
	targets := scanTargets(r.fields.Pointers(&r.scratch), r.mysql != nil)
	if r.mysql == nil {
		return targets
	}
	typedTargets(r.columns, r.fields.Names(), targets, r.fields.Pointers(&r.scratch))
	for _, i := range r.textOf {
		target := targets[i].(timeTarget) //nolint:forcetypeassert // zeroDates has chosen only those
		target.zeroNull = r.zeroNull
		targets[i] = target
	}
	return targets
}

// settleTimes sets the times of a row that depend on their text, and returns the first error.
func (r *reader[T]) settleTimes(texts []sql.NullString, held []heldValue, fields []any) error {
	if r.mysql != nil {
		return r.zeroDate(texts, fields)
	}
	for n, i := range r.textOf {
		if err := sqliteTime(fields[i].(timeTarget), texts[n], &held[n]); err != nil { //nolint:forcetypeassert // timePlaces has chosen only those
			return fmt.Errorf("column %q: %w", r.fields.Columns[i].Name, err)
		}
	}
	return nil
}

// zeroDate returns the error of a row with a date that the calendar does not have. With
// Query.ZeroDateNull it makes it NULL, if the field can be.
func (r *reader[T]) zeroDate(zero []sql.NullString, fields []any) error {
	for n, text := range zero {
		if !text.Valid {
			continue
		}
		i := r.textOf[n]
		if r.zeroNull {
			if err := fields[i].(timeTarget).set(nil); err == nil { //nolint:forcetypeassert // see targets
				continue
			}
		}
		return zeroDateError(r.fields.Columns[i].Name, text.String)
	}
	return nil
}

func (r *reader[T]) addKey(page *rowmap.Page, key []any) error {
	if slices.Contains(key, nil) {
		return r.nullError(key)
	}
	for i, v := range key {
		literal, err := r.literal(i, v)
		if err != nil {
			return err
		}
		page.Keys = append(page.Keys, literal)
	}
	return nil
}

// pointers returns scan targets for values of any type.
func pointers(values []any) []any {
	p := make([]any, len(values))
	for i := range values {
		p[i] = &values[i]
	}
	return p
}

// ignored returns scan targets that accept anything and keep nothing.
func ignored(n int) []any {
	targets := make([]any, n)
	for i := range targets {
		targets[i] = nothing{}
	}
	return targets
}

// nothing is a scan target that keeps nothing.
type nothing struct{}

// Scan implements sql.Scanner.
func (nothing) Scan(any) error { return nil }
