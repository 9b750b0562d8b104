package sqltable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// queryNotes are what the database says about a query. They are looked up once.
type queryNotes struct {
	mu    sync.Mutex
	known bool
	notes []string
}

// Notes returns what the database says about the query: that rows may be added before the
// cursor, that its key is not unique or holds NULL, and that each page sorts the table.
func (s *keyset[T]) Notes(ctx context.Context, _ dataflow.Request[Cursor]) ([]string, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	s.notes.mu.Lock()
	defer s.notes.mu.Unlock()
	if s.notes.known && s.query.Nulls == rowmap.NullsRefuse {
		return s.notes.notes, nil
	}
	adapted, err := s.adapted(ctx)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	nulls, err := adapted.countNulls(within)
	if err != nil && (within.Err() == nil || ctx.Err() != nil) {
		return nil, s.query.Wrap(passing(ctx, err))
	}
	if !s.notes.known {
		if s.notes.notes, err = adapted.lookUpNotes(ctx); err != nil {
			return nil, s.query.Wrap(passing(ctx, err))
		}
		s.notes.known = true
	}
	if note := s.query.NullsNote(nulls); note != "" {
		return append(slices.Clone(s.notes.notes), note), nil
	}
	return s.notes.notes, nil
}

func (s *keyset[T]) lookUpNotes(ctx context.Context) ([]string, error) {
	query := s.query.PageQuery(s.query.Qualified(s.fields.Names()), true)
	args := slices.Concat(s.args, make([]any, len(s.query.Key))) // a plan does not depend on the key
	find := s.sqliteNotes
	if s.mysql != nil {
		find = s.mysqlNotes
	}
	notes, sorts, err := find(ctx, query, args)
	if err != nil {
		return nil, err
	}
	keys, err := s.keyNotes(ctx)
	if err != nil {
		return nil, err
	}
	if notes = append(notes, keys...); !sorts {
		return notes, nil
	}
	var rows int64
	many, args := s.query.Positional(fmt.Sprintf("select count(*) from (select 1%s limit %d) n", s.query.From(), manyRows), s.args)
	if err := s.db.QueryRowContext(ctx, many, args...).Scan(&rows); err != nil {
		return nil, err
	}
	if rows >= manyRows {
		quote := rowmap.QuoteAll
		if s.mysql != nil {
			quote = rowmap.BacktickAll
		}
		notes = append(notes, fmt.Sprintf("each page sorts all rows, which are %d or more: create an index on the key (%s), in this order", manyRows, quote(s.query.Key, ", ")))
	}
	return notes, nil
}

// scanTimeout is how long a note may look through rows without an index.
const scanTimeout = 2 * time.Second

// keyNotes are about rows with NULL in their key, at which reads end, and about rows that share a
// key, of which a read may miss one. In MySQL, where a query goes on after its client has gone, they
// look for NULL no further than in an index on the key.
func (s *keyset[T]) keyNotes(ctx context.Context) (notes []string, err error) {
	within, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	r := &reader[T]{keyset: s}
	if _, err := r.lookUpKeys(within); err != nil {
		return nil, err
	}
	query := r.query.AnyNullQuery(r.keys)
	if r.mysql != nil {
		query = r.query.FirstNullQuery(r.keys)
	}
	null, err := r.findNull(within, query, r.args)
	if null != nil {
		notes = append(notes, null.Error())
	}
	shared := false
	if err == nil {
		shared, err = r.sharesKey(within)
	}
	if shared {
		notes = append(notes, fmt.Sprintf("rows share a key (%s), and one of them may never be read: add a column to the key that makes it unique, with a unique index", strings.Join(r.query.Key, ", ")))
	}
	if err != nil && within.Err() != nil && ctx.Err() == nil { // the rest is not known
		err = nil
	}
	return notes, err
}

// sharesKey reports whether two rows have the same key. MySQL and MariaDB are told themselves how long
// they may look: that is not long enough if they end with an error.
func (r *reader[T]) sharesKey(ctx context.Context) (bool, error) {
	query := "select count(*) from (" + r.query.SharedKeyQuery() + ") shared"
	if r.mysql != nil {
		var version string
		if err := r.db.QueryRowContext(ctx, "select version()").Scan(&version); err != nil {
			return false, err
		}
		if strings.Contains(version, "MariaDB") {
			query = fmt.Sprintf("set statement max_statement_time = %d for %s", int(scanTimeout.Seconds()), query)
		} else {
			query = fmt.Sprintf("select /*+ max_execution_time(%d) */%s", scanTimeout.Milliseconds(), strings.TrimPrefix(query, "select"))
		}
	}
	var shared int
	err := r.db.QueryRowContext(ctx, query, r.args...).Scan(&shared)
	if err != nil && slices.Contains([]int{1969, 3024}, errorNumber(err)) { // it has taken too long
		return false, nil
	}
	return shared > 0, err
}

