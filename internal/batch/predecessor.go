package batch

import "context"

type predecessorKey struct{}

// WithPredecessor returns a context for the writing of a batch while the batch before it is
// committed. wait waits for that commit.
func WithPredecessor(ctx context.Context, wait func() error) context.Context {
	return context.WithValue(ctx, predecessorKey{}, wait)
}

// AwaitPredecessor waits until the commit of the batch before the one that ctx is for is
// answered. It does nothing if no commit is on its way.
func AwaitPredecessor(ctx context.Context) error {
	if wait, ok := ctx.Value(predecessorKey{}).(func() error); ok {
		return wait()
	}
	return nil
}
