package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/activedataflow/dataflow"
)

// agree returns what both sides can compute alike, or an error that names the columns.
func agree(ctx context.Context, source, target Side) (*Plan, error) {
	from, err := source.Columns(ctx)
	if err != nil {
		return nil, fmt.Errorf("source: table %s: %w", source.Table().Name, err)
	}
	to, err := target.Columns(ctx)
	if err != nil {
		return nil, fmt.Errorf("target: table %s: %w", target.Table().Name, err)
	}
	p := &Plan{}
	same := source.Table().SameSpelling || target.Table().SameSpelling
	var errs []error
	for i := range from {
		kind, err := common(from[i], to[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.Kinds = append(p.Kinds, kind)
		if why := loose(from[i], to[i]); why != "" && !same {
			errs = append(errs, fmt.Errorf("key column %q of the target: %s, so that its row may stand for a key of the source that is spelled otherwise: "+
				"if both sides write each key alike, set SameSpelling", to[i].Name, why))
		}
	}
	if errs != nil {
		return nil, dataflow.Permanent(errors.Join(errs...))
	}
	for _, h := range source.Hashes() {
		if slices.Contains(target.Hashes(), h) {
			p.Hash = h
			return p, nil
		}
	}
	return nil, dataflow.Permanent(errors.New("the two sides have no hash in common"))
}

// common returns the kind in which two columns are compared.
func common(a, b Column) (Kind, error) {
	switch {
	case a.Kind == b.Kind:
		return a.Kind, nil
	case a.Kind == Literal && storable(b.Kind):
		return b.Kind, nil
	case b.Kind == Literal && storable(a.Kind):
		return a.Kind, nil
	case a.Kind == UUID && b.Kind == Text, a.Kind == Text && b.Kind == UUID:
		return UUID, nil
	default:
		return "", fmt.Errorf("key column %q of the source is %s, and %q of the target is %s: they cannot be compared: "+
			"give both the same type, or name a view that casts one of them", a.Name, a.Type, b.Name, b.Type)
	}
}

// storable reports whether SQLite holds values of a kind in one way only.
func storable(k Kind) bool { return k == Integer || k == Text || k == UUID || k == Bytes }

// loose says why a key of one column may be another text in the other. The source's own way of
// comparing needs no care: a key that it takes for equal is there.
func loose(from, to Column) string {
	switch {
	case to.Loose != "":
		return to.Loose
	case from.Kind != UUID && to.Kind == UUID:
		return fmt.Sprintf("it is uuid, and the source's is %s", from.Type)
	default:
		return ""
	}
}
