package csvfile_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

// tricky is a file in which nearly every line is an edge case.
const tricky = "\xEF\xBB\xBF" +
	"# made by hand\r\n" +
	"a,\"b\"\r\n" +
	"1,2\r\n" +
	"\r\n" +
	"\"two\r\nlines\",\"and\r\n\r\nthree\"\r\n" +
	"Åse,日本語 🐦\n" +
	"\"\",\"\"\n" +
	"# \"between\n" +
	"\n\n" +
	"short\n" +
	"x,a \" bare\r\n" +
	"\"say \"\"hi\"\"\",\"\r\n\"\n" +
	"\"mis\nplaced\"here,\n" +
	",\r\n" +
	"\xff\xfe,\x00\n" +
	"\"last\n\",record"

func TestResume_EveryCursor(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"NoFinalNewline": tricky,
		"FinalNewline":   tricky + "\n",
		"FinalBlank":     tricky + "\r\n\r\n\n",
		"FinalComment":   tricky + "\n# done",
		"Long":           tricky + "\n" + strings.Repeat(tricky[strings.Index(tricky, "1,2"):]+"\n", 500),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := csvfile.Open[pair](write(t, file), &csvfile.Options{Comment: '#'})
			all, err := read(t, src, nil)
			require.NoError(t, err)
			require.Equal(t, len(all), count(t, src, nil))
			step := max(1, len(all)/12)
			for i := 0; i < len(all); i += step {
				rest, err := read(t, src, &all[i].Cursor)
				require.NoError(t, err)
				require.Equal(t, all[i+1:], append([]got[pair]{}, rest...))
				require.Equal(t, len(rest), count(t, src, &all[i].Cursor))
			}
		})
	}
}

func TestResume_Lines(t *testing.T) {
	t.Parallel()
	all, err := read(t, csvfile.Open[pair](write(t, tricky), &csvfile.Options{Comment: '#'}), nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"line 3: 1|2",
		"line 5: two\r\nlines|and\r\n\r\nthree",
		"line 9: Åse|日本語 🐦",
		"line 10: |",
		"line 14: error: has 1 field, but the header has 2",
		`line 15: error: line 15, byte 5: bare " in non-quoted-field`,
		"line 16: say \"hi\"|\r\n",
		`line 18: error: line 19, byte 7: extraneous or missing " in quoted-field: the record takes in the lines 18 to 19: close its quote, or set Quote to None if the file has no quotes`,
		"line 20: |",
		"line 21: \xff\xfe|\x00",
		"line 22: last\n|record",
	}, texts(all))
	require.Equal(t, int64(len(tricky)), all[len(all)-1].Cursor.Offset)
}

func TestCursor_JSON(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]csvfile.Cursor{
		`{"offset":1234,"line":17}`:               {Offset: 1234, Line: 17},
		`{"offset":1234,"line":17,"end_line":19}`: {Offset: 1234, Line: 17, EndLine: 19},
	} {
		data, err := json.Marshal(c)
		require.NoError(t, err)
		require.JSONEq(t, want, string(data))
		require.Equal(t, "line 17", c.String())
	}
}

func TestResume_Grown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file, more string
		want             []string
		err              string
	}{
		{name: "Nothing", file: "a,b\n1,2\n"},
		{name: "NothingWithoutNewline", file: "a,b\n1,2"},
		{name: "Rows", file: "a,b\n1,2\n", more: "3,4\n5,6", want: []string{"line 3: 3|4", "line 4: 5|6"}},
		{name: "LF", file: "a,b\n1,2", more: "\n3,4\n", want: []string{"line 3: 3|4"}},
		{name: "CRLF", file: "a,b\r\n1,2", more: "\r\n3,4\r\n", want: []string{"line 3: 3|4"}},
		{name: "HalfCRLF", file: "a,b\r\n1,2", more: "\r"},
		{name: "LFOnly", file: "a,b\n1,2", more: "\n"},
		{name: "TornCRLF", file: "a,b\r\n1,2\r", more: "\n3,4\r\n", want: []string{"line 3: 3|4"}},
		{name: "Quoted", file: "a,b\n1,\"\n2\"", more: "\n3,4\n", want: []string{"line 4: 3|4"}},
		{name: "SameLine", file: "a,b\n1,2", more: "34\n", err: "line 2 was changed after it was read: no line ends at byte 7 now"},
		{name: "SameLineQuote", file: "a,b\n1,\"\n2\"", more: "\"x\"\n", err: "line 3 was changed after it was read: no line ends at byte 10 now"},
		{name: "SameLineCR", file: "a,b\n1,2", more: "\r3\n", err: "line 2 was changed after it was read: no line ends at byte 7 now"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, tt.file)
			src := csvfile.Open[pair](path, nil)
			all, err := read(t, src, nil)
			require.NoError(t, err)
			require.Len(t, all, 1)
			appendTo(t, path, tt.more)
			rest, err := read(t, src, &all[0].Cursor)
			require.Equal(t, tt.want, texts(rest))
			if tt.err != "" {
				requireStale(t, err, path, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, len(tt.want), count(t, src, &all[0].Cursor))
		})
	}
}

