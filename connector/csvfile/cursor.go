package csvfile

import (
	"fmt"
	"strconv"

	"github.com/activedataflow/dataflow"
)

// Cursor is the place right behind a record.
type Cursor struct {
	// Offset is the byte behind the record and its line break, counted from the
	// beginning of the file. 0 is the beginning.
	Offset int64 `json:"offset"`
	// Line is the line on which the record begins. The file's first is 1.
	Line int64 `json:"line"`
	// EndLine is the line on which the record ends, if that is another.
	EndLine int64 `json:"end_line,omitempty"`
}

// String names the record in front of the cursor: "line 17".
func (c Cursor) String() string { return "line " + strconv.FormatInt(c.Line, 10) }

// lines is how many lines of the file are in front of the cursor.
func (c Cursor) lines() int64 { return max(c.Line, c.EndLine) }

// span is the cursor behind a record on these lines.
func span(offset, line, end int64) Cursor {
	c := Cursor{Offset: offset, Line: line}
	if end != line {
		c.EndLine = end
	}
	return c
}

// find returns the byte at which a read begins, and the record in front of it.
func (f *file) find(r dataflow.Request[Cursor]) (start int64, at Cursor, err error) {
	if !r.Resumed || r.From == (Cursor{}) {
		return f.body.Offset, f.body, nil
	}
	start, err = f.resume(r.From)
	return start, r.From, err
}

// resume checks as far as is cheap that the file still is what was read up to
// the cursor. It returns the byte at which to go on.
func (f *file) resume(c Cursor) (int64, error) {
	stat, err := f.f.Stat()
	if err != nil {
		return 0, f.wrap(err)
	}
	switch {
	case stat.Size() < c.Offset:
		return 0, f.stale("the file has %d bytes, but was read up to byte %d (%s): it was cut or replaced", stat.Size(), c.Offset, c)
	case f.header == nil:
		return 0, f.stale("the file was read up to byte %d (%s), but now has no header", c.Offset, c)
	case c.Offset < f.body.Offset:
		return 0, f.stale("the cursor is at byte %d, inside the header, which ends at byte %d", c.Offset, f.body.Offset)
	}
	around, err := f.bytes(c.Offset-1, c.Offset+2)
	if err != nil {
		return 0, f.wrap(err)
	}
	behind := string(around[1:])
	switch {
	case around[0] == '\n' || behind == "":
		return c.Offset, nil
	// The last line had no line break when it was read, and has one now, or the
	// first half of one.
	case behind[0] == '\n':
		return c.Offset + 1, nil
	case behind == "\r\n", behind == "\r":
		return c.Offset + int64(len(behind)), nil
	}
	return 0, f.stale("line %d was changed after it was read: no line ends at byte %d any more", c.lines(), c.Offset)
}

// stale is the error of a cursor that does not fit the file.
func (f *file) stale(format string, args ...any) error {
	return f.permanent("%s. To read the file from its beginning, give the flow a new name or reset its cursor", fmt.Sprintf(format, args...))
}
