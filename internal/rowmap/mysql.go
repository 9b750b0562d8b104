package rowmap

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
)

// MySQL is what the statements of a [Keyset] need to know in MySQL and MariaDB.
type MySQL struct {
	// Casts are the parameters of the key's columns, in each of which "?" stands for
	// the parameter itself. Nil: all are "?".
	Casts []string
	// Collated is true if a key column is text. Rows whose keys are other texts may
	// then be equal, and so without an order. A page has one column more at its end,
	// which is 1 for a row whose key is equal to that of the row before it.
	Collated bool
}

// numberMark encloses the number of a parameter, until [Keyset.Positional] makes a plain
// "?" of it. No statement can hold it.
const numberMark = "\x00"

func (m *MySQL) param(i, number int) string {
	mark := numberMark + strconv.Itoa(number) + numberMark
	if m.Casts == nil {
		return mark
	}
	return strings.Replace(m.Casts[i], "?", mark, 1)
}

// Backtick quotes a name as MySQL does.
func Backtick(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// BacktickAll quotes names and joins them.
func BacktickAll(names []string, separator string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = Backtick(name)
	}
	return strings.Join(quoted, separator)
}

// Positional returns a statement and its arguments as MySQL wants them, whose parameters
// have no numbers: an argument is there as often as its parameter. It leaves those of
// other databases alone.
func (k *Keyset) Positional(query string, args []any) (string, []any) {
	parts := strings.Split(query, numberMark)
	if k.MySQL == nil || len(parts) == 1 {
		return query, args
	}
	var own []any
	first := len(args) // those before are of the user's SQL, which comes first in each statement
	for i := 1; i < len(parts); i += 2 {
		n, err := strconv.Atoi(parts[i])
		if err != nil || n > len(args) {
			return query, args // the user's own zero byte, which the server refuses
		}
		first = min(first, n-1)
		own = append(own, args[n-1])
		parts[i] = "?"
	}
	return strings.Join(parts, ""), append(args[:first:first], own...)
}

// compareEach compares the key with a cursor column by column, which MySQL can look up in
// an index, unlike a comparison of rows.
func (k *Keyset) compareEach(operator string) string {
	columns, strict := k.Qualified(k.Key), operator[:1]
	last := len(columns) - 1
	condition := columns[last] + " " + operator + " " + k.param(last)
	for i := last - 1; i >= 0; i-- {
		condition = "(" + columns[i] + " " + strict + " " + k.param(i) + " or (" + columns[i] + " = " + k.param(i) + " and " + condition + "))"
	}
	return condition
}

// collatedPageQuery is [Keyset.PageQuery], and asks of each row whether its key is equal
// to the one before.
func (k *Keyset) collatedPageQuery(list []string, resumed bool) string {
	page := "select q.*" + k.from()
	if resumed {
		page += k.after()
	}
	order := " order by " + k.columns()
	same := k.Qualified(k.Key)
	for i, column := range same {
		same[i] = column + " = lag(" + column + ") over w"
	}
	return "select " + strings.Join(list, ", ") + ", coalesce(" + strings.Join(same, " and ") + ", 0) from (" +
		page + order + " limit " + strconv.Itoa(k.Limit()+1) + ") q window w as (" + order[1:] + ")" + order
}

// EqualError is the error of two rows whose keys the database takes for equal.
func (k *Keyset) EqualError(before, key []string) error {
	return dataflow.Permanent(fmt.Errorf("the key (%s) is not unique: the collation of its text takes %s and %s for equal: add a column to the key that tells them apart, or give it a binary collation in the query",
		strings.Join(k.Key, ", "), Text(before), Text(key)))
}
