package driverkit

import (
	"iter"

	"github.com/activedataflow/dataflow"
)

// DistinctLetters cuts dead letters into parts in which each record is named once, because a
// statement that stores one or counts it again may not meet it twice.
func DistinctLetters(letters []*dataflow.DeadLetterRecord) iter.Seq[[]*dataflow.DeadLetterRecord] {
	return func(yield func([]*dataflow.DeadLetterRecord) bool) {
		type record struct {
			flow     int64
			identity string
		}
		first, seen := 0, make(map[record]bool)
		for i, l := range letters {
			r := record{l.FlowID, l.Identity}
			if l.Identity != "" && seen[r] {
				if !yield(letters[first:i]) {
					return
				}
				first = i
				clear(seen)
			}
			seen[r] = true
		}
		if first < len(letters) {
			yield(letters[first:])
		}
	}
}
