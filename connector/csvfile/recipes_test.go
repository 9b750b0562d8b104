package csvfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

// Each Go block of docs/connectors/files.md is in this file, so that it compiles, and a test
// runs it.

type Line struct {
	Article string  `csv:"Article"`
	Note    *string `csv:"Note"`
}

func recipes() map[string]dataflow.Source[Line, csvfile.Cursor] {
	sheet := csvfile.Open[Line]("export.csv", &csvfile.Options{
		HeaderAt: "Article", Footer: "Total", LazyQuotes: true, SurplusEmpty: true,
	})
	table := csvfile.Open[Line]("lines.txt", &csvfile.Options{
		Comma: '\t', Quote: csvfile.None, Escape: '\\', Null: []string{`\N`},
	})
	inbox := csvfile.OpenGlob[Line]("in/*.csv", &csvfile.Options{SkipUnreadable: true})
	return map[string]dataflow.Source[Line, csvfile.Cursor]{"sheet": sheet, "table": table, "inbox": inbox}
}

func TestRecipes(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("in", 0o700))
	for name, text := range map[string]string{
		"export.csv": "Orders of May\n\nArticle,Note\n=\"00123\",27\" TV,\n\"a, b\",,,\nTotals:,2\n",
		"lines.txt":  "Article\tNote\n\"a\\\tb\t\\N\nc\\\\\t\"\n",
		"in/1.csv":   "Article,Note\nx,y\n",
		"in/2.csv":   "Article\nx\n",
		"in/3.csv":   "Article,Note\nz,\n",
	} {
		require.NoError(t, os.WriteFile(filepath.FromSlash(name), []byte(text), 0o600))
	}
	note := func(s string) *string { return &s }
	want := map[string][]Line{
		"sheet": {{`="00123"`, note(`27" TV`)}, {"a, b", nil}},
		"table": {{"\"a\tb", nil}, {`c\`, note(`"`)}},
		"inbox": {{"x", note("y")}, {"z", nil}},
	}
	for name, src := range recipes() {
		var got []Line
		bad := 0
		for item, err := range src.Read(t.Context(), request(nil)) {
			if err != nil {
				bad++
				continue
			}
			got = append(got, item.Value)
		}
		require.Equal(t, want[name], got, name)
		require.Equal(t, map[string]int{"inbox": 1}[name], bad, name)
	}
}
