package csvfile

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

// Cursor is the place right behind a record.
type Cursor struct {
	// File is the file, empty for the one of [Open].
	File string `json:"file,omitempty"`
	// Offset is the byte behind the record and its line break, counted from the
	// beginning of the file as it is uncompressed. 0 is the beginning.
	Offset int64 `json:"offset"`
	// Line is the line on which the record begins. The file's first is 1.
	Line int64 `json:"line"`
	// EndLine is the line on which the record ends, if that is another.
	EndLine int64 `json:"end_line,omitempty"`
}

// String names the record in front of the cursor: "line 17", or "in/a.csv line 17"
// where there may be several files.
func (c Cursor) String() string {
	line := "line " + strconv.FormatInt(c.Line, 10)
	if c.File == "" {
		return line
	}
	return c.File + " " + line
}

// lines is how many lines of the file are in front of the cursor.
func (c Cursor) lines() int64 { return max(c.Line, c.EndLine) }

// span is the cursor behind a record on these lines of the file of c.
func (c Cursor) span(offset, line, end int64) Cursor {
	c = Cursor{File: c.File, Offset: offset, Line: line}
	if end != line {
		c.EndLine = end
	}
	return c
}

// find returns the byte at which a read begins, and the record in front of it.
func (f *file) find(ctx context.Context, from Cursor) (start int64, at Cursor, err error) {
	if from == (Cursor{File: from.File}) {
		return f.body.Offset, f.body, nil
	}
	start, err = f.resume(ctx, from)
	return start, from, err
}

// resume checks as far as is cheap that the file still is what was read up to
// the cursor. It returns the byte at which to go on.
func (f *file) resume(ctx context.Context, c Cursor) (int64, error) {
	start, err := f.Resume(ctx, c.Offset, c.Line, c.lines())
	switch stale := (*files.StaleError)(nil); {
	case errors.As(err, &stale) && (stale.Cut || f.header != nil && c.Offset >= f.body.Offset):
		return 0, dataflow.Permanent(f.wrap(err))
	case err != nil && stale == nil:
		return 0, f.wrap(err)
	case f.header == nil:
		return 0, f.stale("the file was read up to byte %d (%s), but now has no header", c.Offset, c)
	case c.Offset < f.body.Offset:
		return 0, f.stale("the cursor is at byte %d, inside the header, which ends at byte %d", c.Offset, f.body.Offset)
	default:
		return start, nil
	}
}

// stale is the error of a cursor that does not fit the file.
func (f *file) stale(reason string, args ...any) error {
	return dataflow.Permanent(f.wrap(&files.StaleError{Reason: fmt.Sprintf(reason, args...)}))
}
