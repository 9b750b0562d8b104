package rowmap

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
)

// MySQL is what a [Keyset] needs to build statements for MySQL and MariaDB.
type MySQL struct {
	// Casts are the SQL of the key columns' parameters; "?" in each stands for the
	// parameter itself. Nil means "?" for all.
	Casts []string
	// Collated is true if a key column is text. Different texts may then be equal
	// by the collation, and so have no order. A page has one more column at its
	// end: 1 for a row whose key equals that of the row before it, and 2 for one whose
	// key is longer than what the server sorts by.
	Collated bool
}

// numberMark encloses the number of a parameter, until [Keyset.Positional] replaces
// it with "?". No valid statement contains it.
const numberMark = "\x00"

func (m *MySQL) param(i, number int) string {
	mark := numberMark + strconv.Itoa(number) + numberMark
	if m.Casts == nil {
		return mark
	}
	return strings.Replace(m.Casts[i], "?", mark, 1)
}

// Backtick quotes a name in the form of MySQL.
func Backtick(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// BacktickAll quotes names and joins them.
func BacktickAll(names []string, separator string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = Backtick(name)
	}
	return strings.Join(quoted, separator)
}

// Positional returns a statement and its arguments for MySQL, whose parameters have
// no numbers: an argument is repeated as often as its parameter. It returns the
// statements of other databases unchanged.
func (k *Keyset) Positional(query string, args []any) (string, []any) {
	parts := strings.Split(query, numberMark)
	if k.MySQL == nil || len(parts) == 1 {
		return query, args
	}
	var own []any
	first := len(args) // earlier arguments belong to the user's SQL, which comes first in each statement
	for i := 1; i < len(parts); i += 2 {
		n, err := strconv.Atoi(parts[i])
		if err != nil || n > len(args) {
			return query, args // a zero byte in the user's SQL; the server rejects it
		}
		first = min(first, n-1)
		own = append(own, args[n-1])
		parts[i] = "?"
	}
	return strings.Join(parts, ""), append(args[:first:first], own...)
}

// compareEach compares the key with a cursor column by column. Unlike a comparison
// of rows, MySQL can use an index for this.
func (k *Keyset) compareEach(operator string) string {
	columns, strict := k.Qualified(k.Key), operator[:1]
	last := len(columns) - 1
	condition := columns[last] + " " + operator + " " + k.param(last)
	for i := last - 1; i >= 0; i-- {
		condition = "(" + columns[i] + " " + strict + " " + k.param(i) + " or (" + columns[i] + " = " + k.param(i) + " and " + condition + "))"
	}
	return condition
}

// collatedPageQuery is [Keyset.PageQuery], with a column that says whether the key
// of a row equals the one before.
func (k *Keyset) collatedPageQuery(list []string, resumed bool) string {
	page := "select q.*" + k.from()
	if resumed {
		page += k.after()
	}
	order := " order by " + k.columns()
	same := k.compared()
	for i, column := range same {
		same[i] = column + " = lag(" + column + ") over w"
	}
	tie := "coalesce(" + strings.Join(same, " and ") + ", false)"
	if k.MySQL != nil {
		long := make([]string, len(same))
		for i, column := range k.compared() {
			// MariaDB sorts by a quarter as many characters of utf8mb4, whatever they weigh.
			long[i] = "greatest(length(weight_string(" + column + ")) + " + strconv.Itoa(SortedBesides) + ", 4 * char_length(" + column + ")) > @@max_sort_length"
		}
		tie = "case when " + strings.Join(long, " or ") + " then 2 else " + tie + " end"
	}
	return "select " + strings.Join(list, ", ") + ", " + tie + " from (" +
		page + order + " limit " + strconv.Itoa(k.Limit()+1) + ") q window w as (" + order[1:] + ")" + order
}

// SortedBesides is how many of the bytes by which MySQL sorts are not of the value: bytes are sorted with their length.
const SortedBesides = 8

// LongError returns the error of a key that is longer than what MySQL and MariaDB sort by. Rows that differ only after
// that come in any order, and those that come after the end of their page would be lost. See max_sort_length in their manuals.
func (k *Keyset) LongError(key []string) error {
	return dataflow.Permanent(fmt.Errorf("the key (%s) has a value that is too long to sort, %s: the server sorts rows by the first bytes of it (max_sort_length), and rows that differ only after that would be lost: "+
		"add a greater max_sort_length to the DSN, such as max_sort_length=65536, or use a shorter key", strings.Join(k.Key, ", "), Clip(Text(key))))
}

// EqualError returns the error of two rows whose keys are equal by the database's
// collation.
func (k *Keyset) EqualError(before, key []string) error {
	return dataflow.Permanent(fmt.Errorf("the key (%s) is not unique: %[2]s and %[3]s are equal by the collation of its text: add a column to the key that distinguishes them, or use a binary collation in the query",
		strings.Join(k.Key, ", "), Text(before), Text(key)))
}
