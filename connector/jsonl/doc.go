// Package jsonl reads and writes files with a JSON value on each line, as a
// source and as two kinds of sinks.
//
//	src := jsonl.OpenGlob[Event]("in/*.jsonl*", nil)
//	out := jsonl.AppendTo[Event]("out/events.jsonl", nil)
//
// # Reading
//
// [Open] reads one file, [OpenGlob] all files that match a pattern, and [OpenFS] the
// files of an [io/fs.FS]. [From] and [FromFunc] read streams. A file that begins with
// the gzip magic number is decompressed, whatever its name.
//
// Each line is read into a T by the rules and tags of [encoding/json]. Objects of plain
// values are read several times as fast as with encoding/json. A number in an interface, such
// as a value of a map[string]any, becomes a [encoding/json.Number] with all its digits. The
// last line need not have a line break. Blank lines are skipped, and so is a byte order mark
// at the beginning of a line, as in files that were put together.
//
// # Bad records
//
// A bad line is a [dataflow.RecordError] with the key "line 17", or
// "in/a.jsonl line 17" if the source reads a pattern. The read continues after it. A
// line is bad if it
//
//   - is not JSON, or does not fit T;
//   - is not UTF-8, or has a text with half of a surrogate pair, unless T is a
//     [encoding/json.RawMessage];
//   - is null, unless T is a pointer, an interface or a [encoding/json.RawMessage];
//   - is longer than [Options].MaxLineBytes;
//   - has a field that T lacks, and [Options].Strict is set.
//
// # Resuming
//
// Every record is a resume point: a byte of a file. A later read first finds the lines
// appended to that file, and then reads the later files, in the order of the bytes of
// their names. Name new files by a time, or by a number with leading zeros, and do not
// append to a file once there is a newer one. Files that were read may be removed, or
// compressed by gzip, which appends .gz to the name. No pattern matches the files that [AppendTo] and [WriteFiles] keep for
// themselves: names that end in ".checkpoint" or ".lock", or begin with a dot and end in ".tmp". As in a shell, a wildcard
// matches no dot at the beginning of a name.
//
// The bytes before the cursor must not change. A read returns an error if the file was
// cut, or if its last line or its first lines (1 KiB) were changed after they were read, as in
// a rotation of logs. That is so while it reads, too. A compressed file is read again up to the cursor.
//
// A last line without its line break is left for a later read, unless it is a whole value to
// which nothing can be added, or the file has not changed for a minute: another program may
// still be writing it. See [Partial].
//
// [From] and [FromFunc] have no cursor: every run reads from the beginning.
//
// # Writing
//
// [AppendTo] appends to a file, exactly once: a crash leaves neither a torn nor a
// duplicate line. [WriteFiles] writes a file for each batch; the file appears in one
// step. A row that [encoding/json] cannot write, or with a text that is not UTF-8, is a
// [dataflow.RecordError].
//
// encoding/json drops the seconds of a time's offset, such as those of Monrovia before 1972 and Amsterdam
// before 1937 (Go 1.26). So give a record such times in UTC, as the sources of pgtable and sqltable do.
package jsonl
