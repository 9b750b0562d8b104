package csvfile

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

// Cursor is the place directly after a record. Its zero value is the beginning.
type Cursor struct {
	// File is the name of the file, empty for a source of [Open].
	File string `json:"file,omitempty"`
	// Offset is the byte after the record and its line break, counted in the
	// uncompressed file. 0 is the beginning.
	Offset int64 `json:"offset"`
	// Line is the line on which the record begins. The first line is 1.
	Line int64 `json:"line"`
	// EndLine is the line on which the record ends, or 0 if that is Line.
	EndLine int64 `json:"end_line,omitempty"`
	// Head is a checksum of the first records, by which a replaced file is noticed.
	Head uint32 `json:"head,omitempty"`
	// Tail is a checksum of the record's last line, by which another line in its place is noticed. 0
	// means that it is not known.
	Tail uint32 `json:"tail,omitempty"`
}

// String names the last record before the cursor: "line 17", or "in/a.csv line 17"
// if the source reads a pattern.
func (c Cursor) String() string {
	line := "line " + strconv.FormatInt(c.Line, 10)
	if c.File == "" {
		return line
	}
	return c.File + " " + line
}

// lines returns the number of lines before the cursor.
func (c Cursor) lines() int64 { return max(c.Line, c.EndLine) }

// span returns the cursor after a record on these lines of c's file.
func (c Cursor) span(offset, line, end int64) Cursor {
	c = Cursor{File: c.File, Offset: offset, Line: line}
	if end != line {
		c.EndLine = end
	}
	return c
}

// find returns the byte at which a read begins, and the cursor of the last record
// before it.
func (f *file) find(ctx context.Context, from Cursor) (start int64, at Cursor, err error) {
	if from == (Cursor{File: from.File}) {
		return f.body.Offset, f.body, nil
	}
	start, err = f.resume(ctx, from)
	return start, from, err
}

// resume makes the cheap checks that the file still is the one that was read up to
// the cursor. It returns the byte at which to continue.
func (f *file) resume(ctx context.Context, c Cursor) (int64, error) {
	start, err := f.Resume(ctx, c.Offset, c.Line, c.lines())
	if err == nil && f.header != nil && c.Offset >= f.body.Offset {
		if err = f.SameHead(c.Head, c.Offset); err == nil {
			err = f.SameTail(c.Tail, c.Offset, c.lines())
		}
	}
	switch stale := (*files.StaleError)(nil); {
	case errors.As(err, &stale) && (stale.Cut || f.header != nil && c.Offset >= f.body.Offset):
		return 0, dataflow.Permanent(f.wrap(err))
	case err != nil && stale == nil:
		return 0, f.wrap(err)
	case f.header == nil:
		return 0, f.stale("the cursor is at byte %d (%s), but the file now has no header", c.Offset, c)
	case c.Offset < f.body.Offset:
		return 0, f.stale("the cursor is at byte %d, inside the header, which ends at byte %d", c.Offset, f.body.Offset)
	default:
		return start, nil
	}
}

// unchanged returns an error if the file was cut or replaced while it was read up to an offset.
func (f *file) unchanged(offset int64) error {
	err := f.Unchanged(offset)
	switch stale := (*files.StaleError)(nil); {
	case errors.As(err, &stale):
		return dataflow.Permanent(f.wrap(err))
	case err != nil:
		return f.wrap(err)
	default:
		return nil
	}
}

// stale returns the permanent error of a cursor that does not fit the file.
func (f *file) stale(reason string, args ...any) error {
	return dataflow.Permanent(f.wrap(&files.StaleError{Reason: fmt.Sprintf(reason, args...)}))
}
