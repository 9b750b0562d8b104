package dataflow

import (
	"reflect"

	"github.com/activedataflow/dataflow/internal/batch"
)

// records is a slice of records, of a type that only a flow's code knows. Its methods use
// reflection: they are for whole batches, and for single records only where these are rare.
type records struct {
	slice reflect.Value // can be set
}

// recordsIn returns the slice at s.
func recordsIn[T any](s *[]T) records { return records{reflect.ValueOf(s).Elem()} }

// at returns a pointer to the slice.
func (r records) at() any { return r.slice.Addr().Interface() }

func (r records) len() int { return r.slice.Len() }

// grow adds a zero record, and returns a pointer to it.
func (r records) grow() any {
	n := r.len()
	r.slice.Grow(1)
	r.slice.SetLen(n + 1)
	return r.pointer(n)
}

// record returns a copy of record i.
func (r records) record(i int) any { return r.slice.Index(i).Interface() }

// pointer returns a pointer to record i.
func (r records) pointer(i int) any { return r.slice.Index(i).Addr().Interface() }

// move copies record i to a place.
func (r records) move(i, to int) { r.slice.Index(to).Set(r.slice.Index(i)) }

// truncate drops all records from n on, and keeps nothing of them alive.
func (r records) truncate(n int) {
	r.slice.Slice(n, r.slice.Len()).Clear()
	r.slice.SetLen(n)
}

// add adds the records of another slice of the same type, from one on.
func (r records) add(of records, from int) {
	r.slice.Set(reflect.AppendSlice(r.slice, of.slice.Slice(from, of.slice.Len())))
}

// release drops all records and keeps the memory.
func (r records) release() {
	if batch.HasPointers(r.slice.Type().Elem()) {
		r.slice.Clear()
	}
	r.slice.SetLen(0)
}
