package files

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
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
	if !hasMeta(pattern) {
		_, err := p.lstat(pattern)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return []string{pattern}, err
	}
	split, match, join := filepath.Split, filepath.Match, filepath.Join
	if p.isFS {
		split, match, join = path.Split, path.Match, path.Join
	}
	dir, base := split(pattern)
	switch {
	case dir == "":
		dir = "."
	case len(dir) > len(filepath.VolumeName(dir))+1: // not the root
		dir = dir[:len(dir)-1]
	}
	dirs := []string{dir}
	if hasMeta(dir) {
		var err error
		if dirs, err = p.glob(dir); err != nil {
			return nil, err
		}
	}
	var names []string
	for _, d := range dirs {
		entries, err := p.readDir(d)
		if err != nil && !p.without(d, err, hasMeta(dir)) {
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

// without reports whether a list goes on without a directory that cannot be listed. found is true if
// a wildcard matches it.
func (p Place) without(dir string, err error, found bool) bool {
	if errors.Is(err, fs.ErrNotExist) || found && errors.Is(err, fs.ErrPermission) {
		return true
	}
	stat, err := p.stat(dir)
	return err == nil && !stat.IsDir()
}

func hasMeta(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

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
