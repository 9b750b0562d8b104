package jsonl_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
)

// read reads everything after the cursor; nil means from the beginning. It returns
// each record and each bad one as a text, and the error that ended the read.
func read[T any](tb testing.TB, src dataflow.Source[T, jsonl.Cursor], from *jsonl.Cursor) (texts []string, cursors []jsonl.Cursor, last error) {
	tb.Helper()
	r := dataflow.Request[jsonl.Cursor]{}
	if from != nil {
		r = dataflow.Request[jsonl.Cursor]{From: *from, Resumed: true}
	}
	for item, err := range src.Read(tb.Context(), r) {
		var bad *dataflow.RecordError
		switch {
		case errors.As(err, &bad):
			require.Equal(tb, item.Cursor.String(), bad.Key)
			texts = append(texts, fmt.Sprintf("%s: error: %v: %s", item.Cursor, bad.Err, bad.Raw))
		case err != nil:
			return texts, cursors, err
		default:
			texts = append(texts, fmt.Sprintf("%s: %v", item.Cursor, item.Value))
		}
		cursors = append(cursors, item.Cursor)
	}
	return texts, cursors, nil
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		file string
		opts *jsonl.Options
		want []string
		last string // the error that ends the read
	}{
		{name: "Empty"},
		{name: "Blank", file: "\n \r\n\t\n"},
		{name: "BOMOnly", file: "\xEF\xBB\xBF"},
		{name: "BOM", file: "\xEF\xBB\xBF{\"name\":\"a\"}\n", want: []string{"line 1: {a 0 []}"}},
		{name: "NoFinalNewline", file: "{\"name\":\"a\"}\r\n\n{\"seen\":2}", want: []string{"line 1: {a 0 []}", "line 3: { 2 []}"}},
		{name: "NothingIsLeftOfTheRecordBefore", file: "{\"name\":\"a\",\"tags\":[\"x\"]}\n{\"seen\":1}\n", want: []string{"line 1: {a 0 [x]}", "line 2: { 1 []}"}},
		{name: "UnknownField", file: "{\"seen\":1,\"x\":2}\n", want: []string{"line 1: { 1 []}"}},
		{
			name: "UnknownFieldStrict", file: "{\"seen\":1,\"x\":2}\n{\"seen\":3}\n", opts: &jsonl.Options{Strict: true},
			want: []string{"line 1: error: at byte 0: json: unknown field \"x\": {\"seen\":1,\"x\":2}", "line 2: { 3 []}"},
		},
		{
			name: "NotJSON", file: "{\"seen\":1}\nseen 2\n{\"seen\":3}{\n{\"seen\":4}\n",
			want: []string{
				"line 1: { 1 []}",
				`line 2: error: at byte 11: invalid character 's' looking for beginning of value: "seen 2"`,
				`line 3: error: at byte 18: invalid character '{' after top-level value: "{\"seen\":3}{"`,
				"line 4: { 4 []}",
			},
		},
		{
			name: "NotJSONStrict", file: "{\"seen\":\n{\"seen\":3}{}\n[]\n", opts: &jsonl.Options{Strict: true},
			want: []string{
				`line 1: error: at byte 0: the JSON value on the line is cut off: "{\"seen\":"`,
				`line 2: error: at byte 9: the line has more text after its JSON value: write one value a line: "{\"seen\":3}{}"`,
				`line 3: error: at byte 22: json: cannot unmarshal array into Go value of type jsonl_test.bird: []`,
			},
		},
		{
			name: "OtherType", file: "{\"name\":\"a\",\"seen\":\"many\"}\n{\"seen\":3}\n",
			want: []string{
				`line 1: error: at byte 0: json: cannot unmarshal string into Go struct field bird.seen of type int: {"name":"a","seen":"many"}`,
				"line 2: { 3 []}",
			},
		},
		{
			name: "TooLong", file: "{\"seen\":1}\n{\"name\":\"" + strings.Repeat("x", 200_000) + "\"}\r\n{\"seen\":3}\n{\"name\":\"abc\"}", opts: &jsonl.Options{MaxLineBytes: 11},
			want: []string{
				"line 1: { 1 []}",
				`line 2: error: at byte 11: the line has more than 11 bytes: raise MaxLineBytes: "{\"name\":\"xx"`,
				"line 3: { 3 []}",
				`line 4: error: at byte 200035: the line has more than 11 bytes: raise MaxLineBytes: "{\"name\":\"ab"`,
			},
		},
		{name: "UTF16", file: "\xFF\xFE{\x00}\x00", last: "the file is encoded as UTF-16: save it as UTF-8"},
		{name: "TornGzip", file: string(compressed([]byte(strings.Repeat("{\"seen\":1}\n", 10))))[:20], last: "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, "data.jsonl", []byte(tt.file))
			texts, _, last := read(t, jsonl.Open[bird](path, tt.opts), nil)
			require.Equal(t, tt.want, texts)
			if tt.last != "" {
				require.ErrorContains(t, last, "JSON lines of "+path+": ")
				require.ErrorContains(t, last, tt.last)
				return
			}
			require.NoError(t, last)
		})
	}
}

