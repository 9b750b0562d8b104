package connector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/dataflowtest"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Each Go block of the README is in this file, so that it compiles and a test runs it.

// Inbox reads the letters in a directory, in the order of their names. The cursor is
// the name of the last letter.
type Inbox struct{ Dir string }

type Letter struct{ Name, Text string }

func (in Inbox) Read(ctx context.Context, r dataflow.Request[string]) iter.Seq2[dataflow.Item[Letter, string], error] {
	return func(yield func(dataflow.Item[Letter, string], error) bool) {
		entries, err := os.ReadDir(in.Dir) // sorted
		if err != nil {
			yield(dataflow.Item[Letter, string]{}, err) // ends the read
			return
		}
		for _, entry := range entries {
			name := entry.Name()
			if name <= r.From { // it was read; From is empty at first
				continue
			}
			item := dataflow.Item[Letter, string]{Cursor: name, Resume: true}
			var bad error
			text, err := os.ReadFile(filepath.Join(in.Dir, name))
			switch {
			case err != nil:
				bad = err
			case !utf8.Valid(text):
				bad = &dataflow.RecordError{Key: name, Err: errors.New("it is not UTF-8")} // and on
			default:
				item.Value = Letter{Name: name, Text: string(text)}
			}
			if ctx.Err() != nil {
				bad = ctx.Err()
			}
			if !yield(item, bad) {
				return
			}
		}
	}
}

// Outbox writes a file for each letter, named by its key: a letter that comes again
// takes the place of its file.
type Outbox struct{ Dir string }

func (out Outbox) Write(ctx context.Context, b dataflow.SinkBatch[Letter]) error {
	for i, letter := range b.Rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := strings.ReplaceAll(b.Keys[i], "/", "-")
		if err := os.WriteFile(filepath.Join(out.Dir, name), []byte(letter.Text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func letters(in, out string) *dataflow.Flow {
	return dataflow.NewFlow("letters", Inbox{Dir: in}, dataflow.Identity[Letter](),
		dataflow.To(Outbox{Dir: out}), &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(10)})
}

func TestInbox_Contract(t *testing.T) {
	t.Parallel()
	connectortest.TestSource(t, connectortest.SourceConfig[Letter, string]{
		Make: func(t *testing.T, rows []Letter) dataflow.Source[Letter, string] {
			t.Helper()
			return Inbox{Dir: written(t, rows)}
		},
		MakeBad: func(t *testing.T, rows []Letter, at int) dataflow.Source[Letter, string] {
			t.Helper()
			return Inbox{Dir: writtenBad(t, rows, at)}
		},
		Rows: someLetters,
	})
}

func someLetters(n int) []Letter {
	rows := make([]Letter, n)
	for i := range rows {
		rows[i] = Letter{Name: fmt.Sprintf("%05d.txt", i), Text: fmt.Sprintf("Dear %d, é", i)}
	}
	return rows
}

func written(t *testing.T, rows []Letter) string {
	t.Helper()
	dir := t.TempDir()
	for _, row := range rows {
		require.NoError(t, os.WriteFile(filepath.Join(dir, row.Name), []byte(row.Text), 0o600))
	}
	return dir
}

// writtenBad writes the letters, with one that cannot be read before rows[at].
func writtenBad(t *testing.T, rows []Letter, at int) string {
	t.Helper()
	dir := written(t, rows)
	name := "00000"
	if at > 0 {
		name = rows[at-1].Name + "+"
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("\xff"), 0o600))
	return dir
}

func TestOutbox_Contract(t *testing.T) {
	t.Parallel()
	connectortest.TestSink(t, connectortest.SinkConfig[dataflow.Sink[Letter], Letter]{
		Make: func(t *testing.T) (dataflow.Sink[Letter], func() []Letter) {
			t.Helper()
			dir := t.TempDir()
			return Outbox{Dir: dir}, func() []Letter { return posted(t, dir) }
		},
		Rows: func(n int) []Letter { // the part of a letter that a file holds
			rows := someLetters(n)
			for i := range rows {
				rows[i].Name = ""
			}
			return rows
		},
		Unordered: true,
	})
}

// posted reads the letters in an outbox.
func posted(t *testing.T, dir string) []Letter {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var rows []Letter
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		require.NoError(t, err)
		rows = append(rows, Letter{Text: string(text)})
	}
	return rows
}

// The README's flow carries each letter over once.
func TestReadme_Flow(t *testing.T) {
	t.Parallel()
	in, out := writtenBad(t, someLetters(5), 2), t.TempDir()
	var log bytes.Buffer
	client := dataflowtest.NewOn(t, dataflowsqlite.New(dbtest.SQLite(t)), &dataflow.Config{
		Flows: []*dataflow.Flow{letters(in, out)}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}).Client()
	for i, want := range []dataflow.Counters{{Read: 6, Written: 5, Dropped: 1}, {}} {
		run, err := client.Trigger(t.Context(), "letters", nil)
		require.NoError(t, err)
		require.Equal(t, want, run.Counters, "run %d", i+1)
	}
	require.Len(t, posted(t, out), 5)
	require.Contains(t, log.String(), "it is not UTF-8")
}

func TestReadme_BlocksAreCode(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("readme_test.go")
	require.NoError(t, err)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```(\\w*)\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		require.Equal(t, "go", block[1])
		require.Contains(t, flatten(string(code)), flatten(block[2]), "this block is not in the code:\n%s", block[2])
	}
}

// Each package has its row in the README, and each link of the README has a target.
func TestReadme_Packages(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, entry := range entries {
		if entry.IsDir() {
			require.Contains(t, string(readme), "[`"+entry.Name()+"`](")
		}
	}
	for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(string(readme), -1) {
		require.FileExists(t, link[1])
	}
}

// flatten removes indentation, empty lines, and the calls that only this
// repository's linters require.
func flatten(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" && line != "t.Parallel()" && line != "t.Helper()" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
