// Package csvfile reads and writes CSV files with a header line, as a source and as
// two kinds of sinks.
//
//	type Strike struct {
//		Airport string    `csv:"Airport Name"`
//		Date    time.Time `csv:"Flight Date"`
//		Cost    int64     `csv:"Cost Total $"`
//		Speed   *int64    `csv:"Speed IAS in knots"` // nil where the cell is empty
//	}
//
//	strikes := csvfile.Open[Strike]("birdstrikes.csv", nil)
//
// [Open] reads one file, [OpenGlob] all that match a pattern, [OpenFS] those of an
// [io/fs.FS]; [From] and [FromFunc] read what is no file. A file that begins like
// a gzip file is read as one, whatever its name.
//
// # Columns
//
// Columns are found by the header, so that their order does not matter, and
// columns that no field asks for are left out. A column that a field asks for
// must be there, once. Each exported field of T asks for one:
//
//   - `csv:"Flight Date"` for the column of exactly that name;
//   - no tag, or an empty name, for the column whose name is the field's,
//     whereby case, spaces and underscores do not count: FlightDate reads
//     "FlightDate", "flight_date" and "Flight Date";
//   - `csv:"-"` for none.
//
// A name ends at the first comma. One that holds a comma, or is a dash, stands
// in single quotes: `csv:"'Cost, total'"`. Behind the comma, a time may have a
// layout of its own, which reaches to the end of the tag and so may hold commas
// itself: `csv:"Flight Date,layout=Jan 2, 2006"`.
//
// The fields of an embedded struct count as fields of T. A pointer to a struct
// cannot be embedded.
//
// # Cells
//
// A field is a string, a bool (as of [strconv.ParseBool]), an integer in
// decimal, a float, a [time.Time] (UTC where the cell has no zone), a
// [time.Duration] ("1m30s"), an [encoding.TextUnmarshaler], or a pointer to one
// of these.
//
// A null cell, which is an empty one unless [Options].Null says otherwise, makes
// a pointer nil and a string empty, and is passed to an UnmarshalText as empty
// text. Any other field cannot take it: the record is bad.
//
// Text is taken as it stands. It is not checked to be UTF-8. A line break in a
// quoted cell is read as "\n", also where the file has "\r\n". The strings of
// one record share their memory.
//
// # Bad records
//
// A line with too few or too many cells, a cell that cannot be read, or a
// misplaced quote is a [dataflow.RecordError] with the key "line 17", or
// "in/a.csv line 17" where there may be several files. The read goes on behind it. A quote that is never closed ends the read, because it
// takes in the rest of the file.
//
// Blank lines are skipped.
//
// # Resuming
//
// Every record is a resume point. A later read finds what was appended to the
// file since; what is in front of the cursor must stay as it was. A file that
// was cut, or whose last line was changed after it was read, is an error, and so
// append whole lines only. A file that was replaced by another of the same size
// or more cannot always be told, and should have another path and another flow.
//
// An empty file has no records, and no error: its header may yet come.
//
// Several files are read in the order of the bytes of their names, and so name new
// ones by a time, or by a number with leading zeros, and do not append to a file
// once there is a newer one. Files that were read may be removed. What [AppendTo] and
// [WriteFiles] keep beside their files is left out, whatever the pattern: names that
// end in ".checkpoint" or ".lock", or begin with a dot and end in ".tmp". A compressed
// file is read again up to the cursor, to find the place. [From] and [FromFunc] have no
// cursor: every run reads from the beginning.
//
// # Writing
//
// [AppendTo] appends to a file, exactly once: a crash leaves no torn and no doubled
// record. [WriteFiles] writes a file for each batch, which appears as a whole.
// What they write is read as it was by [Open], except that a "\r\n" in a text is
// read as "\n", and that a nil pointer and one to the text of Null are alike.
package csvfile
