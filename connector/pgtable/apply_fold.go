package pgtable

import (
	"reflect"
	"slices"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// applyKind is what is done to the row of one key.
type applyKind uint8

const (
	applyUpsert applyKind = iota
	applyPatch            // update columns of a row that is there
	applyDelete
)

// applied is what changes leave of one key.
type applied[T any] struct {
	kind   applyKind
	row    T
	absent []string // columns that are left as they are
	change int      // the last change of the key
	may    bool     // a patch may find no row
}

// folded is what changes leave, by key.
type folded[T any] struct {
	truncate bool
	rows     []applied[T]   // in the order of their first change
	of       map[string]int // the rows by their key
}

// folder reduces changes to the last state of each key.
type folder[T any] struct {
	fields *rowmap.Plan
	keys   *rowmap.KeyTexts
	folded[T]
}

func (s *applySink[T]) folder() *folder[T] {
	return &folder[T]{fields: s.to.fields, keys: rowmap.NewKeyTexts(s.to.fields, s.to.key)}
}

// keyOf returns the key of a row as a text.
func (f *folder[T]) keyOf(row *T) string { return f.keys.Of(reflect.ValueOf(row).Elem()) }

// upserts returns the rows of changes that are all upserts of whole rows, nil if they are not.
// Of rows with the same key, the last one counts.
func (f *folder[T]) upserts(changes []Change[T]) []T {
	for i := range changes {
		c := &changes[i]
		switch {
		case c.Op != ChangeInsert && c.Op != ChangeUpdate, len(c.Absent) > 0:
			return nil
		case c.Op == ChangeUpdate && c.Old != nil && f.keyOf(c.Old) != f.keyOf(&c.New):
			return nil
		}
	}
	rows := make([]T, len(changes))
	for i := range changes {
		rows[i] = changes[i].New
	}
	return rows
}

// fold reduces changes. It returns false if they must be applied one by one: a change of a
// key that lacks columns needs the row that had the old key.
func (f *folder[T]) fold(changes []Change[T]) bool {
	f.folded = folded[T]{rows: make([]applied[T], 0, len(changes)), of: make(map[string]int, len(changes))}
	for i := range changes {
		if !f.add(&changes[i], i) {
			return false
		}
	}
	return true
}

func (f *folder[T]) add(c *Change[T], i int) bool {
	if c.Op == ChangeTruncate {
		f.truncate, f.rows = true, f.rows[:0]
		clear(f.of)
		return true
	}
	if c.Op == ChangeDelete {
		f.set(f.keyOf(c.Old), applied[T]{kind: applyDelete, row: *c.Old, change: i})
		return true
	}
	now := applied[T]{row: c.New, absent: c.Absent, change: i, may: c.Loading}
	key := f.keyOf(&c.New)
	from := key
	if c.Op == ChangeUpdate && c.Old != nil {
		from = f.keyOf(c.Old)
	}
	if c.Op == ChangeUpdate && len(c.Absent) > 0 {
		now.kind = applyPatch
		if at, ok := f.of[from]; ok {
			before := &f.rows[at]
			if before.kind == applyDelete {
				return false
			}
			now.kind, now.may = before.kind, now.may && before.may
			now.absent = f.carry(&now.row, before, c.Absent)
		}
		if from != key && now.kind == applyPatch {
			return false
		}
	}
	if from != key {
		f.set(from, applied[T]{kind: applyDelete, row: *c.Old, change: i})
	}
	f.set(key, now)
	return true
}

func (f *folder[T]) set(key string, now applied[T]) {
	if at, ok := f.of[key]; ok {
		f.rows[at] = now
		return
	}
	f.of[key] = len(f.rows)
	f.rows = append(f.rows, now)
}

// carry copies absent columns of a row from what is known of it, and returns those that stay
// absent.
func (f *folder[T]) carry(row *T, before *applied[T], absent []string) (still []string) {
	to, from := reflect.ValueOf(row).Elem(), reflect.ValueOf(&before.row).Elem()
	for _, name := range absent {
		at := f.fields.Index(name)
		switch {
		case at < 0:
		case slices.Contains(before.absent, name):
			still = append(still, name)
		default:
			c := &f.fields.Columns[at]
			c.In(to).Set(c.In(from))
		}
	}
	return still
}

// applyGroup is what one statement writes.
type applyGroup[T any] struct {
	kind   applyKind
	absent []string
	rows   []T
	of     []*applied[T]
}

// groups returns what is to be done, in order: deletes, patches, upserts.
func (f *folded[T]) groups() []*applyGroup[T] {
	var all []*applyGroup[T]
	for i := range f.rows {
		a := &f.rows[i]
		if len(a.absent) > 1 {
			a.absent = slices.Sorted(slices.Values(a.absent)) // changes share theirs
		}
		at := slices.IndexFunc(all, func(g *applyGroup[T]) bool { return g.kind == a.kind && slices.Equal(g.absent, a.absent) })
		if at < 0 {
			at, all = len(all), append(all, &applyGroup[T]{kind: a.kind, absent: a.absent})
		}
		g := all[at]
		g.rows, g.of = append(g.rows, a.row), append(g.of, a)
	}
	order := []applyKind{applyDelete, applyPatch, applyUpsert}
	slices.SortStableFunc(all, func(a, b *applyGroup[T]) int { return slices.Index(order, a.kind) - slices.Index(order, b.kind) })
	return all
}
