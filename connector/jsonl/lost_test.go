package jsonl_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
)

// lost is a directory of a server that fails once, at a call.
type lost struct {
	fs.FS
	calls *int // until it fails
}

func (l lost) Open(name string) (fs.File, error) {
	f, err := l.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return lostFile{f.(*os.File), l.calls}, nil
}

type lostFile struct {
	*os.File
	calls *int
}

var errLost = errors.New("stale file handle")

func (f lostFile) fails() bool {
	*f.calls--
	return *f.calls == 0
}

func (f lostFile) Stat() (fs.FileInfo, error) {
	if f.fails() {
		return nil, errLost
	}
	return f.File.Stat()
}

func (f lostFile) ReadAt(p []byte, at int64) (int, error) {
	if f.fails() {
		return 0, errLost
	}
	return f.File.ReadAt(p, at)
}

// A server that fails for a moment, at whatever call, ends no flow for good.
func TestRead_LostForAMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte(strings.Repeat("7777777777777777777\n", 60)), 0o600))
	var from jsonl.Cursor
	n := 0
	for item, err := range jsonl.OpenFS[int](os.DirFS(dir), "a", nil).Read(t.Context(), dataflow.Request[jsonl.Cursor]{}) {
		require.NoError(t, err)
		if n++; n == 55 {
			from = item.Cursor
		}
	}
	require.Equal(t, 60, n)
	for _, r := range []dataflow.Request[jsonl.Cursor]{{}, {From: from, Resumed: true}} {
		failed := 0
		for call := 1; ; call++ {
			calls := call
			var last error
			for _, err := range jsonl.OpenFS[int](lost{os.DirFS(dir), &calls}, "a", nil).Read(t.Context(), r) {
				last = err
			}
			if calls > 0 { // it has not failed
				break
			}
			if last != nil {
				failed++
				require.ErrorContains(t, last, errLost.Error(), "call %d", call)
				require.False(t, dataflow.IsPermanent(last), "call %d: %v", call, last)
			}
		}
		require.NotZero(t, failed)
	}
}
