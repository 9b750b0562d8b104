package files

import (
	"errors"
	"syscall"

	"github.com/activedataflow/dataflow"
)

// Passing marks an error of the file system that should pass by itself as [dataflow.Transient]. So is EIO, which may be
// that of a server or of the disk.
func Passing(err error) error {
	if dataflow.IsPermanent(err) || !passing(err) {
		return err
	}
	return dataflow.Transient(err)
}

func passing(err error) bool { return passes(err) || errors.Is(err, syscall.EIO) }

// OfFile reports whether an error is that of one file, which others need not have.
func OfFile(err error) bool { return !passes(err) }
