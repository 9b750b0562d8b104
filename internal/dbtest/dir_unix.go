//go:build unix

package dbtest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// maxParent leaves room for /dfpg0123456789/.s.PGSQL.5432 in the 104 bytes of a socket's address.
const maxParent = 70

// makeDir makes the server's directory. owner can reach, write and remove it.
func makeDir(owner *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp(parentDir(owner), "dfpg")
	if err != nil || owner == nil {
		return dir, err
	}
	if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

// parentDir returns where to make the server's directory: in TMPDIR if that is set, else in
// memory, where making a database takes a tenth of the time, else in /tmp.
func parentDir(owner *syscall.Credential) string {
	parent := os.TempDir()
	if memory := memoryDir(); os.Getenv("TMPDIR") == "" && memory != "" {
		parent = memory
	}
	if len(parent) > maxParent || (owner != nil && !openToAll(parent)) {
		return "/tmp"
	}
	return parent
}

// openToAll reports whether any user can make and remove files of his own in dir.
func openToAll(dir string) bool {
	for want := os.FileMode(0o003); ; want = 0o001 {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&want != want {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}
