//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package files

import "context"

// locked runs f without a lock: this system has no lock that its process releases
// when it crashes. Only the fence keeps writers apart, and it is checked once a
// batch.
func (a *Appender) locked(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f()
}

// ignoreUnsupported returns nil: directories cannot be synced on this system.
func ignoreUnsupported(error) error { return nil }

// passes is false: the errors of this system are not known.
func passes(error) bool { return false }
