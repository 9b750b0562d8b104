//go:build linux

package jsonl_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
)

// A named pipe among the files of a pattern is an error. To open it waits for a writer, for ever and without a word.
func TestOpenGlob_Pipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "b"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("1\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "c"), []byte("3\n"), 0o600))
	for _, src := range []dataflow.Source[int, jsonl.Cursor]{jsonl.OpenGlob[int](dir+"/*", nil), jsonl.OpenFS[int](os.DirFS(dir), "*", nil)} {
		_, _, err := read(t, src, nil)
		require.ErrorContains(t, err, "b: it is a named pipe, which waits for a writer: leave it out of the pattern, or read it by Open")
		require.True(t, dataflow.IsPermanent(err))
	}
	n := 0
	for _, err := range jsonl.OpenGlob[int](dir+"/*", &jsonl.Options{SkipUnreadable: true, Partial: jsonl.Take}).Read(t.Context(), dataflow.Request[jsonl.Cursor]{}) {
		if err == nil {
			n++
		}
	}
	require.Equal(t, 2, n)
}
