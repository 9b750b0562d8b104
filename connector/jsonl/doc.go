// Package jsonl reads and writes files with a JSON value on each line, as a
// source and as two kinds of sinks.
//
//	src := jsonl.OpenGlob[Event]("in/*.jsonl*", nil)
//	out := jsonl.AppendTo[Event]("out/events.jsonl", nil)
//
// # Reading
//
// [Open] reads one file, [OpenGlob] all that match a pattern, [OpenFS] those of an
// [io/fs.FS]; [From] and [FromFunc] read what is no file. A file that begins like
// a gzip file is read as one, whatever its name.
//
// Each line is read into a T as [encoding/json] reads it, and so by its tags. Objects
// of plain values are read several times as fast as that does. The last line need not
// have a line break. Blank lines are skipped, and so is a byte order mark at the
// beginning of a file.
//
// # Bad records
//
// A line that is not JSON, that does not fit T, that has a field which T has not
// if [Options].Strict is set, or that is too long is a [dataflow.RecordError] with
// the key "line 17", or "in/a.jsonl line 17". The read goes on behind it.
//
// # Resuming
//
// Every record is a resume point: a file, and a byte of it. A later read finds
// what was appended to the file since, and then reads the files whose names are
// behind that one's in the order of their bytes. So name new files by a time, or
// by a number with leading zeros, and do not append to a file once there is a
// newer one. Files that were read may be removed. What [AppendTo] and [WriteFiles] keep
// beside their files is left out, whatever the pattern: names that end in ".checkpoint"
// or ".lock", or begin with a dot and end in ".tmp".
//
// What is in front of the cursor must stay as it was. A file that was cut, or whose
// last line was changed after it was read, is an error, and so append whole lines
// only. A compressed file is read again up to the cursor, to find the place.
//
// [From] and [FromFunc] have no cursor: every run reads from the beginning.
//
// # Writing
//
// [AppendTo] appends to a file, exactly once: a crash leaves no torn and no doubled
// line. [WriteFiles] writes a file for each batch, which appears as a whole. A row
// that [encoding/json] cannot write is a [dataflow.RecordError].
package jsonl