func TestResume_EmptyFileGrows(t *testing.T) {
	t.Parallel()
	path := write(t, "")
	src := csvfile.Open[pair](path, nil)
	all, err := read(t, src, nil)
	require.NoError(t, err)
	require.Empty(t, all)
	appendTo(t, path, "a,b\n1,2\n")
	all, err = read(t, src, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"line 2: 1|2"}, texts(all))
}

func TestResume_OtherFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		file string
		from csvfile.Cursor
		want string
	}{
		{"Shrunk", "a,b\n1,2\n", csvfile.Cursor{Offset: 1234, Line: 17}, "the file has 8 bytes, but the cursor is at byte 1234 (line 17): the file was cut or replaced"},
		{"Emptied", "", csvfile.Cursor{Offset: 8, Line: 2}, "the file has 0 bytes, but the cursor is at byte 8 (line 2): the file was cut or replaced"},
		{"NoHeader", "\n\n\n", csvfile.Cursor{Offset: 2, Line: 2}, "the cursor is at byte 2 (line 2), but the file now has no header"},
		{"InHeader", "a,b\n1,2\n", csvfile.Cursor{Offset: 2, Line: 1}, "the cursor is at byte 2, inside the header, which ends at byte 4"},
		{"Negative", "a,b\n1,2\n", csvfile.Cursor{Offset: -2, Line: 1}, "the cursor is at byte -2, inside the header, which ends at byte 4"},
		{"Replaced", "a,b\n1111,2222\n", csvfile.Cursor{Offset: 8, Line: 2}, "line 2 was changed after it was read: no line ends at byte 8 now"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, tt.file)
			all, err := read(t, csvfile.Open[pair](path, nil), &tt.from)
			require.Empty(t, all)
			requireStale(t, err, path, tt.want)
		})
	}
}

func requireStale(t *testing.T, err error, path, want string) {
	t.Helper()
	require.EqualError(t, err, "CSV file "+path+": "+want+". To read the file from its beginning, give the flow a new name or reset its cursor")
	requirePermanent(t, err)
}

func TestResume_ZeroCursorIsBeginning(t *testing.T) {
	t.Parallel()
	all, err := read(t, csvfile.Open[pair](write(t, "a,b\n1,2\n"), nil), &csvfile.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []string{"line 2: 1|2"}, texts(all))
}

func TestResume_HeaderReordered(t *testing.T) {
	t.Parallel()
	path := write(t, "a,b\n1,2\n")
	src := csvfile.Open[pair](path, nil)
	all, err := read(t, src, nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("b,a\n1,2\n4,3\n"), 0o600))
	rest, err := read(t, src, &all[0].Cursor)
	require.NoError(t, err)
	require.Equal(t, []string{"line 3: 3|4"}, texts(rest))
}

