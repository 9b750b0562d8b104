package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// glob returns the files that match a pattern, as [filepath.Glob] and [fs.Glob] do. They leave out what
// they cannot list, and a cursor would pass its files for good: here it is an error. A
// directory that is gone has no files. One that a wildcard matches and that may not be listed is left
// out, such as lost+found.
func (p Place) glob(pattern string) ([]string, error) {
	if whole, ok := p.fsys.(fs.GlobFS); ok {
		return whole.Glob(pattern)
	}
	split, match, join := filepath.Split, filepath.Match, filepath.Join
	if p.isFS {
		split, match, join = path.Split, path.Match, path.Join
	}
	if _, err := match(pattern, ""); err != nil { // also if no file is there
		return nil, err
	}
	if !p.hasMeta(pattern) {
		_, err := p.lstat(pattern)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return []string{pattern}, err
	}
	dir, base := split(pattern)
	switch {
	case dir == "":
		dir = "."
	case len(dir) > len(filepath.VolumeName(dir))+1: // not the root
		dir = dir[:len(dir)-1]
	}
	dirs := []string{dir}
	if p.hasMeta(dir) {
		var err error
		if dirs, err = p.glob(dir); err != nil {
			return nil, err
		}
	}
	var names []string
	for _, d := range dirs {
		entries, err := p.readDir(d)
		if err != nil && !p.without(d, err, p.hasMeta(dir)) {
			return nil, err
		}
		for _, e := range entries {
			if ok, err := match(base, e.Name()); err != nil {
				return nil, err
			} else if ok {
				names = append(names, join(d, e.Name()))
			}
		}
	}
	return names, nil
}

// hides reports whether a wildcard matches the dot with which the name of a file or directory begins. No shell lets it:
// rsync writes to such a file until a copy is whole, macOS keeps attributes in some, and servers of files keep snapshots.
func (p Place) hides(name string) bool {
	pattern := path.Clean(p.name)
	if !p.isFS {
		pattern, name = path.Clean(filepath.ToSlash(p.name)), filepath.ToSlash(name)
	}
	patterns, names := strings.Split(pattern, "/"), strings.Split(name, "/")
	if len(patterns) != len(names) { // a file system with patterns of its own
		patterns, names = patterns[len(patterns)-1:], names[len(names)-1:]
	}
	for i, got := range names {
		if strings.HasPrefix(got, ".") && !strings.HasPrefix(strings.TrimPrefix(patterns[i], `\`), ".") {
			return true
		}
	}
	return false
}

// mostPassed is the number of files, directly before the cursor's, at which [Place.Passed] looks. Each may be a
// request to a server.
const mostPassed = 1000

// Passed returns a sentence if files before that of a cursor were changed after it was, or none. They
// may hold records that no run reads: they came late, or grew.
func (p Place) Passed(ctx context.Context, cursor string) ([]string, error) {
	if !p.many || cursor == "" {
		return nil, nil
	}
	names, err := p.List()
	if err != nil {
		return nil, err
	}
	last, err := p.stat(cursor)
	if err != nil { // it may be removed
		return nil, nil //nolint:nilerr // then there is nothing to compare with
	}
	at, _ := slices.BinarySearch(names, cursor)
	changed, example := 0, ""
	for _, name := range names[max(0, at-mostPassed):at] {
		if ctx.Err() != nil {
			break
		}
		if stat, err := p.stat(name); err == nil && !stat.IsDir() && stat.ModTime().After(last.ModTime()) {
			changed, example = changed+1, name
		}
	}
	if changed == 0 {
		return nil, nil
	}
	return []string{fmt.Sprintf("of the files whose names sort before %s, the last one read, %d changed after it, such as %s: no run reads what came late; "+
		"name new files so that they sort after the others, and append to the last one only", cursor, changed, example)}, nil
}

// without reports whether a list goes on without a directory that cannot be listed. found is true if
// a wildcard matches it.
func (p Place) without(dir string, err error, found bool) bool {
	if errors.Is(err, fs.ErrNotExist) || found && errors.Is(err, fs.ErrPermission) {
		return true
	}
	stat, err := p.stat(dir)
	return err == nil && !stat.IsDir()
}

// hasMeta reports whether a name is a pattern, as path and filepath have it: a backslash is a separator on Windows.
func (p Place) hasMeta(name string) bool {
	if !p.isFS && filepath.Separator == '\\' {
		return strings.ContainsAny(name, `*?[`)
	}
	return strings.ContainsAny(name, `*?[\`)
}

func (p Place) readDir(name string) ([]fs.DirEntry, error) {
	if p.isFS {
		return fs.ReadDir(p.fsys, name)
	}
	return os.ReadDir(name)
}

func (p Place) stat(name string) (fs.FileInfo, error) {
	if p.isFS {
		return fs.Stat(p.fsys, name)
	}
	return os.Stat(name)
}

func (p Place) lstat(name string) (fs.FileInfo, error) {
	if p.isFS {
		return fs.Stat(p.fsys, name)
	}
	return os.Lstat(name)
}
