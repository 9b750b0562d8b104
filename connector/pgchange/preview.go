package pgchange

import (
	"context"
	"fmt"
)

// previewRows yields rows as the load would, without the log: nothing is made or written on the
// server.
func (r *reader[T]) previewRows(ctx context.Context) error {
	if r.s.options.OnlyChanges {
		return nil // there are none before the slot is there
	}
	for {
		t := r.pos.unloaded(r.tables)
		if t == nil {
			return nil
		}
		if r.pos.replaced(t) {
			r.pos.unload(t)
		}
		c, err := r.readRows(ctx, t)
		if err != nil {
			return fmt.Errorf("load table %s: %w", t.name, err)
		}
		if c == nil { // it was written anew meanwhile
			continue
		}
		if err := r.pend(ctx, c); err != nil {
			return err
		}
		if err := r.giveChunk(ctx); err != nil {
			return err
		}
	}
}
