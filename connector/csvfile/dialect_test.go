package csvfile_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/csvfile"
)

func TestDialect(t *testing.T) {
	t.Parallel()
	const bare, extra = `bare " in non-quoted-field`, `extraneous or missing " in quoted-field`
	tab := func(o csvfile.Options) *csvfile.Options { o.Comma = '\t'; return &o }
	for _, tt := range []struct {
		name, file string
		opts       *csvfile.Options
		want       []string
		last       string
	}{
		// A file without quotes, with a cell that begins with one, and one that ends with one.
		{
			name: "QuoteNone", file: "a\tb\n1\t\"hello\n2\tfoo\n3\tbar\"\n\"4\"\t\"\"\n", opts: tab(csvfile.Options{Quote: csvfile.None}),
			want: []string{`line 2: 1|"hello`, "line 3: 2|foo", `line 4: 3|bar"`, `line 5: "4"|""`},
		},
		{name: "OtherQuote", file: "a,b\n'x,''y''','\"'\n\"1\",2\n", opts: &csvfile.Options{Quote: '\''}, want: []string{`line 2: x,'y'|"`, `line 3: "1"|2`}},
		{name: "OtherQuoteLines", file: "a,b\n'x\r\ny',2\n", opts: &csvfile.Options{Quote: '\''}, want: []string{"line 2: x\r\ny|2"}},
		// As MySQL and "copy … escape '\'" write quotes.
		{
			name: "Escape", file: "a,b\n\"a \\\"b\\\"\",\"\\\\\"\n\"\\N\",\"x\\\ny\"\n\\N,\\\"\"\n\"a\"\"b\",2\n", opts: &csvfile.Options{Escape: '\\'},
			want: []string{`line 2: a "b"|\`, "line 3: \\N|x\ny", "line 5: error: line 5, byte 5: " + bare, `line 6: a"b|2`},
		},
		// As MySQL and Postgres write their text formats.
		{
			name: "EscapeWithoutQuotes", file: "a\tb\n\\N\tx\\\ty\nx\\\\\t\"\nx\\\ny\\t\t2\nz\t\\\n", opts: tab(csvfile.Options{Quote: csvfile.None, Escape: '\\', Null: []string{`\N`}}),
			want: []string{"line 2: |x\ty", `line 3: x\|"`, "line 4: x\ny\t|2", "line 6: z|\n"},
		},
		// A text is another one than that of its escapes.
		{
			name: "EscapedControls", file: "a\tb\nx\\ty\tx\\\\ty\n\\b\\f\\n\\r\\v\\0\t\\\\b\\\\f\\\\n\\\\r\\\\v\\\\0\n\\a\\'\\\"\\\r\t\\\\\\t\n", opts: tab(csvfile.Options{Quote: csvfile.None, Escape: '\\'}),
			want: []string{"line 2: x\ty|x\\ty", "line 3: \b\f\n\r\v\x00|\\b\\f\\n\\r\\v\\0", "line 4: \\a'\"\r|\\\t"},
		},
		{name: "EscapedBreaks", file: "a,b\n\"x\\\r\ny\",\"\\\\\nz\\t\"\n", opts: &csvfile.Options{Escape: '\\'}, want: []string{"line 2: x\r\ny|\\\nz\\t"}},
		{
			name: "NotLazy", file: "a,b\n27\" TV,x\n=\"00123\",y\nab\"cd\"ef,z\n \"a\",1\n\"a\" ,2\n\"a\"b,3\n",
			want: []string{
				"line 2: error: line 2, byte 3: " + bare, "line 3: error: line 3, byte 2: " + bare, "line 4: error: line 4, byte 3: " + bare,
				"line 5: error: line 5, byte 2: " + bare, "line 6: error: line 6, byte 3: " + extra, "line 7: error: line 7, byte 3: " + extra,
			},
		},
		{
			name: "Lazy", file: "a,b\n27\" TV,x\n=\"00123\",y\nab\"cd\"ef,z\n \"a\",1\n\"a\" ,2\n\"a\"b,3\n\"27\" TV\",4\n\"a\" ,\"b\"\n\"a\" , \"b\"\n\"IT\"S\",\"say \"\"hi\"\"\"\n\"a\" \"b\",5\n\"x\ny\"z,6\n",
			opts: &csvfile.Options{LazyQuotes: true},
			want: []string{
				`line 2: 27" TV|x`, `line 3: ="00123"|y`, `line 4: ab"cd"ef|z`, `line 5:  "a"|1`, "line 6: a |2", "line 7: ab|3", `line 8: 27" TV|4`,
				"line 9: a |b", `line 10: a | "b"`, `line 11: IT"S|say "hi"`, `line 12: a" "b|5`, "line 13: x\nyz|6",
			},
		},
		// Files put together from several.
		{name: "HeaderAgain", file: "a,b\n1,2\na,b\n3,4\n", want: []string{
			"line 2: 1|2", "line 3: error: the record repeats the header: set SkipRepeatedHeader if the file was put together from several", "line 4: 3|4",
		}},
		{name: "SkipRepeatedHeader", file: "a,b\n1,2\n\"a\",b\n3,4\na,b\n", opts: &csvfile.Options{SkipRepeatedHeader: true}, want: []string{"line 2: 1|2", "line 4: 3|4"}},
		{name: "Surplus", file: "a,b\n1,2,\n3,4,,,\n5,6,7\n8\n", want: []string{
			"line 2: error: has 3 fields, but the header has 2: the surplus ones are empty: set SurplusEmpty to ignore them",
			"line 3: error: has 5 fields, but the header has 2: the surplus ones are empty: set SurplusEmpty to ignore them",
			"line 4: error: has 3 fields, but the header has 2", "line 5: error: has 1 field, but the header has 2",
		}},
		{name: "SurplusEmpty", file: "a,b\n1,2,\n3,4,,,\n5,6,7\n8\n", opts: &csvfile.Options{SurplusEmpty: true}, want: []string{
			"line 2: 1|2", "line 3: 3|4", "line 4: error: has 3 fields, but the header has 2", "line 5: error: has 1 field, but the header has 2",
		}},
		{name: "SurplusEmptyHeader", file: "a,b,,\n1,2\n3,4,,\n", opts: &csvfile.Options{SurplusEmpty: true}, want: []string{"line 2: 1|2", "line 3: 3|4"}},
		{name: "SkipLines", file: "Orders, \"2024\n\na,b\n1,2\n", opts: &csvfile.Options{SkipLines: 2}, want: []string{"line 4: 1|2"}},
		{name: "SkipLinesShort", file: "Orders\n", opts: &csvfile.Options{SkipLines: 2}},
		{name: "HeaderAt", file: "Orders\n\"bad\" one\nfrom,to,of\na,b\n1,2\n", opts: &csvfile.Options{HeaderAt: "b"}, want: []string{"line 5: 1|2"}},
		{name: "HeaderAtNowhere", file: "Orders\n1,2\n", opts: &csvfile.Options{HeaderAt: "b"}, last: `no record has the column "b" of HeaderAt: it ends at line 2`},
		{name: "Footer", file: "a,b\n1,2\nTotals: 1,\n9,9\n", opts: &csvfile.Options{Footer: "Totals"}, want: []string{"line 2: 1|2"}},
		{name: "Sep", file: "\xEF\xBB\xBFsep=;\r\na;b\r\n1,5;2\r\n", want: []string{"line 3: 1,5|2"}},
		{name: "SepAsAsked", file: "sep=;\na;b\n1;2\n", opts: &csvfile.Options{Comma: ';'}, want: []string{"line 3: 1|2"}},
		{name: "SepOther", file: "sep=;\na;b\n1;2\n", opts: &csvfile.Options{Comma: '|'}, last: `its first line says that ';' separates the cells, but Comma is '|': leave Comma out`},
		{name: "SepAndSkip", file: "sep=;\nOrders\na;b\n1;2\n", opts: &csvfile.Options{SkipLines: 1}, want: []string{"line 4: 1|2"}},
		{name: "CROnly", file: "a,b\r1,2\r", last: `its lines end in CR alone, as in files of old Macs: convert them to LF. The file then has more lines than one; as it is, its columns are "a", "b\r1", "2"`},
		{name: "CRLFInQuotes", file: "a,b\r\n\"x\r\ny\",\"\n\"\r\n", want: []string{"line 2: x\r\ny|\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, tt.file)
			src := csvfile.Open[pair](path, tt.opts)
			all, last := read(t, src, nil)
			if tt.opts != nil && len(tt.opts.Null) > 0 {
				require.Empty(t, all[0].Value.A)
			}
			require.Equal(t, tt.want, texts(all))
			if tt.last != "" {
				require.EqualError(t, last, "CSV file "+path+": "+tt.last)
				requirePermanent(t, last)
				return
			}
			require.NoError(t, last)
			require.Equal(t, len(all), count(t, src, nil))
			for i := range all {
				rest, err := read(t, src, &all[i].Cursor)
				require.NoError(t, err)
				require.Equal(t, all[i+1:], append([]got[pair]{}, rest...))
			}
		})
	}
}

// A record of 900 lines is one bad record, and its error says so.
func TestDialect_BadLines(t *testing.T) {
	t.Parallel()
	file := "a\tb\n1\t\"hello\n" + strings.Repeat("2\tfoo\n", 898) + "3\tbar\"\n4\tlast\n"
	src := csvfile.Open[pair](write(t, strings.Replace(file, "bar\"", "bar\" ", 1)), &csvfile.Options{Comma: '\t'})
	all, err := read(t, src, nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		`line 2: error: line 901, byte 6: extraneous or missing " in quoted-field: the record takes in the lines 2 to 901: close its quote, or set Quote to None if the file has no quotes`,
		"line 902: 4|last",
	}, texts(all))
}

