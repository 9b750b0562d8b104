package files

import (
	"context"
	"errors"
	"fmt"
)

// StaleError says why a cursor no longer fits a file.
type StaleError struct {
	Reason string
	// Cut is true if the file is shorter than the cursor says.
	Cut bool
}

func (e *StaleError) Error() string {
	return e.Reason + ". To read the file from its beginning, give the flow a new name or reset its cursor"
}

// IsStale reports whether an error is that of a cursor that does not fit a file.
func IsStale(err error) bool {
	var stale *StaleError
	return errors.As(err, &stale)
}

func stale(isCut bool, reason string, args ...any) error {
	return &StaleError{Reason: fmt.Sprintf(reason, args...), Cut: isCut}
}

// Resume returns the byte at which to continue after a cursor. offset is the byte
// after the last record, which began on line and ended on lastLine.
//
// It makes the cheap checks that the file is still the one that was read, and
// returns a *[StaleError] if it is not. A stream is read up to offset, or until ctx
// is done.
func (f *File) Resume(ctx context.Context, offset, line, lastLine int64) (int64, error) {
	if offset <= 0 {
		return 0, nil
	}
	f.Forget(offset - tailReach)
	if err := f.skip(ctx, offset-1); err != nil {
		return 0, err
	}
	around, err := f.Bytes(offset-1, offset+2)
	if err != nil {
		return 0, err
	}
	if len(around) == 0 {
		size, err := f.Size()
		return 0, errors.Join(err, stale(true, "the file has %d bytes, but the cursor is at byte %d (line %d): the file was cut or replaced", size, offset, line))
	}
	after := string(around[1:])
	switch {
	case around[0] == '\n' || after == "":
		return offset, nil
	// The last line had no line break when it was read, and has one now, or the
	// first half of one.
	case after[0] == '\n':
		return offset + 1, nil
	case after == "\r\n", after == "\r":
		return offset + int64(len(after)), nil
	}
	return 0, stale(false, "line %d was changed after it was read: no line ends at byte %d now", lastLine, offset)
}

// skip reads a stream up to offset, which may be far. It ignores an error of the
// stream: the next read meets it again.
func (f *File) skip(ctx context.Context, offset int64) error {
	for f.stream != nil && f.stream.end() < offset {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !f.stream.fill() {
			return nil
		}
	}
	return nil
}
