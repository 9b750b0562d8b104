package httpjson

import (
	"context"
	"fmt"
	"runtime/debug"
)

// ahead is a page that is requested while the one before it is used.
type ahead struct {
	at   Cursor
	done chan struct{} // closed when p and err are set
	p    *page
	err  error
	// panicked is what the code of the options panicked with; nil: it did not.
	panicked any
}

// fetchAhead begins to request a page. Nothing else of the read is fetched until it is done.
func (r *reading[T]) fetchAhead(ctx context.Context, next string, at Cursor) {
	a := &ahead{at: at.on(next), done: make(chan struct{})}
	r.ahead = a
	go func() {
		defer close(a.done)
		defer func() {
			if v := recover(); v != nil {
				a.panicked = fmt.Sprintf("%v\n%s", v, debug.Stack())
			}
		}()
		a.p, a.err = r.fetch(ctx, a.at)
	}()
}

// fetched returns the page of a cursor, which may have been requested already.
func (r *reading[T]) fetched(ctx context.Context, at Cursor) (*page, error) {
	a := r.ahead
	if a == nil {
		return r.fetch(ctx, at)
	}
	<-a.done // it ends with ctx
	if a.panicked != nil {
		panic(a.panicked) //nolint:forbidigo // a panic of the user's code, where the engine expects it
	}
	if r.ahead = nil; a.at.Page != at.Page || at.Skip != 0 {
		return r.fetch(ctx, at)
	}
	return a.p, a.err
}
