package httpjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// A cursor names a page and a place on it. Both may be wrong when a later read comes: records
// before them were removed, or the API does not know the page any more. The hashes of the last
// records that were read tell, and find the place again.

// errInserted is the error of a list in which records that were not read are before those that
// were.
var errInserted = errors.New("records have come before the last one that was read")

// place finds the place on a page where the read continues, and sets the cursor to it. It
// returns false if the last records that were read are not where the cursor says.
func (r *reading[T]) place(p *page, at *Cursor) (bool, error) {
	if sendsChanges(r.s.opts.Paging) {
		if at.Sum != p.sum { // what has changed since stands elsewhere, or has other contents
			at.Skip = 0
		}
		return true, nil
	}
	if r.s.opts.Snapshot || at.Last == ([3]int64{}) || at.Skip == 0 && !r.seeking {
		return true, nil
	}
	if i := at.Skip - 1; !r.seeking && i < len(p.records) && r.hash(p.records[i]) == at.Last[0] &&
		(i == 0 || at.Last[1] == 0 || r.hash(p.records[i-1]) == at.Last[1]) {
		return true, nil
	}
	sums := make([]int64, len(p.records))
	for i, record := range p.records {
		sums[i] = r.hash(record)
	}
	for k, sum := range at.Last {
		for i := range slices.Backward(sums) {
			if sum == 0 || sums[i] != sum || !fits(sums, i, at.Last, k) {
				continue
			}
			return r.placed(at, i+1, k)
		}
	}
	r.passing += int64(len(p.records))
	return false, nil
}

// placed sets the cursor after the kth of the last records that were read, which is now the
// nth of its page. It returns false if the record may have moved to a later place.
func (r *reading[T]) placed(at *Cursor, n, k int) (bool, error) {
	read := at.Read - int64(at.Skip-n)
	switch {
	case r.seeking:
		read = r.passing + int64(n)
		if at.Read > 0 && read > at.Read-int64(k) && r.s.opts.resumes() {
			return false, errInserted
		}
	case n > at.Skip-k && r.s.opts.resumes():
		return false, nil
	}
	if at.Read > 0 {
		at.Read = max(read, 1)
	}
	at.Skip, r.seeking, r.again = n, false, slices.Clone(at.Last[:k]) // these may follow
	return true, nil
}

// fits reports whether record i of a page, which is the kth of the last records that were read,
// still stands among these as it did: none that was read later is before it, and nothing has
// come between it and the one before. Otherwise records that were not read are before it.
func fits(page []int64, i int, last [3]int64, k int) bool {
	for _, later := range last[:k] {
		if later != last[k] && slices.Contains(page[:i], later) {
			return false
		}
	}
	return i == 0 || k+1 == len(last) || last[k+1] == 0 || page[i-1] == last[k+1] || !slices.Contains(page, last[k+1])
}

func (r *reading[T]) hash(record json.RawMessage) int64 { return r.s.hash(record, r.s.key(record)) }

// hash is the hash by which a record is found again. Where a record comes again once it was changed, it has the text: the
// changed one may stand at the same place, and was not read.
func (s *source[T]) hash(record json.RawMessage, key string) int64 {
	if continues(s.opts.Paging) {
		key = ""
	}
	return hash(record, key)
}

// mark is the hash by which a later run knows a record. With NewestFirst, Since and Key it has the time too: a record
// that was changed is not the one that is known.
func (r *reading[T]) mark(record json.RawMessage) int64 {
	key := r.s.key(record)
	if key == "" || r.s.opts.Since == nil || r.s.opts.Order != NewestFirst {
		return hash(record, key)
	}
	at, _ := httpcall.FindValid(record, r.s.opts.Since.Path) // or it has none
	return hash(record, key+"\x00"+string(at))
}

// isKnown reports whether an earlier run has read a record. A cursor of an earlier version knows it by its
// key alone; it was changed since then if it has a later time than all that were read.
func (r *reading[T]) isKnown(record json.RawMessage) bool {
	if r.known[r.mark(record)] {
		return true
	}
	if !r.known[r.hash(record)] { // also without Since, where the two are the same
		return false
	}
	t, err := r.s.opts.Since.of(record)
	return err != nil || r.until.IsZero() || !t.After(r.until)
}

