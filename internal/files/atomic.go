package files

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
)

// tempSuffix ends the name of a file that is not complete yet. The name begins with
// a dot.
const tempSuffix = ".tmp"

// WriteAtomic replaces a file in one step: a reader sees the old or the new
// content, never a part, even after a crash. It returns once the content is on the
// disk.
func WriteAtomic(path string, data []byte) error { return Passing(writeAtomic(path, data)) }

func writeAtomic(path string, data []byte) error {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	// The umask of the process counts, which os.CreateTemp does not heed.
	f, err := os.OpenFile(filepath.Join(dir, "."+name+"."+rand.Text()[:12]+tempSuffix), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	write := func() error {
		if _, err := f.Write(data); err != nil {
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

// syncDir flushes a directory's entries to the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(ignoreUnsupported(d.Sync()), d.Close())
}
