package httpjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/activedataflow/dataflow"
)

// A cursor names a page and a place on it. Both may be wrong when a later read comes: records
// before them were removed, or the API does not know the page any more. The hashes of the last
// records that were read tell, and find the place again.

// place finds the place on a page where the read continues, and sets the cursor to it. It
// returns false if the last records that were read are not where the cursor says.
func (r *reading[T]) place(p *page, at *Cursor) bool {
	if r.s.opts.Snapshot || at.Last == ([3]int64{}) || at.Skip == 0 && !r.seeking {
		return true
	}
	if i := at.Skip - 1; !r.seeking && i < len(p.records) && r.hash(p.records[i]) == at.Last[0] {
		return true
	}
	for k, sum := range at.Last {
		for i, record := range slices.Backward(p.records) {
			if sum != 0 && r.hash(record) == sum {
				at.Skip = i + 1
				r.seeking, r.again = false, slices.Clone(at.Last[:k]) // these may follow
				return true
			}
		}
	}
	return false
}

func (r *reading[T]) hash(record json.RawMessage) int64 { return hash(record, r.s.key(record)) }

// seek looks for the last record in the rest of a list with NewestFirst, where later records
// have moved it to a later page, or in all of any other list.
func (r *reading[T]) seek(at Cursor) *Cursor {
	r.seeking = true
	next := at.on("")
	if r.s.opts.Order == NewestFirst {
		next.Page = at.Page
	}
	return r.anew(next)
}

// passed goes on after a page that does not have the last record that was read.
func (r *reading[T]) passed(at Cursor, p *page) (*Cursor, error) {
	known := slices.ContainsFunc(p.records, func(record json.RawMessage) bool { return r.known[r.hash(record)] })
	if p.next != "" && !known {
		next := at.on(p.next)
		return &next, nil
	}
	r.seeking = false
	if r.s.opts.Order == NewestFirst || r.s.opts.RestartExpired {
		return r.anew(Cursor{Since: at.Since, High: at.High, Known: at.Known}), nil
	}
	return nil, dataflow.Permanent(fmt.Errorf("the last records that were read are not in the list of %s any more: it does not only grow: set the flow's cursor, or set Options.Snapshot, or RestartExpired to read all of it again", bare(r.s.address)))
}

// restart begins again after the API has refused the page of a cursor, and looks for the last
// record that was read.
func (r *reading[T]) restart(at Cursor, refusal error) (*Cursor, error) {
	if r.restarted {
		return nil, refusal
	}
	r.restarted = true
	switch {
	case r.s.opts.Snapshot:
		return r.anew(Cursor{}), nil
	case at.Last != [3]int64{}:
		r.seeking = true
		return r.anew(at.on("")), nil
	case r.s.opts.RestartExpired:
		return r.anew(at.on("")), nil
	default:
		return nil, errors.Join(dataflow.Permanent(fmt.Errorf("page %s: the API does not know the page of the flow's cursor any more: set the flow's cursor (dataflow cursor set), or set Options.RestartExpired", at.pageName())), refusal)
	}
}
