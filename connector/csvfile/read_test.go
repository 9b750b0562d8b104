package csvfile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

func TestRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		file string
		opts *csvfile.Options
		want []string
		last string // the error that ends the read
	}{
		{name: "Empty", file: ""},
		{name: "BlankLines", file: "\n\r\n\n"},
		{name: "BOMOnly", file: "\xEF\xBB\xBF"},
		{name: "HeaderOnly", file: "a,b\n"},
		{name: "HeaderWithoutNewline", file: "a,b"},
		{name: "OneRecord", file: "a,b\n1,2\n", want: []string{"line 2: 1|2"}},
		{name: "NoFinalNewline", file: "a,b\n1,2\n3,4", want: []string{"line 2: 1|2", "line 3: 3|4"}},
		{name: "FinalCR", file: "a,b\n1,2\r", want: []string{"line 2: 1|2"}},
		{name: "OrderOfColumns", file: "x,b,y,a\n0,2,0,1\n", want: []string{"line 2: 1|2"}},
		{name: "CRLF", file: "a,b\r\n1,2\r\n\r\n3,4\r\n", want: []string{"line 2: 1|2", "line 4: 3|4"}},
		{name: "BOM", file: "\xEF\xBB\xBFa,b\n1,2\n", want: []string{"line 2: 1|2"}},
		{name: "BOMQuoted", file: "\xEF\xBB\xBF\"a\",b\n1,2\n", want: []string{"line 2: 1|2"}},
		{name: "LineBreakInQuotes", file: "a,b\n\"1\r\n\n1\",2\n3,4\n", want: []string{"line 2: 1\r\n\n1|2", "line 5: 3|4"}},
		{name: "LineBreakInHeader", file: "a,\"x\ny\",b\n1,,2\n", want: []string{"line 3: 1|2"}},
		{name: "DoubledQuote", file: "a,b\n\"say \"\"hi\"\"\",2\n", want: []string{`line 2: say "hi"|2`}},
		{name: "Unicode", file: "a,b\nÅse,日本\n", want: []string{"line 2: Åse|日本"}},
		{name: "SpaceIsText", file: "a,b\n 1 , 2\n", want: []string{"line 2:  1 | 2"}},
		{name: "TrimSpace", file: " a , b\n 1 , \" 2 \"\n", opts: &csvfile.Options{TrimSpace: true}, want: []string{"line 2: 1|2"}},
		{name: "TrimSpaceTabs", file: "a\tb\n\t2\n", opts: &csvfile.Options{TrimSpace: true, Comma: '\t'}, want: []string{"line 2: |2"}},
		{name: "TrimSpaceLines", file: "a,b\n \"1\n\n1\",2\n3, \"4\n\"\n", opts: &csvfile.Options{TrimSpace: true}, want: []string{"line 2: 1\n\n1|2", "line 5: 3|4"}},
		{name: "Semicolon", file: "a;b\n1,5;2\n", opts: &csvfile.Options{Comma: ';'}, want: []string{"line 2: 1,5|2"}},
		{name: "Comment", file: "# \"x\na,b\n#,\n1,2\n", opts: &csvfile.Options{Comment: '#'}, want: []string{"line 4: 1|2"}},
		{
			name: "FieldCount", file: "a,b\n1\n1,2,3\n1,2\n",
			want: []string{"line 2: error: has 1 field, but the header has 2", "line 3: error: has 3 fields, but the header has 2", "line 4: 1|2"},
		},
		{
			name: "BareQuote", file: "a,b\n\"x\ny\",a \" b\n1,2\n",
			want: []string{`line 2: error: line 3, byte 6: bare " in non-quoted-field: the record takes in the lines 2 to 3: close its quote, or set Quote to None if the file has no quotes`, "line 4: 1|2"},
		},
		{
			name: "MisplacedQuote", file: "a,b\n\"x\" y,2\n1,2\n\"x\ny\"z",
			want: []string{`line 2: error: line 2, byte 3: extraneous or missing " in quoted-field`, "line 3: 1|2", `line 4: error: line 5, byte 2: extraneous or missing " in quoted-field: the record takes in the lines 4 to 5: close its quote, or set Quote to None if the file has no quotes`},
		},
		{
			name: "UnclosedQuote", file: "a,b\n1,2\n\"x\ny\",\"z\n1,2\n",
			want: []string{"line 2: 1|2"}, last: "the quote that opens on line 4 is never closed and takes in the rest of the file: close it",
		},
		{name: "UnclosedQuoteAtEnd", file: "a,b\n\"", last: "the quote that opens on line 2 is never closed and takes in the rest of the file: close it"},
		{name: "UnclosedQuoteInHeader", file: "a,\"b\n1,2\n", last: "the quote that opens on line 1 is never closed and takes in the rest of the file: close it"},
		{name: "BareQuoteInHeader", file: "\na,b\"\n1,2\n", last: `header on line 2: line 2, byte 4: bare " in non-quoted-field`},
		{name: "UTF16", file: "\xFF\xFEa\x00,\x00b\x00", last: "the file is encoded as UTF-16: save it as UTF-8"},
		{
			name: "TooLong", file: "a,b\n1,2\n\"" + strings.Repeat("x\n", 200_000) + "\",2\n", opts: &csvfile.Options{MaxRecordBytes: 1000},
			want: []string{"line 2: 1|2"}, last: "the record after line 2 has more than 1000 bytes: close an open quote, or raise MaxRecordBytes",
		},
		{
			name: "LongLine", file: "a,b\n1," + strings.Repeat("x", 200_000) + "\n3,4\n",
			want: []string{"line 2: 1|" + strings.Repeat("x", 200_000), "line 3: 3|4"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, tt.file)
			src := csvfile.Open[pair](path, tt.opts)
			all, last := read(t, src, nil)
			require.Equal(t, tt.want, texts(all))
			if tt.last != "" {
				require.EqualError(t, last, "CSV file "+path+": "+tt.last)
				requirePermanent(t, last)
				return
			}
			require.NoError(t, last)
			require.Equal(t, len(tt.want), count(t, src, nil))
		})
	}
}

