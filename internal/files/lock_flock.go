//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package files

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/activedataflow/dataflow"
)

// How long another writer is waited for. It holds the lock while it writes a
// batch.
const (
	lockWait  = 5 * time.Second
	lockRetry = 20 * time.Millisecond
)

// locked runs f while no other writer of the file does so. The lock goes with its
// process, so that none is left behind by a crash.
func (a *Appender) locked(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	lock, err := os.OpenFile(a.Path+lockSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(a.lockedBy(ctx, lock, f), lock.Close())
}

func (a *Appender) lockedBy(ctx context.Context, lock *os.File, f func() error) error {
	enough := time.NewTimer(lockWait)
	defer enough.Stop()
	again := time.NewTicker(lockRetry)
	defer again.Stop()
	for {
		switch err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return f()
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-enough.C:
			return dataflow.Transient(errors.New("another process is writing it"))
		}
	}
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, syscall.EINVAL) { // a file system whose directories cannot be synced
		return nil
	}
	return err
}
