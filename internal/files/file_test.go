package files_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

// A stream can be read like a file, from the last forgotten byte on.
func TestFile_Stream(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte('a' + random.IntN(26))
	}
	path := filepath.Join(t.TempDir(), "a")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	for name, place := range map[string]files.Place{
		"File":      files.Path(path),
		"Stream":    files.Reader(bytes.NewReader(data)),
		"HalfReads": files.Reader(iotest.HalfReader(bytes.NewReader(data))),
		"DataErr":   files.Reader(iotest.DataErrReader(bytes.NewReader(data))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(3, 4))
			f, err := place.Open(t.Context(), path)
			require.NoError(t, err)
			for kept := 0; kept < len(data); {
				from := kept + random.IntN(70_000)
				to := from + random.IntN(70_000)
				want := data[min(from, len(data)):min(to, len(data))]
				got, err := f.Bytes(int64(from), int64(to))
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got), "%d to %d", from, to)
				got, err = io.ReadAll(io.LimitReader(f.From(int64(from)), int64(to-from)))
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got), "%d to %d", from, to)
				kept += random.IntN(20_000)
				f.Forget(int64(kept))
			}
			size, err := f.Size()
			require.NoError(t, err)
			require.EqualValues(t, len(data), size)
			require.NoError(t, f.Close())
		})
	}
}

func TestFile_StreamBreaks(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	f, err := files.Reader(io.MultiReader(strings.NewReader("one\ntwo"), iotest.ErrReader(broken))).Open(t.Context(), "")
	require.NoError(t, err)
	lines := files.NewLines(f, 0, 100)
	text, err := lines.Next()
	require.NoError(t, err)
	require.Equal(t, "one", string(text))
	_, err = lines.Next()
	require.ErrorIs(t, err, broken, "an incomplete line is not returned")
}

func TestPlace_Nil(t *testing.T) {
	t.Parallel()
	for _, place := range []files.Place{files.Reader(nil), files.Func(nil)} {
		_, err := place.Open(t.Context(), "")
		require.ErrorContains(t, err, "open the stream: the reader or function is nil")
	}
}

// Appenders of one file take turns, and older ones get ErrFenced.
func TestAppender_TwoWriters(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out")
	errs := make(chan error, 4)
	for w := range int64(4) {
		go func() {
			a := &files.Appender{Path: path}
			_, err := a.Claim(context.WithoutCancel(t.Context()), "f", w)
			for i := 0; err == nil && i < 20; i++ {
				err = a.Write(context.WithoutCancel(t.Context()), "f", w, []byte(`{}`), []byte(strings.Repeat(string(rune('a'+w)), 10)+"\n"))
			}
			errs <- err
		}()
	}
	finished := 0
	for range 4 {
		if err := <-errs; err == nil {
			finished++
		} else {
			require.ErrorIs(t, err, dataflow.ErrFenced)
		}
	}
	require.GreaterOrEqual(t, finished, 1, "the newest claim is kept out by nobody")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	counts := map[string]int{}
	last := ""
	for line := range strings.Lines(string(data)) {
		require.Len(t, line, 11, "a torn line")
		require.GreaterOrEqual(t, line, last, "a line of an older claim behind one of a newer")
		counts[line]++
		last = line
	}
	require.Equal(t, 20, counts["dddddddddd\n"])
}

func TestWriteAtomic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, text := range []string{"one", "two"} {
		require.NoError(t, files.WriteAtomic(path, []byte(text)))
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(data))
	}
	require.Error(t, files.WriteAtomic(filepath.Join(dir, "none", "a"), nil))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "b"), 0o700))
	require.Error(t, files.WriteAtomic(filepath.Join(dir, "b"), []byte("x")), "the path is a directory")
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 2, "nothing is left behind")
}
