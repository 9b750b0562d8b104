package files_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

// Without a checkpoint, an appender continues after the newest existing file and
// leaves the earlier ones as they are.
func TestAppender_PartsWithoutCheckpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := &files.Appender{Path: filepath.Join(dir, "out.csv"), MaxBytes: 4}
	for _, name := range []string{"out-000002.csv", "out-000003.csv", "out-000004.csv"} { // the first was removed
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o600))
	}
	for _, name := range []string{"out-9.csv", "out-000009.txt", "other-000009.csv", "out-x.csv"} { // files of other writers
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("theirs"), 0o600))
	}
	_, err := a.Claim(t.Context(), "f", 1)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, a.Write(t.Context(), "f", 1, []byte(`{}`), []byte("more\n")))
	}
	for name, want := range map[string]string{
		"out-000002.csv": "out-000002.csv\n", "out-000003.csv": "out-000003.csv\n", "out-000004.csv": "out-000004.csv\n",
		"out-000005.csv": "more\n", "out-000006.csv": "more\n", "out-9.csv": "theirs",
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(data))
	}
	require.NoFileExists(t, filepath.Join(dir, "out-000001.csv"))
}

// An error names a file that was removed, and the run is not retried.
func TestAppender_Gone(t *testing.T) {
	t.Parallel()
	a := &files.Appender{Path: filepath.Join(t.TempDir(), "out")}
	_, err := a.Claim(t.Context(), "f", 1)
	require.NoError(t, err)
	require.NoError(t, a.Write(t.Context(), "f", 1, []byte(`{}`), []byte("line\n")))
	require.NoError(t, os.Remove(a.Path))
	_, err = a.Claim(t.Context(), "f", 2)
	require.ErrorContains(t, err, a.Path+" is gone, but 5 bytes of it were committed: restore it, or remove "+a.Path+".checkpoint")
	require.True(t, dataflow.IsPermanent(err))
	require.NoError(t, os.Remove(a.Path+files.CheckpointSuffix))
	_, err = a.Claim(t.Context(), "f", 3)
	require.NoError(t, err)
}

// A broad pattern finds none of the files that the sinks keep for themselves, and no hidden ones.
func TestPlace_ListOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := &files.Appender{Path: filepath.Join(dir, "out.jsonl")}
	_, err := a.Claim(t.Context(), "f", 1)
	require.NoError(t, err)
	require.NoError(t, a.Write(t.Context(), "f", 1, []byte(`{}`), []byte("1\n")))
	for _, name := range []string{".b.jsonl.123.tmp", ".hidden.jsonl", "c.jsonl.tmp"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("2\n"), 0o600))
	}
	want := []string{"c.jsonl.tmp", "out.jsonl"}
	names, err := files.FS(os.DirFS(dir), "*.jsonl*").List()
	require.NoError(t, err)
	require.Equal(t, want, names)
	names, err = files.Glob(filepath.Join(dir, "*.jsonl*")).List()
	require.NoError(t, err)
	for i := range want {
		want[i] = filepath.Join(dir, want[i])
	}
	require.Equal(t, want, names)
}
