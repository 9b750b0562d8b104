// Package csvfile reads a CSV file with a header line as a [dataflow.Source].
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
// misplaced quote is a [dataflow.RecordError] with the key "line 17". The read
// goes on behind it. A quote that is never closed ends the read, because it
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
package csvfile
