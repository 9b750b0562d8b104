package rowmap

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
)

// ValidateKey returns a [dataflow.ConfigError] for each fault of an upsert's key. p
// may be nil.
func ValidateKey(key []string, p *Plan) error {
	if len(key) == 0 {
		return &dataflow.ConfigError{Field: "key", Reason: "it is empty: name the columns that identify a row"}
	}
	var errs []error
	for i, name := range key {
		var reason string
		switch {
		case slices.Contains(key[:i], name):
			reason = fmt.Sprintf("column %q is named twice", name)
		case p != nil && p.Index(name) < 0:
			reason = fmt.Sprintf("%q is not a column of %v: its columns are %s", name, p.Type, strings.Join(p.Names(), ", "))
		default:
			continue
		}
		errs = append(errs, &dataflow.ConfigError{Field: "key", Reason: reason})
	}
	return errors.Join(errs...)
}

// OnConflict returns the end of an insert statement that updates a row whose key
// already exists.
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
