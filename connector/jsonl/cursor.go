package jsonl

import "strconv"

// Cursor is the place directly after a record. Its zero value is the beginning.
type Cursor struct {
	// File is the name of the file, empty for a source of [Open].
	File string `json:"file,omitempty"`
	// Offset is the byte after the line and its line break, counted in the
	// uncompressed file. 0 is the beginning.
	Offset int64 `json:"offset"`
	// Line is the number of the line. The first line is 1.
	Line int64 `json:"line"`
	// Head is a checksum of the first lines, by which a replaced file is noticed.
	Head uint32 `json:"head,omitempty"`
	// Tail is a checksum of the line, by which another line in its place is noticed. 0 means that it
	// is not known.
	Tail uint32 `json:"tail,omitempty"`
}

// String names the last record before the cursor: "line 17", or "in/a.jsonl line
// 17" if the source reads a pattern.
func (c Cursor) String() string {
	line := "line " + strconv.FormatInt(c.Line, 10)
	if c.File == "" {
		return line
	}
	return c.File + " " + line
}
