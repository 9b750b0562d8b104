package rowmap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/activedataflow/dataflow"
)

// Where is the query with a condition on its columns, which are named as by
// [Qualified]. The condition has args parameters. They follow the query's own,
// and come before those of the key.
func (k *Keyset) Where(condition string, args int) *Keyset {
	w := *k
	w.SQL = "select q.*" + k.from() + " where " + condition
	w.Args += args
	return &w
}

// UpTo is the query without the rows behind a cursor, whose values are parameters that
// follow the query's own, and come before those of the key.
func (k *Keyset) UpTo() *Keyset {
	return k.Where(k.compare("<="), len(k.Key))
}

// CheckPlaces returns what is wrong with the cursors of a request, and that it has
// parameters, if it has.
func CheckPlaces[C cursor](k *Keyset, r dataflow.Request[C]) error {
	var errs []error
	for _, p := range []struct {
		field  string
		given  bool
		cursor C
	}{{"From", r.Resumed, r.From}, {"Until", r.Bounded, r.Until}} {
		if p.given && len(p.cursor) != len(k.Key) {
			errs = append(errs, &dataflow.ConfigError{Field: p.field, Reason: fmt.Sprintf("%s has %s, and the key has %s (%s): give a value for each, as a list of texts",
				p.cursor.String(), count(len(p.cursor), "value"), count(len(k.Key), "column"), strings.Join(k.Key, ", "))})
		}
	}
	if r.Params != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "Params", Reason: "a Keyset takes none: use dataflow.Parametric to make one of parameters"})
	}
	return errors.Join(errs...)
}
