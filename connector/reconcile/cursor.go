package reconcile

import (
	"fmt"
	"slices"

	"github.com/activedataflow/dataflow/internal/keyrange"
)

// Cursor is the place of a run: what it has compared, and what it has found.
type Cursor struct {
	// Pass is "compare" while all keys are compared, "remove" while the differences are read
	// again to be removed, and "done" after a run has reached its end. Then the next run
	// begins anew.
	Pass string `json:"pass"`
	// Sides is a hash of the settings and types of what is compared. With others, the comparison
	// begins anew.
	Sides string `json:"sides,omitempty"`
	// Pages is true if the two sides order keys differently, so that each key is looked up. Of
	// says which side's keys are compared now: "" the target's, then "source".
	Pages bool   `json:"pages,omitempty"`
	Of    string `json:"of,omitempty"`
	// After is the last key that was compared.
	After []string `json:"after,omitempty"`
	// SourceRows and TargetRows were compared so far.
	SourceRows int64 `json:"source_rows"`
	TargetRows int64 `json:"target_rows"`
	// Gone is the number of keys that only the target has; Missing, that only the source has.
	Gone    int64 `json:"gone"`
	Missing int64 `json:"missing"`
	// Removed counts the keys that were handed to the target in the pass "remove".
	Removed int64 `json:"removed,omitempty"`
	// Differing are the ranges that differ and are still to be read.
	Differing []stretch `json:"differing,omitempty"`
}

const (
	comparing = "compare"
	removing  = "remove"
	done      = "done"
	ofSource  = "source"
)

// stretch is a range that differs. If Source, only the source has keys there, in its order.
type stretch struct {
	keyrange.Range

	Source bool `json:"source,omitempty"`
}

// String says how far the run is.
func (c Cursor) String() string {
	switch c.Pass {
	case done:
		return fmt.Sprintf("done: %d rows of the source, %d of the target, %d gone, %d missing", c.SourceRows, c.TargetRows, c.Gone, c.Missing)
	case removing:
		return fmt.Sprintf("%d of %d removed", c.Removed, c.Gone)
	default:
		return fmt.Sprintf("%d rows of the source and %d of the target compared", c.SourceRows, c.TargetRows)
	}
}

// mostRanges bounds Differing, and so the cursor.
const mostRanges = 200

// differs adds a range that follows those that are there. Where there are too many, the last one
// grows, and so takes in what lies between.
func (c *Cursor) differs(s stretch) {
	n := len(c.Differing)
	if n > 0 {
		last := &c.Differing[n-1]
		if last.Source == s.Source && (n >= mostRanges || equal(last.Until, s.After)) {
			last.Until = s.Until
			return
		}
	}
	c.Differing = append(c.Differing, s)
}

// snapshot is a cursor that shares no memory with the next.
func (c *Cursor) snapshot() Cursor {
	at := *c
	at.Differing = slices.Clone(c.Differing)
	return at
}
