package dataflow

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/stored"
)

// cursorList holds the cursors of a batch's rows, and its last resume point.
type cursorList interface {
	// text returns the cursor of row i as text.
	text(i int) string
	// lastJSON returns the last resume point as JSON.
	lastJSON() (json.RawMessage, error)
	// json returns the cursor of row i as JSON.
	json(i int) (json.RawMessage, error)
	// committed returns what tells a source that the last resume point is committed, nil if
	// it does not want to know.
	committed(source any) func(ctx context.Context) error
	truncate(n int)
	// add adds the cursors of another list of the same type, from one on.
	add(of cursorList, from int)
	reset()
}

// cursors is a list of cursors of type C.
type cursors[C any] struct {
	all  []C
	last C
}

func (c *cursors[C]) text(i int) string { return stored.CursorText(c.all[i]) }

func (c *cursors[C]) lastJSON() (json.RawMessage, error) { return json.Marshal(c.last) }

func (c *cursors[C]) json(i int) (json.RawMessage, error) { return json.Marshal(c.all[i]) }

func (c *cursors[C]) committed(source any) func(ctx context.Context) error {
	acker, ok := source.(Acker[C])
	if !ok {
		return nil
	}
	last := c.last
	return func(ctx context.Context) error { return acker.Committed(ctx, last) }
}

func (c *cursors[C]) truncate(n int) {
	clear(c.all[n:])
	c.all = c.all[:n]
}

func (c *cursors[C]) add(of cursorList, from int) {
	if other, ok := of.(*cursors[C]); ok {
		c.all = append(c.all, other.all[from:]...)
	}
}

func (c *cursors[C]) reset() {
	if batch.HasPointers(reflect.TypeFor[C]()) {
		clear(c.all)
	}
	*c = cursors[C]{all: c.all[:0]}
}
