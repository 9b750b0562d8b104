package files

import (
	"errors"
	"os"
	"path/filepath"
)

// tempSuffix ends the name of a file that is not whole yet. A dot begins it.
const tempSuffix = ".tmp"

// WriteAtomic writes a file so that whoever opens it finds all of it or what was
// there before, also after a crash. It returns once it is on the disk.
func WriteAtomic(path string, data []byte) (err error) {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	f, err := os.CreateTemp(dir, "."+name+".*"+tempSuffix)
	if err != nil {
		return err
	}
	write := func() error {
		if _, err := f.Write(data); err != nil {
			return err
		}
		if err := f.Chmod(0o644); err != nil {
			return err
		}
		return f.Sync()
	}
	if err := errors.Join(write(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

// syncDir puts the names in a directory on the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(ignoreUnsupported(d.Sync()), d.Close())
}
