package rowmap

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
)

// Keyset is a query that is read page by page in the order of its key. It builds
// statements in the SQL that the databases share.
type Keyset struct {
	// SQL is the user's query, without order and limit.
	SQL string
	// Args is the number of parameters in SQL. The key's parameters follow them.
	Args int
	// Key are the columns that order the rows.
	Key []string
	// PageSize is the greatest number of rows in a page. 0 means DefaultPageSize.
	PageSize int
	// PageBytes is the greatest weight of a page beyond its first row. 0 means
	// DefaultPageBytes.
	PageBytes int
	// Mark precedes the number of a parameter: "$" or "?".
	Mark string
	// Ties is true if different texts may be equal values of the key, in a database
	// other than MySQL. A page then has one more column, as by [MySQL.Collated].
	Ties bool
	// Casts are the casts of the key's columns and parameters, such as "::text", one
	// for each column. Nil means none.
	Casts []string
	// Fenced keeps the database from comparing and sorting in the query, as on another server.
	Fenced bool
	// Nulls says what becomes of rows with NULL in a key column.
	Nulls Nulls
	// MySQL, if not nil, selects the SQL of MySQL and MariaDB.
	MySQL *MySQL
}

// Validate returns a [dataflow.ConfigError] for each invalid setting.
func (k *Keyset) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &dataflow.ConfigError{Field: "Query." + field, Reason: fmt.Sprintf(format, args...)})
	}
	if k.sql() == "" {
		bad("SQL", "it is empty: give a select statement without \"order by\" and \"limit\"")
	}
	if len(k.Key) == 0 {
		bad("Key", "it is empty: name the columns that are unique together and only grow for new rows")
	}
	for i, name := range k.Key {
		switch {
		case name == "":
			bad("Key", "column %d has no name", i+1)
		case slices.Contains(k.Key[:i], name):
			bad("Key", "column %q is named twice", name)
		}
	}
	if k.Nulls > NullsFirst {
		bad("Nulls", "there is no such way: use Refuse, Skip or First")
	}
	if k.PageSize < 0 {
		bad("PageSize", "%d is negative: use 1 or more, or 0 for %d", k.PageSize, DefaultPageSize)
	}
	if k.PageBytes < 0 {
		bad("PageBytes", "%d is negative: use 1 or more, or 0 for %d", k.PageBytes, DefaultPageBytes)
	}
	return errors.Join(errs...)
}

// Limit returns the number of rows in a page.
func (k *Keyset) Limit() int {
	if k.PageSize > 0 {
		return k.PageSize
	}
	return DefaultPageSize
}

// sql returns the query without spaces and semicolons at its end.
func (k *Keyset) sql() string { return strings.TrimRight(strings.TrimSpace(k.SQL), "; \t\r\n") }

// from returns the query as a table. The line breaks keep a comment at its end from
// swallowing the parenthesis.
func (k *Keyset) from() string {
	if k.Nulls == NullsRefuse {
		return k.all()
	}
	return " from (select q.*" + k.all() + " where " + k.isKeyed() + ") q"
}

// all is from with the rows whose key is NULL.
func (k *Keyset) all() string {
	if k.Fenced {
		return " from (select q.* from (\n" + k.sql() + "\n) q offset 0) q"
	}
	return " from (\n" + k.sql() + "\n) q"
}

// after restricts the rows to those after a cursor.
func (k *Keyset) after() string { return " where " + k.compare(">") }

// compare compares the key with a cursor.
func (k *Keyset) compare(operator string) string {
	if k.MySQL != nil {
		return k.compareEach(operator)
	}
	marks := make([]string, len(k.Key))
	for i := range k.Key {
		marks[i] = k.param(i)
	}
	return "(" + k.columns() + ") " + operator + " (" + strings.Join(marks, ", ") + ")"
}

func (k *Keyset) param(i int) string {
	if k.MySQL != nil {
		return k.MySQL.param(i, k.Args+i+1)
	}
	return k.Mark + strconv.Itoa(k.Args+i+1) + k.cast(i)
}

func (k *Keyset) cast(i int) string {
	if k.Casts == nil {
		return ""
	}
	return k.Casts[i]
}

func (k *Keyset) columns() string { return strings.Join(k.compared(), ", ") }

// compared returns the key columns as they are compared and sorted.
func (k *Keyset) compared() []string {
	columns := k.Qualified(k.Key)
	for i := range columns {
		columns[i] += k.cast(i)
	}
	return columns
}

// Qualified is the function [Qualified] in the SQL of k.
func (k *Keyset) Qualified(columns []string) []string {
	q := make([]string, len(columns))
	for i, name := range columns {
		q[i] = "q." + k.quote(name)
	}
	return q
}

