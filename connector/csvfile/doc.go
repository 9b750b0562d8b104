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
// [Open] reads one file, [OpenGlob] all files that match a pattern, and [OpenFS] the
// files of an [io/fs.FS]. [From] and [FromFunc] read streams. A file that begins with
// the gzip magic number is decompressed, whatever its name.
//
// # Columns
//
// Columns are found by the header, so their order does not matter. Columns without a
// field are ignored. The column of a field must appear exactly once. Each exported
// field of T reads one column, chosen by its tag:
//
//   - `csv:"Flight Date"` reads the column with exactly that name;
//   - no tag, or an empty name, reads the column with the field's name, ignoring
//     case, spaces and underscores: FlightDate reads "FlightDate", "flight_date" and
//     "Flight Date";
//   - `csv:"-"` reads none.
//
// A name ends at the first comma. Put a name that holds a comma, or is a dash, in
// single quotes: `csv:"'Cost, total'"`. After the comma, a time may have its own
// layout: `csv:"Flight Date,layout=Jan 2, 2006"`. The layout reaches to the end of the
// tag, so it may hold commas.
//
// The fields of an embedded struct count as fields of T. A pointer to a struct
// cannot be embedded.
//
// # Cells
//
// A field has one of these types, or is a pointer to one:
//
//   - a string;
//   - a bool, read by [strconv.ParseBool];
//   - an integer in decimal, or a float;
//   - a [time.Time], in UTC if the cell has no zone;
//   - a [time.Duration], such as "1m30s";
//   - an [encoding.TextUnmarshaler].
//
// A null cell is an empty one, unless [Options].Null says otherwise. It makes a pointer
// nil and a string empty, and calls UnmarshalText with empty text. For a field of any
// other type the record is bad.
//
// Text is not changed, and not checked to be UTF-8: a line break in a quoted cell stays as it
// is. A byte order mark at the beginning of a record is left out. The strings of one record
// share their memory.
//
// # Bad records
//
// A line with too few or too many cells, with a misplaced quote or with NUL bytes at its
// beginning, or with a cell that cannot be read, is a [dataflow.RecordError]. Its key is "line 17", or "in/a.csv line 17" if
// the source reads a pattern. The read continues after it. A quote that is never closed
// ends the read, because it takes in the rest of the file.
//
// Blank lines are skipped. In a file of one column, a blank line is a record with an empty
// cell: Postgres writes a null so.
//
// # Dialects
//
// By default, cells are separated by commas, and quotes are doubled within quotes, as in RFC
// 4180. [Options] describe other files: without quotes, with escapes, misplaced quotes, titles
// or totals. A first line such as "sep=;" names the separator. Nothing else is guessed.
// docs/connectors/files.md has recipes.
//
// # Resuming
//
// Every record is a resume point. A later read finds the records appended since; the
// bytes before the cursor must not change. A read returns an error if the file was cut,
// or if its last line or its first records (1 KiB) were changed after they were read, as in a
// rotation of logs. That is so while it reads, too.
//
// A last record without its line break is left for a later read, as long as the file has
// changed within the last minute: another program may still be writing it. See [Partial].
//
// An empty file has no records and is no error: its header may still be written.
//
// Several files are read in the order of the bytes of their names. Name new files by a
// time, or by a number with leading zeros, and do not append to a file once there is a
// newer one. Files that were read may be removed, or compressed by gzip, which appends .gz to the
// name. No pattern matches the files that
// [AppendTo] and [WriteFiles] keep for themselves: names that end in ".checkpoint" or
// ".lock", or begin with a dot and end in ".tmp". As in a shell, a wildcard matches no dot at the
// beginning of a name.
//
// A compressed file is read again up to the cursor. [From] and [FromFunc] have no
// cursor: every run reads from the beginning.
//
// # Writing
//
// [AppendTo] appends to a file, exactly once: a crash leaves neither a torn nor a
// duplicate record. [WriteFiles] writes a file for each batch; the file appears in one
// step. [Open] reads back the same values, with one exception: a nil pointer cannot be told
// from one to the text of Null.
package csvfile