// In a file of one column, a blank line is a record: Postgres writes a null so.
func TestDialect_BlankLineOfOneColumn(t *testing.T) {
	t.Parallel()
	src := csvfile.Open[struct{ Name *string }](write(t, "\nname\na\n\r\nb\n\n"), nil)
	all, err := read(t, src, nil)
	require.NoError(t, err)
	require.Len(t, all, 4)
	require.Equal(t, "a", *all[0].Value.Name)
	require.Nil(t, all[1].Value.Name)
	require.Equal(t, "line 4", all[1].Key)
	require.Equal(t, "b", *all[2].Value.Name)
	require.Nil(t, all[3].Value.Name)
	require.Equal(t, 4, count(t, src, nil))
}

// A bad record that is not UTF-8 is shown, and cannot be taken for a record.
func TestRaw_NotUTF8(t *testing.T) {
	t.Parallel()
	src := csvfile.Open[struct{ N int }](write(t, "n,t\nx,latin\xe9\n1,\"latin\xe9\"z\n"), nil)
	all, err := read(t, src, nil)
	require.NoError(t, err)
	require.Equal(t, `"x,latin\\xE9"`, all[0].Raw)
	require.Equal(t, `"1,\"latin\\xE9\"z"`, all[1].Raw)
}

func TestValidate_Dialect(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]csvfile.Options{
		"Quote: ':' cannot enclose":     {Quote: ':', Comma: ':'},
		"Quote: 'é' cannot enclose":     {Quote: 'é'},
		"Escape: ',' cannot escape":     {Escape: ','},
		"LazyQuotes: it is set, but":    {LazyQuotes: true, Quote: csvfile.None},
		"SkipLines: -1 is negative":     {SkipLines: -1},
		"Partial: 9 is unknown":         {Partial: 9},
		"Rest: -1ns is negative":        {Rest: -1},
		"Comma: '\\n' cannot separate":  {Comma: '\n', Quote: csvfile.None},
		"MaxRecordBytes: -1 is negativ": {MaxRecordBytes: -1},
	} {
		_, err := read(t, csvfile.Open[pair](filepath.Join(t.TempDir(), "x"), &opts), nil)
		require.ErrorContains(t, err, want)
	}
}

