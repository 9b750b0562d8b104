package reconcile

import "fmt"

// Cursor is the place of a run: what it has compared, and what it has found.
type Cursor struct {
	// Pass is "compare" while all keys are compared, "remove" while the differences are read
	// again to be removed, and "done" after a run has reached its end. Then the next run
	// begins anew.
	Pass string `json:"pass"`
	// After is the last key that was compared.
	After Key `json:"after,omitempty"`
	// SourceRows and TargetRows were compared so far.
	SourceRows int64 `json:"source_rows"`
	TargetRows int64 `json:"target_rows"`
	// Gone is the number of keys that only the target has; Missing, that only the source has.
	Gone    int64 `json:"gone"`
	Missing int64 `json:"missing"`
	// Removed counts the keys that were handed to the target in the pass "remove".
	Removed int64 `json:"removed,omitempty"`
	// Differing are the ranges that differ and are still to be read.
	Differing []Range `json:"differing,omitempty"`
}

const (
	comparing = "compare"
	removing  = "remove"
	done      = "done"
)

// String says how far the run is.
func (c Cursor) String() string {
	switch c.Pass {
	case done:
		return fmt.Sprintf("done: %d rows of the source, %d of the target, %d gone, %d missing", c.SourceRows, c.TargetRows, c.Gone, c.Missing)
	case removing:
		return fmt.Sprintf("%d of %d removed", c.Removed, c.Gone)
	default:
		return fmt.Sprintf("%d rows of the source compared", c.SourceRows)
	}
}

// mostRanges bounds Differing, and so the cursor.
const mostRanges = 200

// differs adds a range that follows those that are there. Where there are too many, the last one
// grows, and so takes in what lies between.
func (c *Cursor) differs(r Range) {
	n := len(c.Differing)
	if n > 0 && (n >= mostRanges || equal(c.Differing[n-1].Until, r.After)) {
		c.Differing[n-1].Until = r.Until
		return
	}
	c.Differing = append(c.Differing, r)
}
