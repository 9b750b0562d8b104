package cli_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/internal/cli"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// A file's dialect is guessed without a database. What is in doubt is said, and so are the
// records that are bad with the guessed options.
func TestPreview_File(t *testing.T) {
	t.Parallel()
	c := newCLI(t, "")
	c.env = map[string]string{}
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "in.csv")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	sure := c.ok("preview", "--file", file("id;name\n1;a\n2;b\n"))
	require.Contains(t, sure, `&csvfile.Options{Comma: ';'}`)
	require.Contains(t, sure, "2 good records, 0 bad")
	require.Contains(t, sure, "Nothing speaks against this guess.")
	doubtful := c.ok("preview", "--file", file("id;name\n1;a\n2;b\n3\n4;d\n5;e\n"))
	require.Contains(t, doubtful, "4 good records, 1 bad")
	require.Contains(t, doubtful, "This is a guess. Look at:\n- line 4 has 1 cells")
	require.Contains(t, doubtful, "the first bad record is line 4")
	require.Contains(t, c.ok("preview", "--file", file("\xff\xfei\x00")), "cannot be read: it is UTF-16 LE")
	require.Contains(t, c.fails(1, "preview", "--file", file("")+".missing"), "no such file")
	require.Contains(t, c.fails(2, "preview", "orders", "--file", file("")), "orders")
	var v struct {
		Sure    bool
		Options string
		Columns []string
		Good    int
	}
	require.NoError(t, json.Unmarshal([]byte(c.ok("preview", "--file", file("id,name\n1,a\n"), "-o", "json")), &v))
	require.True(t, v.Sure)
	require.Equal(t, "nil", v.Options)
	require.Equal(t, []string{"id", "name"}, v.Columns)
	require.Equal(t, 1, v.Good)
}

// The preview of a flow says how its file seems to be written, above all where the flow cannot
// read it.
func TestPreview_FlowFile(t *testing.T) {
	t.Parallel()
	type row struct {
		ID   int    `csv:"id"`
		Name string `csv:"name"`
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.csv"), []byte("id;name\n1;a\n"), 0o600))
	path := dbtest.SQLitePath(t)
	c := newCLI(t, path)
	flow := func(name string, source dataflow.Source[row, csvfile.Cursor]) *dataflow.Flow {
		return dataflow.NewFlow(name, source, dataflow.Identity[row](), memory.NewSink[row]().Target(), nil)
	}
	c.program.Configure = func(context.Context, cli.Database) (*dataflow.Config, error) {
		return &dataflow.Config{Flows: []*dataflow.Flow{
			flow("wrong", csvfile.Open[row](filepath.Join(dir, "a.csv"), nil)),
			flow("right", csvfile.OpenGlob[row](filepath.Join(dir, "*.csv"), &csvfile.Options{Comma: ';'})),
		}}, nil
	}
	c.ok("migrate", "up")
	require.Contains(t, c.fails(1, "preview", "wrong"), "a.csv seems to be written for the options &csvfile.Options{Comma: ';'}.")
	require.Contains(t, c.ok("preview", "right"), "a.csv seems to be written for the options &csvfile.Options{Comma: ';'}.")
}
