//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/activedataflow/dataflow"
)

// How long, and how often, a writer tries to get the lock. Another writer holds it
// while it writes one batch.
const (
	lockWait  = 5 * time.Second
	lockRetry = 20 * time.Millisecond
)

// locked runs f while holding the file's lock. The operating system releases the
// lock when its process ends, so a crash leaves none.
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
			return dataflow.Transient(fmt.Errorf("another process has held the lock %s for %s", lock.Name(), lockWait))
		}
	}
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, syscall.EINVAL) { // the file system cannot sync directories
		return nil
	}
	return err
}

// passes reports whether an error of the file system should pass by itself and is about no file of its own: a disk is
// full or mounted anew, a server of files is away, or the process has no file descriptors left.
func passes(err error) bool {
	var code syscall.Errno
	if !errors.As(err, &code) {
		return false
	}
	switch code {
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.EINTR,
		syscall.ESTALE, syscall.ENOTCONN, syscall.ETIMEDOUT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENETUNREACH:
		return true
	default:
		return false
	}
}