// astray goes on after a page that does not have the last record where the cursor says. Where the last page names the
// place that a later run begins with, a page has what comes after its name: a record that has left it was changed and
// comes again, or was removed. So all of such a page is read again, which the log and ReadAgain tell, and any other list is searched.
func (r *reading[T]) astray(at Cursor) *Cursor {
	if !continues(r.s.opts.Paging) {
		return r.seek(at)
	}
	r.twice, r.twiceOn = at.Skip, at.Page
	for _, gone := range at.Last {
		if gone != 0 {
			r.twice--
		}
	}
	r.s.opts.Logger.Warn("dataflow: httpjson: a record that was read has left its page, because it was changed or removed; all of the page is read again", slog.String("page", at.pageName()), slog.Int("records", at.Skip), slog.String("url", bare(r.s.address)))
	at.Skip = 0
	return r.anew(at)
}

// seek looks for the last record in the rest of a list with NewestFirst, where later records
// have moved it to a later page, or in all of any other list.
func (r *reading[T]) seek(at Cursor) *Cursor {
	start := at.on("")
	if start.First = ""; r.s.opts.Order == NewestFirst {
		start.Page = at.Page
	}
	return r.seekFrom(start)
}

// seekFrom looks for the last record from a page on.
func (r *reading[T]) seekFrom(start Cursor) *Cursor {
	r.seeking, r.passing, r.sought, r.start = true, 0, 0, start
	return r.anew(start)
}

// passed goes on after a page that does not have the last record that was read.
func (r *reading[T]) passed(at Cursor, p *page) (*Cursor, error) {
	known := slices.ContainsFunc(p.records, r.isKnown)
	if p.next != "" && !known {
		next := at.on(p.next)
		return &next, nil
	}
	if k := r.sought + 1; r.s.opts.streams() && k < len(at.Last) && at.Last[k] != 0 { // it keeps no page to look for them at once
		r.sought, r.passing = k, 0
		return r.anew(r.start), nil
	}
	r.seeking = false
	if r.s.opts.Order == NewestFirst || r.s.opts.RestartExpired {
		return r.anew(Cursor{Since: at.Since, High: at.High, Prior: at.Prior, Began: at.Began, Known: at.Known}), nil
	}
	return nil, dataflow.Permanent(fmt.Errorf("the last records that were read are not in the list of %s any more: it does not only grow: set the flow's cursor, or set Options.Snapshot, or RestartExpired to read all of it again", bare(r.s.address)))
}

// inserted goes on with a list in which records have come before the last one that was read.
func (r *reading[T]) inserted(at Cursor) (*Cursor, error) {
	if r.seeking = false; r.s.opts.RestartExpired {
		return r.anew(Cursor{}), nil
	}
	return nil, dataflow.Permanent(fmt.Errorf("page %s of %s: %w, so that the list does not grow at its end: set Options.Order to NewestFirst if it is sorted so, or set Options.Snapshot, or RestartExpired to read all of it again", at.pageName(), bare(r.s.address), errInserted))
}

// restart begins again after the API has refused the page of a cursor, and looks for the last
// record that was read. It does so once, and once more after each new record, unless it reads all of the list anew.
func (r *reading[T]) restart(at Cursor, refusal error) (*Cursor, error) {
	switch {
	case r.restarted && r.s.opts.readsAnew(): // another attempt may get further
		return nil, fmt.Errorf("page %s: the API has refused a page twice in one read of the list: %w", at.pageName(), errors.New(refusal.Error()))
	case r.restarted:
		return nil, refusal
	}
	r.restarted = true
	switch {
	case r.s.opts.Snapshot:
		return r.anew(Cursor{}), nil
	case sendsChanges(r.s.opts.Paging) && r.s.opts.RestartExpired: // the list has no order, and records before the last one may have changed
		r.s.opts.Logger.Warn("dataflow: httpjson: the API does not know the place of the changes any more, or refuses it; all of the list is read again", slog.String("error", refusal.Error()), slog.String("url", bare(r.s.address)))
		return r.anew(Cursor{}), nil
	case at.Last != [3]int64{} && !sendsChanges(r.s.opts.Paging):
		return r.seekFrom(at.on("")), nil
	case r.s.opts.RestartExpired:
		return r.anew(at.on("")), nil
	default:
		return nil, errors.Join(dataflow.Permanent(fmt.Errorf("page %s: the API does not know the page of the flow's cursor any more: set the flow's cursor (dataflow cursor set), or set Options.RestartExpired", at.pageName())), refusal)
	}
}