// Another file in the place of the one that was read, such as after a rotation of logs, is an
// error, also where it is as long or longer and a line ends at the cursor.
func TestResume_Replaced(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("1,2\n", 500)
	for name, c := range map[string]struct{ was, now string }{
		"same size":   {"a,b\n1,2\n3,4\n", "a,b\n5,6\n7,8\n"},
		"longer":      {"a,b\n1,2\n3,4\n", "a,b\n5,6\n7,8\n9,9\n"},
		"long":        {"a,b\n" + long, "a,b\n9,9\n" + long},
		"compressed":  {compressed("a,b\n" + long), compressed("a,b\n9,9\n" + long)},
		"now gzipped": {"a,b\n1,2\n3,4\n", compressed("a,b\n5,6\n7,8\n9,9\n")},
	} {
		path := write(t, c.was)
		src := csvfile.Open[pair](path, &csvfile.Options{Partial: csvfile.Take})
		all, err := read(t, src, nil)
		require.NoError(t, err)
		for _, i := range []int{0, len(all) / 2, len(all) - 1} {
			require.NoError(t, os.WriteFile(path, []byte(c.now), 0o600))
			_, err = read(t, src, &all[i].Cursor)
			require.ErrorContains(t, err, "its first records were changed after they were read", name)
			requirePermanent(t, err)
			require.NoError(t, os.WriteFile(path, []byte(c.was), 0o600))
			rest, err := read(t, src, &all[i].Cursor)
			require.NoError(t, err)
			require.Len(t, rest, len(all)-1-i)
		}
	}
}

// The end of a file that holds only NUL bytes is space that was not written yet. It is left,
// whatever its age, so that what is written there is read.
func TestResume_NULs(t *testing.T) {
	t.Parallel()
	path := write(t, "a,b\n1,2\n\x00\x00\x00\x00\x00\x00\x00\x00")
	src := csvfile.Open[pair](path, &csvfile.Options{Partial: csvfile.Take})
	all, err := read(t, src, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"line 2: 1|2"}, texts(all))
	require.NoError(t, os.WriteFile(path, []byte("a,b\n1,2\n3,4\n5,6\n"), 0o600))
	rest, err := read(t, src, &all[0].Cursor)
	require.NoError(t, err)
	require.Equal(t, []string{"line 3: 3|4", "line 4: 5|6"}, texts(rest))
}

// NUL bytes before a line, as of a log that was cut to nothing while its writer kept its place, are no text of its first cell.
func TestRead_HoleBeforeLine(t *testing.T) {
	t.Parallel()
	all, err := read(t, csvfile.Open[pair](write(t, "a,b\n1,2\n"+strings.Repeat("\x00", 70_000)+"3,4\n5,\x006\n\"\x007\",8\n"), nil), nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"line 2: 1|2", "line 3: error: the line begins with NUL bytes: space that was not written, or was lost in a crash", "line 4: 5|\x006", "line 5: \x007|8",
	}, texts(all))
}

// A file that another program than gzip has compressed is named as that.
func TestRead_Packed(t *testing.T) {
	t.Parallel()
	for magic, name := range map[string]string{"\x28\xb5\x2f\xfd": "zstd", "BZh91AY": "bzip2", "BZh11AY": "bzip2", "\xfd7zXZ\x00": "xz", "PK\x03\x04": "zip", "\x04\x22\x4d\x18": "lz4", "\x50\x2a\x4d\x18\x04\x00": "zstd or lz4"} {
		text := magic + "a,b\n1,2\n"
		_, err := read(t, csvfile.Open[pair](write(t, text), nil), nil)
		require.ErrorContains(t, err, "the file is compressed by "+name)
		require.True(t, dataflow.IsPermanent(err))
		for _, err = range csvfile.From[pair](strings.NewReader(text), nil).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
			require.ErrorContains(t, err, "the file is compressed by "+name, "a stream")
			require.True(t, dataflow.IsPermanent(err))
		}
		require.Error(t, err)
	}
}