// Appended lines are read, and changed lines are an error.
func TestResume_Grown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file, then string
		want             []string
		err              string
	}{
		{name: "Nothing", file: "1\n", then: "1\n"},
		{name: "Lines", file: "1\n", then: "1\n2\n3", want: []string{"line 2: 2", "line 3: 3"}},
		{name: "LF", file: "1", then: "1\n2\n", want: []string{"line 2: 2"}},
		{name: "CRLF", file: "1", then: "1\r\n2\n", want: []string{"line 2: 2"}},
		{name: "Space", file: "{}", then: "{} \t\r\n2\n", want: []string{"line 2: 2"}},
		{name: "SpaceAlone", file: "{}", then: "{} "},
		{name: "SpaceAndMore", file: "{}", then: "{} 2\n", err: "line 1 was changed after it was read: no line ends at byte 2 now"},
		{name: "SameLine", file: "1", then: "12\n", err: "line 1 was changed after it was read: no line ends at byte 1 now"},
		{name: "Cut", file: "1\n", then: "", err: "the file has 0 bytes, but the cursor is at byte 2 (line 1): the file was cut or replaced"},
	} {
		for form, encode := range map[string]func([]byte) []byte{"Plain": func(b []byte) []byte { return b }, "Gzip": compressed} {
			t.Run(tt.name+form, func(t *testing.T) {
				t.Parallel()
				path := write(t, "data", encode([]byte(tt.file)))
				src := jsonl.Open[any](path, nil)
				texts, cursors, err := read(t, src, nil)
				require.NoError(t, err)
				require.Len(t, texts, 1)
				require.NoError(t, os.WriteFile(path, encode([]byte(tt.then)), 0o600))
				rest(t, path)
				texts, _, err = read(t, src, &cursors[0])
				require.Equal(t, tt.want, texts)
				if tt.err != "" {
					require.ErrorContains(t, err, tt.err)
					require.True(t, dataflow.IsPermanent(errors.Unwrap(err)) || dataflow.IsPermanent(err))
					return
				}
				require.NoError(t, err)
			})
		}
	}
}

// New files are read later; files that were read may be removed.
func TestResume_NewFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	src := jsonl.OpenFS[int](os.DirFS(dir), "*.jsonl", nil)
	texts, _, err := read(t, src, nil)
	require.NoError(t, err)
	require.Empty(t, texts)

	put("2.jsonl", "20\n21\n")
	put("3.jsonl", "30\n")
	texts, cursors, err := read(t, src, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"2.jsonl line 1: 20", "2.jsonl line 2: 21", "3.jsonl line 1: 30"}, texts)

	put("3.jsonl", "30\n31\n")
	put("4.jsonl", "40\n")
	require.NoError(t, os.Remove(filepath.Join(dir, "2.jsonl")))
	texts, cursors, err = read(t, src, &cursors[2])
	require.NoError(t, err)
	require.Equal(t, []string{"3.jsonl line 2: 31", "4.jsonl line 1: 40"}, texts)
	require.NoError(t, os.Remove(filepath.Join(dir, "4.jsonl")))
	put("5.jsonl", "50\n")
	texts, _, err = read(t, src, &cursors[1])
	require.NoError(t, err)
	require.Equal(t, []string{"5.jsonl line 1: 50"}, texts)
}