// manyRows is the number of rows from which on sorting them for each page is worth a note.
const manyRows = 10_000

// sqliteNotes reads SQLite's plan of a page.
func (s *keyset[T]) sqliteNotes(ctx context.Context, query string, args []any) (notes []string, sorts bool, err error) {
	plan, err := s.explained(ctx, "explain query plan "+query, args, "detail")
	if err != nil {
		return nil, false, err
	}
	byRowid := 0
	for _, step := range plan {
		sorts = sorts || step[0] == "USE TEMP B-TREE FOR ORDER BY"
		if strings.HasSuffix(step[0], "USING INTEGER PRIMARY KEY (rowid>?)") {
			byRowid++
		}
	}
	if byRowid != 1 {
		return nil, sorts, nil
	}
	table, err := s.rowidTable(ctx, query, args)
	if err == nil && table != "" {
		notes = append(notes, fmt.Sprintf("SQLite may use a number of key column %q twice: if the row with the greatest number is deleted after it was read, the next row gets its number and is never read: declare the column of table %s as integer primary key autoincrement, or never delete the last row", s.query.Key[0], rowmap.Quote(table)))
	}
	return notes, sorts, err
}

// rowidTable returns the table whose row numbers are the key, or "" if it is not known or
// SQLite never uses its numbers twice. See sqlite.org/autoinc.html.
func (s *keyset[T]) rowidTable(ctx context.Context, query string, args []any) (string, error) {
	steps, err := s.explained(ctx, "explain "+query, args, "opcode", "p1", "p2", "p3")
	if err != nil {
		return "", err
	}
	sought := slices.IndexFunc(steps, func(step []string) bool { return step[0] == "SeekGT" })
	if sought < 0 {
		return "", nil
	}
	opened := slices.IndexFunc(steps, func(step []string) bool { return step[0] == "OpenRead" && step[1] == steps[sought][1] })
	if opened < 0 {
		return "", nil
	}
	page, database := steps[opened][2], steps[opened][3]
	var schema, table, definition string
	if err := s.db.QueryRowContext(ctx, "select name from pragma_database_list where seq = cast(? as integer)", database).Scan(&schema); err != nil {
		return "", err
	}
	err = s.db.QueryRowContext(ctx, "select name, coalesce(sql, '') from "+rowmap.Quote(schema)+".sqlite_schema where type = 'table' and rootpage = cast(? as integer)", page).Scan(&table, &definition)
	if errors.Is(err, sql.ErrNoRows) || autoincrement.MatchString(definition) {
		return "", nil // it is an index
	}
	return table, err
}

var autoincrement = regexp.MustCompile(`(?i)\bautoincrement\b`)

// mysqlNotes reads MySQL's plan of a page.
func (s *keyset[T]) mysqlNotes(ctx context.Context, query string, args []any) (notes []string, sorts bool, err error) {
	plan, err := s.explained(ctx, "explain "+query, args, "Extra")
	if err != nil {
		return nil, false, err
	}
	for _, step := range plan {
		sorts = sorts || strings.Contains(step[0], "Using filesort")
	}
	if !excludes.MatchString(s.query.SQL) {
		notes = append(notes, fmt.Sprintf("a row that is committed after one with a greater %s was read is never read: exclude from the query the rows that are newer than the longest transaction, as with \"where updated_at < now(6) - interval 1 minute\"", rowmap.Backtick(s.query.Key[0])))
	}
	return notes, sorts, nil
}

// excludes matches a query that may exclude new rows: it has a length of time.
var excludes = regexp.MustCompile(`(?i)\b(interval|subdate|subtime|timestampadd)\b`)

// explained returns columns of a plan as texts.
func (s *keyset[T]) explained(ctx context.Context, query string, args []any, columns ...string) ([][]string, error) {
	rows, err := s.run(ctx, query, args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]sql.NullString, len(names))
	targets := make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	var list [][]string
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		step := make([]string, len(columns))
		for i, column := range columns {
			if n := slices.Index(names, column); n >= 0 {
				step[i] = values[n].String
			}
		}
		list = append(list, step)
	}
	return list, rows.Err()
}