// A file that gzip has compressed, or is compressing, is the file that was read.
func TestResume_Compressed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	src := csvfile.OpenFS[pair](os.DirFS(dir), "in*", nil)
	const text = "a,b\n1,2\n3,4\n"
	put("in", text)
	all, err := read(t, src, nil)
	require.NoError(t, err)
	require.Len(t, all, 2)

	put("in.gz", compressed(text)[:12]) // gzip is at work
	rest, err := read(t, src, &all[0].Cursor)
	require.NoError(t, err)
	require.Equal(t, []string{"in line 3: 3|4"}, texts(rest))
	put("in.gz", compressed(text))
	require.Equal(t, 1, count(t, src, &all[0].Cursor))
	require.NoError(t, os.Remove(filepath.Join(dir, "in")))
	rest, err = read(t, src, &all[0].Cursor)
	require.NoError(t, err)
	require.Equal(t, []string{"in.gz line 3: 3|4"}, texts(rest))
	rest, err = read(t, src, &all[1].Cursor)
	require.NoError(t, err)
	require.Empty(t, rest)

	put("in.gz", compressed("a,b\n7,8\n")) // another file
	rest, err = read(t, src, &all[1].Cursor)
	require.NoError(t, err)
	require.Equal(t, []string{"in.gz line 2: 7|8"}, texts(rest))

	// Another file beside the one that was read, with the same records before the cursor, or the same long header.
	put("in", text)
	put("in.gz", compressed("a,b\n1,2\n5,6\n"))
	rest, err = read(t, src, &all[0].Cursor)
	require.NoError(t, err)
	require.Equal(t, []string{"in line 3: 3|4", "in.gz line 2: 1|2", "in.gz line 3: 5|6"}, texts(rest))
	header := "a,b," + strings.Repeat("x", 1100) + "\n"
	put("in", header+"1,2,\n")
	put("in.gz", compressed(header+"7,8,\n"))
	all, err = read(t, src, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"in line 2: 1|2", "in.gz line 2: 7|8"}, texts(all))
}

// Another line at the cursor is an error, also where all lines are as long and the first 1 KiB is the same, as in
// an export that is written anew.
func TestResume_OtherTail(t *testing.T) {
	t.Parallel()
	lines := func(from, to int) (text string) {
		for i := from; i < to; i++ {
			text += fmt.Sprintf("\"%020d\nx\",%060d\r\n", i, i)
		}
		return text
	}
	for _, form := range []func(string) string{func(text string) string { return text }, compressed} {
		path := write(t, form("a,b\n"+lines(0, 100)))
		src := csvfile.Open[pair](path, &csvfile.Options{Partial: csvfile.Take})
		all, err := read(t, src, nil)
		require.NoError(t, err)
		require.Len(t, all, 100)
		require.NoError(t, os.WriteFile(path, []byte(form("a,b\n"+lines(0, 70)+lines(71, 105))), 0o600))
		rest, err := read(t, src, &all[69].Cursor)
		require.NoError(t, err)
		require.Len(t, rest, 34)
		_, err = read(t, src, &all[99].Cursor)
		require.ErrorContains(t, err, "line 201 was changed after it was read")
		requirePermanent(t, err)
		all[99].Cursor.Tail = 0 // of a cursor that somebody has set
		rest, err = read(t, src, &all[99].Cursor)
		require.NoError(t, err)
		require.Len(t, rest, 4)
	}
}

// A file that comes late, with a name before the cursor, is told.
func TestNotes_LateFile(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	file := func(hour int) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("a,b\n1,2\n"), ModTime: day.Add(time.Duration(hour) * time.Hour)}
	}
	dir := fstest.MapFS{"1.csv": file(1), "10.csv": file(2), "2.csv": file(3)}
	src := csvfile.OpenFS[pair](dir, "*.csv", nil)
	all, err := read(t, src, nil)
	require.NoError(t, err)
	require.Len(t, all, 3)
	noter, ok := src.(dataflow.Noter[csvfile.Cursor])
	require.True(t, ok)
	last := dataflow.Request[csvfile.Cursor]{From: all[2].Cursor, Resumed: true}
	notes, err := noter.Notes(t.Context(), last)
	require.NoError(t, err)
	require.Empty(t, notes)
	dir["11.csv"] = file(4)
	dir["3.csv"] = file(5)
	notes, err = noter.Notes(t.Context(), last)
	require.NoError(t, err)
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "before 2.csv, the last one read, 1 changed after it, such as 11.csv: no run reads what came late")
	delete(dir, "2.csv")
	notes, err = noter.Notes(t.Context(), last)
	require.NoError(t, err)
	require.Empty(t, notes)
}
