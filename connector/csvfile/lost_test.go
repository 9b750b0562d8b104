package csvfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
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
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("a,b\n"+strings.Repeat("7777777777,8888888888\n", 60)), 0o600))
	var from csvfile.Cursor
	n := 0
	for item, err := range csvfile.OpenFS[pair](os.DirFS(dir), "a", nil).Read(t.Context(), dataflow.Request[csvfile.Cursor]{}) {
		require.NoError(t, err)
		if n++; n == 55 {
			from = item.Cursor
		}
	}
	require.Equal(t, 60, n)
	for _, r := range []dataflow.Request[csvfile.Cursor]{{}, {From: from, Resumed: true}} {
		failed := 0
		for call := 1; ; call++ {
			calls := call
			var last error
			for _, err := range csvfile.OpenFS[pair](lost{os.DirFS(dir), &calls}, "a", nil).Read(t.Context(), r) {
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

// exhausted fails to open one file, as a process does that has no file descriptors left.
type exhausted struct {
	fs.FS
	opens *int // until it fails
}

func (e exhausted) Open(name string) (fs.File, error) {
	if *e.opens--; *e.opens == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	return e.FS.Open(name)
}

// Whatever file cannot be opened for a moment, it does not count as one that cannot be read, and no copy that gzip has made is
// read beside its file.
func TestRead_Exhausted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "a,b\n1,2\n", "a.gz": compressed("a,b\n1,2\n"), "b": "a,b\n3,4\n", "c": "a,b\n5,6\n"} {
		put(t, filepath.Join(dir, name), text)
	}
	failed := 0
	for open := 1; ; open++ {
		opens := open
		src := csvfile.OpenFS[pair](exhausted{os.DirFS(dir), &opens}, "*", &csvfile.Options{SkipUnreadable: true, Partial: csvfile.Take})
		got := []string{}
		var last error
		for item, err := range src.Read(t.Context(), request(nil)) {
			require.NoError(t, last, "the read goes on")
			if last = err; err == nil {
				got = append(got, item.Value.A)
			}
		}
		require.Subset(t, []string{"1", "3", "5"}, got, "open %d", open)
		require.Len(t, slices.Compact(slices.Clone(got)), len(got), "open %d: read twice", open)
		if opens > 0 {
			require.NoError(t, last)
			require.Len(t, got, 3)
			break
		}
		if last != nil {
			failed++
			require.ErrorIs(t, last, syscall.EMFILE)
		}
	}
	require.GreaterOrEqual(t, failed, 5)
}
