package csvguess_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/csvguess"
)

// What a file seems to be, and what is said to be in doubt about it. A guess without a doubt is
// right.
func TestBytes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, options string
		header        bool
		doubts        []string // parts of them
	}{
		"comma":           {"id,name\n1,a\n2,b\n", `nil`, true, nil},
		"semicolon":       {"id;name;price\n1;\"A; b\";1,5\n2;C;2,25\n", `&csvfile.Options{Comma: ';'}`, true, nil},
		"decimal commas":  {"a;b\n1,5;2,5\n1,7;2,8\n", `&csvfile.Options{Comma: ';'}`, true, nil},
		"tab":             {"id\tname\n1\ta, b\n", `&csvfile.Options{Comma: '\t'}`, true, nil},
		"bar":             {"id|name\n1|\"x\"\" y\"\n", `&csvfile.Options{Comma: '|'}`, true, nil},
		"sep":             {"sep=;\nid;name\n1;x\n", `&csvfile.Options{Comma: ';'}`, true, []string{"Comma may be left out"}},
		"single quotes":   {"id,name\n1,'a, b'\n2,'c, d'\n", `&csvfile.Options{Quote: '\''}`, true, nil},
		"escaped quotes":  {"id,name\n1,\"a \\\"b\\\" c\"\n2,\"x, y\"\n", `&csvfile.Options{Escape: '\\'}`, true, nil},
		"line breaks":     {"id,txt\n1,\"line\nbreak\"\n2,\"a\n\nc\"\n", `nil`, true, nil},
		"inches":          {"id\tname\n1\t27\" TV\n2\t\\N\n", "&csvfile.Options{Comma: '\\t', Null: []string{\"\", `\\N`}, Quote: csvfile.None}", true, []string{"taken as text"}},
		"misplaced quote": {"id,name\n1,\"a, b\"\n2,27\" TV\n3,\"c, d\"\n4,\"e, f\"\n", `&csvfile.Options{LazyQuotes: true}`, true, []string{"1 quotes are misplaced"}},
		"title, footer":   {"Report 2026\n\nid,name,n\n1,a,2\n2,b,3\nTotal,,5\n", `&csvfile.Options{Footer: "Total", SkipLines: 2}`, true, []string{"title", "footer"}},
		"comments":        {"# export\n# of today\nid,name\n1,x\n2,y\n", `&csvfile.Options{Comment: '#'}`, true, nil},
		"header with #":   {"#id,name\n1,x\n2,y\n", `nil`, true, []string{"may be the header"}},
		"surplus cells":   {"id,name\n1,a,\n2,b,\n", `&csvfile.Options{SurplusEmpty: true}`, true, nil},
		"no header":       {"1,a,2020-01-01\n2,b,2020-01-02\n", `nil`, false, []string{"may be no header"}},
		"ambiguous":       {"1,5;2,5\n1,7;2,8\n", `nil`, false, []string{"may be no header", "';' would fit nearly as well"}},
		"text only":       {"name,town\nann,rome\nbob,oslo\n", `nil`, true, []string{"may be the header or not"}},
		"one column":      {"n\n1\n2\n", `nil`, true, nil},
		"other separator": {"id^n\n1^2\n2^3\n", `nil`, true, []string{"may be the header or not", "set Comma"}},
		"ragged":          {"id,name\n1,a\n2\n3,c\n4,d\n5,e\n6,f\n", `nil`, true, []string{"line 3 has 1 cells, the first record has 2"}},
		"same names":      {"id,n,n\n1,2,3\n", `nil`, true, []string{`two columns have the name "n"`}},
		"no name":         {"id,,n\n1,2,3\n", `nil`, true, []string{"column 2 of the first record has no name"}},
		"NULL":            {"id,n\n1,NULL\n", `nil`, true, []string{"unless Null lists it"}},
		"NUL":             {"id,n\n1,a\x00b\n2,some longer text\n", `nil`, true, []string{"1 NUL bytes"}},
		"header only":     {"id,name\n", `nil`, true, nil},
		"Latin-1":         {"id,name\n1,caf\xe9\n", `nil`, true, []string{"line 2 is not UTF-8"}},
	} {
		g := csvguess.Bytes([]byte(c.text), true)
		require.Empty(t, g.Refused, name)
		require.Equal(t, c.options, g.Options(), name)
		require.Equal(t, c.header, g.Header, name)
		require.Len(t, g.Doubts, len(c.doubts), "%s: %q", name, g.Doubts)
		for i, part := range c.doubts {
			require.Contains(t, g.Doubts[i], part, name)
		}
	}
}

// Files that no options read, with what to do.
func TestBytes_Refused(t *testing.T) {
	t.Parallel()
	for text, reason := range map[string]string{
		"\xff\xfei\x00d\x00\n\x00":   "iconv -f UTF-16LE",
		"\xfe\xff\x00i\x00d\x00\n":   "iconv -f UTF-16BE",
		"i\x00d\x00,\x00n\x00\n\x00": "iconv -f UTF-16LE",
		"id,name\r1,a\r":             "CR alone",
		" \n\n":                      "no text",
	} {
		require.Contains(t, csvguess.Bytes([]byte(text), true).Refused, reason, "%q", text)
	}
}

// A sample ends anywhere, also within a character, a line or a quoted cell.
func TestBytes_Sample(t *testing.T) {
	t.Parallel()
	text := "id;name\n" + strings.Repeat("1;\"é, ü;\"\n", 50)
	for n := 40; n < len(text); n++ {
		g := csvguess.Bytes([]byte(text[:n]), false)
		require.Equal(t, `&csvfile.Options{Comma: ';'}`, g.Options(), n)
		require.Empty(t, g.Doubts, n)
		require.Equal(t, "UTF-8", g.Encoding)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.csv.gz")
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte("\xEF\xBB\xBFid;n\n1;2\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	g, err := csvguess.File(path)
	require.NoError(t, err)
	require.Equal(t, "UTF-8 with a byte order mark", g.Encoding)
	require.Equal(t, ';', g.Comma)
	require.True(t, g.Whole)
	_, err = csvguess.File(path + ".missing")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A sample without a line feed is text all the same.
func TestBytes_LongSample(t *testing.T) {
	t.Parallel()
	lines := strings.Repeat("1;2;3\r", 1000)
	require.Contains(t, csvguess.Bytes([]byte("a;b;c\r"+lines), false).Refused, "end with CR alone")
	g := csvguess.Bytes([]byte(strings.Repeat("a;", 1000)), false)
	require.Empty(t, g.Refused)
	require.Equal(t, ';', g.Comma)
}