func TestFrom_Twice(t *testing.T) {
	t.Parallel()
	src := jsonl.From[int](strings.NewReader("1\n2\n"), nil)
	for i := range 2 {
		var n int
		var last error
		for _, err := range src.Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
			n, last = n+1, err
		}
		if i == 0 {
			require.Equal(t, 2, n)
			require.NoError(t, last)
			continue
		}
		require.ErrorContains(t, last, "the reader was already read")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for field, part := range map[string]any{
		"Path":         jsonl.Open[int]("", nil),
		"Pattern":      jsonl.OpenGlob[int]("[", nil),
		"FS":           jsonl.OpenFS[int](nil, "*", nil),
		"MaxLineBytes": jsonl.Open[int]("a", &jsonl.Options{MaxLineBytes: -1}),
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			var wrong *dataflow.ConfigError
			require.ErrorAs(t, part.(dataflow.Validator).Validate(), &wrong)
			require.Equal(t, field, wrong.Field)
			src := part.(dataflow.Source[int, jsonl.Cursor])
			_, _, err := read(t, src, nil)
			require.ErrorAs(t, err, &wrong)
			require.True(t, dataflow.IsPermanent(err))
		})
	}
}

// FuzzResume requires, for any file, plain or compressed, that a read from a
// record's cursor yields the same records as the rest of a full read.
func FuzzResume(f *testing.F) {
	for _, file := range []string{"", "1\n2", "\xEF\xBB\xBF1\r\n\r\n\"x\"\r", "{}\n{\n[1]\n\n", "123456789\n1\r", "\x1f\x8b1\n"} {
		f.Add([]byte(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 1000 {
			t.Skip("long files only take long")
		}
		opts := &jsonl.Options{MaxLineBytes: 6}
		plain := jsonl.Open[any](write(t, "a", file), opts)
		all, cursors, last := read(t, plain, nil)
		sources := []dataflow.Source[any, jsonl.Cursor]{plain}
		if last == nil {
			sources = append(sources, jsonl.Open[any](write(t, "b", compressed(file)), opts))
		}
		for _, src := range sources {
			for i := range cursors {
				rest, _, err := read(t, src, &cursors[i])
				require.Equal(t, last == nil, err == nil)
				require.Equal(t, all[i+1:], append([]string{}, rest...))
			}
		}
	})
}

// Another file in the place of the one that was read is an error, and the end of a file that
// holds only NUL bytes is left.
func TestResume_Replaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.jsonl")
	src := jsonl.Open[int](path, &jsonl.Options{Partial: jsonl.Take})
	put(t, path, []byte("1\n2\n\x00\x00\x00\x00"))
	got, at, bad, err := readInts(t, src, jsonl.Cursor{})
	require.NoError(t, err)
	require.Zero(t, bad)
	require.Equal(t, []int{1, 2}, got)
	put(t, path, []byte("1\n2\n3\n4\n"))
	got, _, _, err = readInts(t, src, at)
	require.NoError(t, err)
	require.Equal(t, []int{3, 4}, got)
	put(t, path, []byte("7\n8\n9\n"))
	_, _, _, err = readInts(t, src, at)
	require.ErrorContains(t, err, "its first records were changed after they were read")
	require.True(t, dataflow.IsPermanent(err))
}