// requirePermanent checks that err is permanent. Only its type shows that.
func requirePermanent(t *testing.T, err error) {
	t.Helper()
	require.Equal(t, fmt.Sprintf("%T", dataflow.Permanent(errors.New("x"))), fmt.Sprintf("%T", err))
}

func TestRead_Raw(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, raw string }{
		{"Object", "n,t t\nx,\"say \"\"hi\"\"\n\"\n", `{"n":"x","t t":"say \"hi\"\n"}`},
		{"Short", "n,t\nx\n", `["x"]`},
		{"SameNames", "n,t,t\nx,1,2\n", `["x","1","2"]`},
		{"NotCSV", "n,t\n1,2\n\n1,\"x\" y \n", `"1,\"x\" y "`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			src := csvfile.Open[struct{ N int }](write(t, tt.file), nil)
			all, last := read(t, src, nil)
			require.NoError(t, last)
			require.NotEmpty(t, all)
			require.Equal(t, tt.raw, all[len(all)-1].Raw)
			require.True(t, json.Valid([]byte(tt.raw)))
		})
	}
}

func TestRead_MissingFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.csv")
	src := csvfile.Open[pair](path, nil)
	_, err := read(t, src, nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.EqualError(t, err, "CSV file: open "+path+": no such file or directory")
}

