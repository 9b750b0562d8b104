package rowmap

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
)

// ValidateKey returns what is wrong with the key of an upsert. p may be nil.
func ValidateKey(key []string, p *Plan) error {
	if len(key) == 0 {
		return &dataflow.ConfigError{Field: "key", Reason: "it is empty: name the columns by which a row is found again"}
	}
	var errs []error
	for i, name := range key {
		var reason string
		switch {
		case slices.Contains(key[:i], name):
			reason = fmt.Sprintf("column %q is there twice", name)
		case p != nil && p.Index(name) < 0:
			reason = fmt.Sprintf("%q is not a column of %v: its columns are %s", name, p.Type, strings.Join(p.Names(), ", "))
		default:
			continue
		}
		errs = append(errs, &dataflow.ConfigError{Field: "key", Reason: reason})
	}
	return errors.Join(errs...)
}

// OnConflict is the end of an insert statement that says what becomes of a row
// whose key is there already.
func OnConflict(columns, key []string) string {
	var set []string
	for _, name := range columns {
		if !slices.Contains(key, name) {
			set = append(set, Quote(name)+" = excluded."+Quote(name))
		}
	}
	s := "on conflict (" + QuoteAll(key, ", ") + ") do "
	if set == nil {
		return s + "nothing"
	}
	return s + "update set " + strings.Join(set, ", ")
}
