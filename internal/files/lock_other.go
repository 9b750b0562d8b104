//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package files

import "context"

// locked runs f. There is no lock here that would go with its process, so that
// only the fence keeps writers apart, which is looked at once a batch.
func (a *Appender) locked(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f()
}

// ignoreUnsupported ignores that a directory cannot be synced here.
func ignoreUnsupported(error) error { return nil }