func TestRead_StopsWithContext(t *testing.T) {
	t.Parallel()
	src := csvfile.Open[pair](write(t, "a,b\n"+strings.Repeat("1,2\n", 10_000)), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n, last := 0, error(nil)
	for _, err := range src.Read(ctx, request(nil)) {
		n, last = n+1, err
		if n == 10 {
			cancel()
		}
	}
	require.ErrorIs(t, last, context.Canceled)
	require.Less(t, n, 1000)

	counter, ok := src.(dataflow.Counter[csvfile.Cursor])
	require.True(t, ok)
	_, err := counter.Count(ctx, request(nil))
	require.ErrorIs(t, err, context.Canceled)
}

func TestRead_ClosesFile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("looks at /proc/self/fd")
	}
	path := write(t, "a,b\n1,2\n3,4\n")
	src := csvfile.Open[pair](path, nil)
	opened := func() (n int) {
		fds, err := filepath.Glob("/proc/self/fd/*")
		require.NoError(t, err)
		for _, fd := range fds {
			if name, err := os.Readlink(fd); err == nil && name == path {
				n++
			}
		}
		return n
	}
	consume := func(do func()) {
		defer func() { _ = recover() }()
		for range src.Read(t.Context(), request(nil)) { //nolint:errcheck // the file is good
			require.Equal(t, 1, opened())
			do()
			return
		}
	}
	consume(func() {})
	require.Zero(t, opened())
	consume(func() { panic("the consumer fails") })
	require.Zero(t, opened())
	_, err := read(t, src, &csvfile.Cursor{Offset: 99, Line: 9})
	require.Error(t, err)
	_, err = read(t, csvfile.Open[struct{ Z string }](path, nil), nil)
	require.Error(t, err)
	count(t, src, nil)
	require.Zero(t, opened())
}

// NUL bytes after a gzip file fill up its last block. They are no part of it, as for gzip itself.
func TestRead_PaddedGzip(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.csv.gz")
	two := compressed("a,b\n1,2\n") + compressed("3,4\n")
	want := []string{"line 2: 1|2", "line 3: 3|4"}
	for _, n := range []int{0, 1, 9, 10, 70_000} {
		padded := two + strings.Repeat("\x00", n)
		require.NoError(t, os.WriteFile(path, []byte(padded), 0o600))
		for rested, ago := range map[bool]time.Duration{false: 0, true: time.Hour} {
			at := time.Now().Add(-ago)
			require.NoError(t, os.Chtimes(path, at, at))
			got, err := read(t, csvfile.Open[pair](path, nil), nil)
			require.NoError(t, err, "%d %v", n, rested)
			require.Equal(t, want, texts(got))
			got, err = read(t, csvfile.Open[pair](path, nil), &got[1].Cursor)
			require.NoError(t, err)
			require.Empty(t, got)
		}
	}
	require.NoError(t, os.WriteFile(path, []byte(two+"\x00\x00"+compressed("5,6\n")), 0o600))
	got, err := read(t, csvfile.Open[pair](path, nil), nil)
	require.NoError(t, err)
	require.Equal(t, append(want, "line 4: 5|6"), texts(got))
	require.NoError(t, os.WriteFile(path, []byte(two+"garbage"+two), 0o600))
	_, err = read(t, csvfile.Open[pair](path, nil), nil)
	require.ErrorContains(t, err, "other bytes than gzip stand after the end")
}

// Files that each begin with a byte order mark may be put together. The mark is no part of a cell.
func TestRead_MarkWithin(t *testing.T) {
	t.Parallel()
	const mark = "\xEF\xBB\xBF"
	path := filepath.Join(t.TempDir(), "n.csv")
	for form, encode := range map[string]func(string) string{"Plain": func(s string) string { return s }, "Gzip": compressed} {
		text := encode(mark+"a,b\n1,2\n") + encode(mark+"3,\"4\n"+mark+"\"\n") + encode(mark+"a,b\n"+mark+"\n"+mark+"\"5\",6\n"+mark)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		src := csvfile.Open[pair](path, &csvfile.Options{SkipRepeatedHeader: true, Partial: csvfile.Take})
		got, err := read(t, src, nil)
		require.NoError(t, err, form)
		want := []string{"line 2: 1|2", "line 3: 3|4\n" + mark, "line 7: 5|6"}
		require.Equal(t, want, texts(got), form)
		require.Equal(t, 3, count(t, src, nil))
		for i := range got {
			rest, err := read(t, src, &got[i].Cursor)
			require.NoError(t, err)
			require.ElementsMatch(t, want[i+1:], texts(rest), form)
		}
	}
	// The header is noticed, although all its cells are texts.
	require.NoError(t, os.WriteFile(path, []byte(mark+"a,b\n1,2\n"+mark+"a,b\n3,4\n"), 0o600))
	got, err := read(t, csvfile.Open[pair](path, nil), nil)
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Contains(t, got[1].Err, "repeats the header")
}
