package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/keyrange"
)

// agree gives both sides a plan that they can compute alike. The error names the columns that
// cannot be compared.
func agree(ctx context.Context, source, target *side) error {
	from, hashes, err := source.of.Columns(ctx)
	if err != nil {
		return source.wrap(err)
	}
	to, others, err := target.of.Columns(ctx)
	if err != nil {
		return target.wrap(err)
	}
	same := source.of.Table().SameSpelling || target.of.Table().SameSpelling
	p := keyrange.Plan{Ordered: true}
	var own [2][]keyrange.Kind
	var errs []error
	if slices.ContainsFunc(from, func(c keyrange.Column) bool { return c.Hides }) {
		errs = append(errs, source.wrap(errors.New("row security is active for this role and may hide rows, whose copies would be deleted: "+
			"use a role with bypassrls, or the table's owner; if hidden rows are to count as gone, name a view that leaves them out")))
	}
	for i := range from {
		kind, err := common(&from[i], &to[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.Kinds = append(p.Kinds, kind)
		own[0], own[1] = append(own[0], cmp.Or(from[i].Own, from[i].Kind)), append(own[1], cmp.Or(to[i].Own, to[i].Kind))
		p.Ordered = p.Ordered && ordered(kind, &from[i], &to[i])
		if why := loose(&from[i], &to[i]); why != "" && !same {
			errs = append(errs, fmt.Errorf("key column %q of the target: %s, so that its row may stand for a key of the source that is spelled otherwise: "+
				"if both sides write each key alike, set SameSpelling", to[i].Name, why))
		}
	}
	sameTypes := slices.Equal(own[0], own[1])
	h := slices.IndexFunc(hashes, func(h keyrange.Hash) bool {
		return slices.Contains(others, h) && (h != keyrange.Postgres || sameTypes)
	})
	if h < 0 {
		errs = append(errs, errors.New("the two sides have no hash in common"))
	}
	if errs != nil {
		return dataflow.Permanent(errors.Join(errs...))
	}
	p.Hash = hashes[h]
	source.plan, target.plan = p, p
	source.plan.Own, target.plan.Own = own[0], own[1]
	return nil
}

// common returns the kind in which two columns are compared.
func common(a, b *keyrange.Column) (keyrange.Kind, error) {
	switch {
	case a.Kind == b.Kind:
		return a.Kind, nil
	case a.Kind == keyrange.Literal && storable(b.Kind):
		return b.Kind, nil
	case b.Kind == keyrange.Literal && storable(a.Kind):
		return a.Kind, nil
	case a.Kind == keyrange.UUID && b.Kind == keyrange.Text, a.Kind == keyrange.Text && b.Kind == keyrange.UUID:
		return keyrange.UUID, nil
	default:
		return "", fmt.Errorf("key column %q of the source is %s, and %q of the target is %s: they cannot be compared: "+
			"give both the same type, or name a view that casts one of them", a.Name, a.Type, b.Name, b.Type)
	}
}

// storable reports whether SQLite holds values of a kind in one way only.
func storable(k keyrange.Kind) bool {
	return k == keyrange.Integer || k == keyrange.Text || k == keyrange.UUID || k == keyrange.Bytes
}

// ordered reports whether both columns have the same values in the same order.
func ordered(kind keyrange.Kind, a, b *keyrange.Column) bool {
	switch kind {
	case keyrange.Literal: // as texts, 9 is greater than 10
		return a.Order != "" && a.Order == b.Order && a.Affinity == b.Affinity
	case keyrange.Text, keyrange.UUID:
		return a.Order != "" && a.Order == b.Order
	default:
		return true
	}
}

// converts reports whether a column of SQLite stores values of another column in a way in which they
// are not found there. A column of numbers finds those that became texts.
func converts(from, to string) bool {
	return to != "" && to != from && (from != "number" || to != "text")
}

// loose says why a key of one column may be another text in the other. The source's own way of
// comparing needs no care: a key that it takes for equal is there.
func loose(from, to *keyrange.Column) string {
	switch {
	case to.Loose != "":
		return to.Loose
	case from.Kind != keyrange.UUID && to.Kind == keyrange.UUID:
		return fmt.Sprintf("it is uuid, and the source's is %s", from.Type)
	case from.Kind == keyrange.Literal && to.Kind == keyrange.Literal && converts(from.Affinity, to.Affinity):
		return fmt.Sprintf("it is %s, and stores some values of %s as others, such as '01' as 1", to.Type, from.Type)
	case to.Digits < from.Digits:
		return fmt.Sprintf("it keeps %d digits after the point, and the source's more", to.Digits)
	default:
		return ""
	}
}
