//go:build linux

package files_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/files"
)

// A writer that waits for the lock of a hanging writer stops when its context ends.
func TestAppender_Locked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out")
	lock, err := os.Create(path + ".lock")
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	a := &files.Appender{Path: path}
	_, err = a.Claim(ctx, "f", 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, lock.Close())
	_, err = a.Claim(t.Context(), "f", 1)
	require.NoError(t, err)
}
