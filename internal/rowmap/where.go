package rowmap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/activedataflow/dataflow"
)

// Where returns the query with a condition on its columns, named as by [Qualified].
// The condition has args parameters. They follow the query's own and precede those
// of the key.
func (k *Keyset) Where(condition string, args int) *Keyset {
	w := *k
	w.SQL = "select q.*" + k.from() + " where " + condition
	w.Args += args
	w.Fenced = false // the fence is in w.SQL
	return &w
}

// UpTo returns the query without the rows after a cursor. The cursor's values are
// parameters that follow the query's own and precede those of the key.
func (k *Keyset) UpTo() *Keyset {
	return k.Where(k.compare("<="), len(k.Key))
}

// CheckPlaces returns a [dataflow.ConfigError] for each invalid cursor of a
// request, and if the request has parameters.
func CheckPlaces[C cursor](k *Keyset, r dataflow.Request[C]) error {
	var errs []error
	for _, p := range []struct {
		field  string
		given  bool
		cursor C
	}{{"From", r.Resumed, r.From}, {"Until", r.Bounded, r.Until}} {
		if n := len(place(p.cursor)); p.given && n != len(k.Key) {
			errs = append(errs, &dataflow.ConfigError{Field: p.field, Reason: fmt.Sprintf("%s has %s, but the key has %s (%s): give a list with a text for each column",
				p.cursor.String(), count(n, "value"), count(len(k.Key), "column"), strings.Join(k.Key, ", "))})
		}
	}
	if r.Params != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "Params", Reason: "a Keyset takes none: use dataflow.Parametric to build one from parameters"})
	}
	return errors.Join(errs...)
}
