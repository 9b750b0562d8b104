package jsonl

import "strconv"

// Cursor is the place right behind a record.
type Cursor struct {
	// File is the file, empty for the one of [Open].
	File string `json:"file,omitempty"`
	// Offset is the byte behind the line and its line break, counted from the
	// beginning of the file as it is uncompressed. 0 is the beginning.
	Offset int64 `json:"offset"`
	// Line is the number of the line. The file's first is 1.
	Line int64 `json:"line"`
}

// String names the record in front of the cursor: "line 17", or "in/a.jsonl line
// 17" where there may be several files.
func (c Cursor) String() string {
	line := "line " + strconv.FormatInt(c.Line, 10)
	if c.File == "" {
		return line
	}
	return c.File + " " + line
}
