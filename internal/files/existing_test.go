//go:build unix

package files_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

// Nothing is appended to a compressed file that would not be read as a line of its own.
func TestAppender_ExistingGzip(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a line\n", 1000)
	for name, c := range map[string]struct{ text, err string }{
		"Whole":       {packed(t, "one\n") + packed(t, "two\n"), ""},
		"Filled":      {packed(t, "one\n") + "\x00\x00", ""},
		"Empty":       {packed(t, ""), ""},
		"NoLineBreak": {packed(t, "one\n") + packed(t, "two"), "its last line has no line break"},
		"Plain":       {long, "is not compressed by gzip, as its name says"},
		"Short":       {"1\n", "it is no whole gzip file"},
		"Cut":         {packed(t, long)[:40], "it is no whole gzip file"},
		"Trailing":    {packed(t, long) + "1\n", "it is no whole gzip file"},
		"Sum":         {packed(t, long)[:30] + "\x00" + packed(t, long)[31:], "it is no whole gzip file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &files.Appender{Path: filepath.Join(t.TempDir(), "out.gz")}
			require.NoError(t, os.WriteFile(a.Path, []byte(c.text), 0o600))
			_, err := a.Claim(t.Context(), "f", 1)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.True(t, dataflow.IsPermanent(err))
				return
			}
			require.NoError(t, err)
			require.NoError(t, a.Write(t.Context(), "f", 1, nil, []byte("last\n")))
			data, err := os.ReadFile(a.Path)
			require.NoError(t, err)
			require.Equal(t, c.text+packed(t, "last\n"), string(data))
		})
	}
}

const umaskDir = "DATAFLOW_UMASK_DIR"

// TestUmasked writes files in the process that TestWriteAtomic_Umask starts.
func TestUmasked(t *testing.T) {
	t.Parallel()
	dir := os.Getenv(umaskDir)
	if dir == "" {
		return
	}
	require.NoError(t, files.WriteAtomic(filepath.Join(dir, "whole"), []byte("1\n")))
	require.NoError(t, (&files.Appender{Path: filepath.Join(dir, "appended")}).Write(t.Context(), "f", 0, nil, []byte("1\n")))
}

// Nobody else can read the files of a process whose umask says so.
func TestWriteAtomic_Umask(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `umask 077 && exec "$0" -test.run='^TestUmasked$'`, os.Args[0])
	cmd.Env = append(os.Environ(), umaskDir+"="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, name := range []string{"whole", "appended", "appended" + files.CheckpointSuffix, "appended.lock"} {
		stat, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, "-rw-------", stat.Mode().String(), name)
	}
}