func (k *Keyset) quote(name string) string {
	if k.MySQL != nil {
		return Backtick(name)
	}
	return Quote(name)
}

// Qualified returns each column as the statements of a Keyset refer to it.
func Qualified(columns []string) []string {
	q := make([]string, len(columns))
	for i, name := range columns {
		q[i] = "q." + Quote(name)
	}
	return q
}

// DescribeQuery returns a statement without rows, for its columns.
func (k *Keyset) DescribeQuery() string { return "select q.*" + k.from() + " limit 0" }

// From returns the query as the table q of a statement.
func (k *Keyset) From() string { return k.from() }

// ProbeQuery compares the key with a cursor and sorts by it, but reads nothing. It
// fails if the types of the key cannot be compared or sorted.
func (k *Keyset) ProbeQuery() string {
	nulls := make([]string, len(k.Key))
	for i := range nulls {
		nulls[i] = "null" + k.cast(i)
	}
	return "select" + k.from() + " where (" + k.columns() + ") > (" + strings.Join(nulls, ", ") + ") order by " + k.columns() + " limit 0"
}

// CountQuery counts the rows, only those after a cursor if resumed. Its parameters
// are the query's and the cursor's.
func (k *Keyset) CountQuery(resumed bool) string {
	s := "select count(*)" + k.from()
	if resumed {
		s += k.after()
	}
	return s
}

// PageQuery selects the first page, or the one after a cursor. It asks for one row
// more than a page has. That row shows whether another page follows, and lets
// [Keyset.Check] see equal keys on both sides of a page's end.
func (k *Keyset) PageQuery(list []string, resumed bool) string {
	if k.Ties || k.MySQL != nil && k.MySQL.Collated {
		return k.collatedPageQuery(list, resumed)
	}
	s := "select " + strings.Join(list, ", ") + k.from()
	if resumed {
		s += k.after()
	}
	return s + " order by " + k.columns() + " limit " + strconv.Itoa(k.Limit()+1)
}

// OfPage makes the columns of a [Keyset.PageQuery] null in the row after the page.
func (k *Keyset) OfPage(columns []string) []string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = "case when row_number() over (order by " + k.columns() + ") <= " + strconv.Itoa(k.Limit()) + " then " + c + " end"
	}
	return list
}

// FirstNullQuery finds a row whose first key column is null. No page after a cursor
// would contain it. It uses the same index as the pages.
func (k *Keyset) FirstNullQuery(list []string) string {
	return "select " + strings.Join(list, ", ") + k.from() + " where " + k.Qualified(k.Key)[0] + " is null limit 1"
}

// AnyNullQuery finds a row of which any key column is null. It may read all rows.
func (k *Keyset) AnyNullQuery(list []string) string {
	return "select " + strings.Join(list, ", ") + k.from() + " where " + strings.Join(k.Qualified(k.Key), " is null or ") + " is null limit 1"
}

// SharedKeyQuery finds a key that two rows have. It may read all rows.
func (k *Keyset) SharedKeyQuery() string {
	columns := strings.Join(k.Qualified(k.Key), ", ")
	return "select 1" + k.from() + " group by " + columns + " having count(*) > 1 limit 1"
}

// NullQuery finds a row that is lost when comparing with the cursor: it equals the
// cursor up to a column that is null. Its parameters are the query's, and all of
// the cursor's except the last.
func (k *Keyset) NullQuery(list []string) string {
	columns := k.compared()
	condition := columns[len(columns)-1] + " is null"
	for i := len(columns) - 2; i >= 0; i-- {
		condition = columns[i] + " = " + k.param(i) + " and (" + condition + ")"
		if i > 0 {
			condition = columns[i] + " is null or (" + condition + ")"
		}
	}
	return "select " + strings.Join(list, ", ") + k.from() + " where " + condition + " limit 1"
}

// EqualQuery selects up to two of the rows that have a key.
func (k *Keyset) EqualQuery() string {
	equal := k.compared()
	for i := range equal {
		equal[i] += " = " + k.param(i)
	}
	return "select 1" + k.from() + " where " + strings.Join(equal, " and ") + " limit 2"
}

// LastQuery selects the last row, or, if before is true, the last of those whose first key
// column is less than the parameter that follows the query's.
func (k *Keyset) LastQuery(list []string, before bool) string {
	columns := k.compared()
	s := "select " + strings.Join(list, ", ") + k.from()
	if before {
		s += " where " + columns[0] + " < " + k.param(0)
	}
	return s + " order by " + strings.Join(columns, " desc, ") + " desc limit 1"
}

// Wrap adds the query to an error.
func (k *Keyset) Wrap(err error) error {
	return fmt.Errorf("query %q: %w", Clip(k.SQL), err)
}