// A file that gzip has compressed, or is compressing, is the file that was read.
func TestResume_Compressed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name string, text []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	src := jsonl.OpenFS[int](os.DirFS(dir), "log*", nil)
	put("log-1", []byte("10\n11\n"))
	put("log-2", []byte("20\n21\n22\n"))
	_, cursors, err := read(t, src, nil)
	require.NoError(t, err)
	require.Len(t, cursors, 5)

	whole := compressed([]byte("20\n21\n22\n"))
	for _, written := range []int{0, 5, 12, len(whole) - 8, len(whole)} { // gzip is at work
		put("log-2.gz", whole[:written])
		texts, _, err := read(t, src, &cursors[2])
		require.NoError(t, err)
		require.Equal(t, []string{"log-2 line 2: 21", "log-2 line 3: 22"}, texts, "%d", written)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "log-2")))
	put("log-3", []byte("30\n"))
	texts, after, err := read(t, src, &cursors[2])
	require.NoError(t, err)
	require.Equal(t, []string{"log-2.gz line 2: 21", "log-2.gz line 3: 22", "log-3 line 1: 30"}, texts)
	texts, _, err = read(t, src, &after[0])
	require.NoError(t, err)
	require.Equal(t, []string{"log-2.gz line 3: 22", "log-3 line 1: 30"}, texts)

	put("log-2.gz", compressed([]byte("70\n71\n"))) // another file
	texts, _, err = read(t, src, &cursors[4])
	require.NoError(t, err)
	require.Equal(t, []string{"log-2.gz line 1: 70", "log-2.gz line 2: 71", "log-3 line 1: 30"}, texts)
	put("log-2", []byte("20\n21\n22\n"))
	texts, _, err = read(t, src, &cursors[4])
	require.NoError(t, err)
	require.Equal(t, []string{"log-2.gz line 1: 70", "log-2.gz line 2: 71", "log-3 line 1: 30"}, texts)
	put("log-2.gz", compressed([]byte("20\n71\n"))) // with the same line before the cursor
	texts, _, err = read(t, src, &cursors[2])
	require.NoError(t, err)
	require.Equal(t, []string{"log-2 line 2: 21", "log-2 line 3: 22", "log-2.gz line 1: 20", "log-2.gz line 2: 71", "log-3 line 1: 30"}, texts)
}

// Another line at the cursor is an error, also where all lines are as long and the first 1 KiB is the same.
func TestResume_OtherTail(t *testing.T) {
	t.Parallel()
	lines := func(from, to int) (text []byte) {
		for i := from; i < to; i++ {
			text = fmt.Appendf(text, "\xEF\xBB\xBF\"%060d\"\r\n", i)
		}
		return text
	}
	for _, form := range []func([]byte) []byte{func(text []byte) []byte { return text }, compressed} {
		path := filepath.Join(t.TempDir(), "a.jsonl")
		put(t, path, form(lines(0, 100)))
		src := jsonl.Open[string](path, nil)
		_, cursors, err := read(t, src, nil)
		require.NoError(t, err)
		require.Len(t, cursors, 100)
		put(t, path, form(append(lines(0, 70), lines(71, 105)...)))
		texts, _, err := read(t, src, &cursors[69])
		require.NoError(t, err)
		require.Len(t, texts, 34)
		_, _, err = read(t, src, &cursors[99])
		require.ErrorContains(t, err, "line 100 was changed after it was read")
		cursors[99].Tail = 0 // of a cursor that somebody has set
		texts, _, err = read(t, src, &cursors[99])
		require.NoError(t, err)
		require.Len(t, texts, 4)
	}
}

// A file that comes late, with a name before the cursor, is told.
func TestNotes_LateFile(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	file := func(hour int) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("7\n"), ModTime: day.Add(time.Duration(hour) * time.Hour)}
	}
	dir := fstest.MapFS{"1.jsonl": file(1), "10.jsonl": file(2), "2.jsonl": file(3)}
	src := jsonl.OpenFS[int](dir, "*.jsonl", nil)
	_, cursors, err := read(t, src, nil)
	require.NoError(t, err)
	require.Len(t, cursors, 3)
	noter, ok := src.(dataflow.Noter[jsonl.Cursor])
	require.True(t, ok)
	last := dataflow.Request[jsonl.Cursor]{From: cursors[2], Resumed: true}
	notes, err := noter.Notes(t.Context(), last)
	require.NoError(t, err)
	require.Empty(t, notes)
	dir["11.jsonl"] = file(4)
	dir["3.jsonl"] = file(5)
	notes, err = noter.Notes(t.Context(), last)
	require.NoError(t, err)
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "before 2.jsonl, the last one read, 1 changed after it, such as 11.jsonl: no run reads what came late")
	delete(dir, "2.jsonl")
	notes, err = noter.Notes(t.Context(), last)
	require.NoError(t, err)
	require.Empty(t, notes)
}
