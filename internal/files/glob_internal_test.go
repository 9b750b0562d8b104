package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// unlisted is a file system that cannot list one of its directories, such as one of a server that
// has lost it for a moment.
type unlisted struct {
	fs.FS
	dir string
	err error
}

func (s unlisted) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == s.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: s.err}
	}
	return fs.ReadDir(s.FS, name)
}

// A directory that cannot be listed ends the list: the cursor would pass its files for good.
func TestPlace_ListBreaks(t *testing.T) {
	t.Parallel()
	tree := struct{ fs.FS }{fstest.MapFS{"in/a/x": {}, "in/b/x": {}, "in/c": {}}} // without MapFS.Glob
	broken := errors.New("stale file handle")
	for _, c := range []struct {
		pattern, dir string
		err          error
		want         []string
		text         string
	}{
		{pattern: "in/*/x", want: []string{"in/a/x", "in/b/x"}},
		{pattern: "in/*/x", dir: "in/a", err: broken, text: "list in/*/x: readdir in/a: stale file handle"},
		{pattern: "in/*/x", dir: "in", err: broken, text: "list in/*/x: readdir in: stale file handle"},
		{pattern: "in/*/x", dir: "in/a", err: fs.ErrNotExist, want: []string{"in/b/x"}},
		{pattern: "in/*/x", dir: "in/a", err: fs.ErrPermission, want: []string{"in/b/x"}},
		{pattern: "in/a/*", dir: "in/a", err: fs.ErrPermission, text: "list in/a/*: readdir in/a: permission denied"},
		{pattern: "out/*"},
		{pattern: "out/[", text: "list out/[: syntax error in pattern"},
		{pattern: "out"},
		{pattern: "in/c", want: []string{"in/c"}},
	} {
		names, err := FS(unlisted{tree, c.dir, c.err}, c.pattern).List()
		if c.text != "" {
			require.ErrorContains(t, err, c.text)
			continue
		}
		require.NoError(t, err, c.pattern)
		require.Equal(t, c.want, append([]string(nil), names...), c.pattern)
	}
}

// The list is that of filepath.Glob, without hidden files.
func TestPlace_ListAsGlob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hidden := regexp.MustCompile(`(^|/)\.[^./]`)
	for _, name := range []string{"a/x.csv", "a/y.csv", "b/x.csv", "b/[1].csv", "c", ".d/x.csv"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, os.Symlink("none", filepath.Join(dir, "b", "z.csv")))
	require.NoError(t, os.Symlink("a", filepath.Join(dir, "e")))
	for _, pattern := range []string{"*", "*/*", "*/x.csv", "a/*.csv", "[ab]/?.csv", "b/\\[1].csv", "b/z.csv", "a/", "*/", "none/*", "c/*", "*/../*", "a/./*", "a//x*"} {
		want, err := filepath.Glob(dir + "/" + pattern)
		require.NoError(t, err)
		got, err := Glob(dir + "/" + pattern).List()
		require.NoError(t, err, pattern)
		require.ElementsMatch(t, slices.DeleteFunc(want, hidden.MatchString), got, pattern)
	}
	for _, pattern := range []string{"/*", "*", "./*", "../files/*.go", "/"} {
		want, err := filepath.Glob(pattern)
		require.NoError(t, err)
		got, err := Glob(pattern).List()
		require.NoError(t, err, pattern)
		require.ElementsMatch(t, slices.DeleteFunc(want, hidden.MatchString), got, pattern)
	}
}

// A wildcard matches no dot at the beginning of a name, as in a shell: rsync writes a copy to such a file first, and its
// records would be read twice.
func TestPlace_ListHidden(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree := fstest.MapFS{}
	for _, name := range []string{"in/a.csv", "in/.a.csv.Xy12Zq", "in/._a.csv", ".snapshot/in/a.csv", ".snapshot/a.csv"} {
		tree[name] = &fstest.MapFile{}
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	for pattern, want := range map[string][]string{
		"in/*":        {"in/a.csv"},
		"in/?a.csv*":  nil,
		"*/*.csv":     {"in/a.csv"},
		"*/in/*":      nil,
		"in/.*":       {"in/._a.csv", "in/.a.csv.Xy12Zq"},
		`in/\.[_]*`:   {"in/._a.csv"},
		".snap*/*/*":  {".snapshot/in/a.csv"},
		".snapshot/*": {".snapshot/a.csv", ".snapshot/in"},
	} {
		for _, place := range []Place{FS(tree, pattern), FS(struct{ fs.FS }{tree}, pattern), Glob(dir + "/" + pattern), Glob(dir + "/./" + pattern)} {
			names, err := place.List()
			require.NoError(t, err)
			for i, name := range names {
				names[i] = strings.TrimPrefix(name, dir+"/")
			}
			require.Equal(t, want, append([]string(nil), names...), place.name)
		}
	}
}