// A file whose lines end in CR alone is no file without records, if the first column is all that is wanted.
func TestDialect_CROnlyFirstColumn(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"a,b\r1,2\r3,4\r", "a,b\r1,2", "a,b\r1,2\r3,4\n"} {
		src := csvfile.Open[struct{ A string }](write(t, file), nil)
		_, err := read(t, src, nil)
		require.ErrorContains(t, err, "its lines end in CR alone")
		requirePermanent(t, err)
	}
}

// A quoted name may have a line break of any kind, also in a file without records.
func TestDialect_CRWithinName(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"a,\"b\rc\"\n", "a,\"b\r\nc\"\r\n", "a,\"b\r\nc\"", "a,b\r\r\n", "#\"x\"\r\na,\"\"\"b\rc\"\r\n"} {
		for _, record := range []string{"", "1,2\r\n"} {
			if record != "" && !strings.HasSuffix(file, "\n") {
				continue
			}
			got, err := read(t, csvfile.Open[struct{ A string }](write(t, file+record), &csvfile.Options{Comment: '#'}), nil)
			require.NoError(t, err, "%q", file)
			require.Len(t, got, min(len(record), 1), "%q", file)
		}
		_, err := read(t, csvfile.Open[struct{ C string }](write(t, file), &csvfile.Options{Comment: '#'}), nil)
		require.NotContains(t, fmt.Sprint(err), "CR alone", "%q", file)
	}
}
