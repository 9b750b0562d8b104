package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
)

func letters(n int) []Letter {
	rows := make([]Letter, n)
	for i := range rows {
		rows[i] = Letter{Name: fmt.Sprintf("%05d.txt", i), Text: fmt.Sprintf("dear %d", i)}
	}
	return rows
}

// inbox writes the letters to a directory, and a bad one before rows[bad], unless bad is negative.
func inbox(t *testing.T, rows []Letter, bad int) Inbox {
	t.Helper()
	dir := t.TempDir()
	for _, row := range rows {
		require.NoError(t, os.WriteFile(filepath.Join(dir, row.Name), []byte(row.Text), 0o600))
	}
	switch {
	case bad == 0:
		require.NoError(t, os.WriteFile(filepath.Join(dir, "0"), []byte("\xff"), 0o600))
	case bad > 0:
		require.NoError(t, os.WriteFile(filepath.Join(dir, rows[bad-1].Name+"+"), []byte("\xff"), 0o600))
	}
	return Inbox{Dir: dir}
}

func TestInbox(t *testing.T) {
	t.Parallel()
	connectortest.TestSource(t, connectortest.SourceConfig[Letter, string]{
		Reopen: func(_ *testing.T, in dataflow.Source[Letter, string]) dataflow.Source[Letter, string] { return in }, // it keeps nothing
		Rows:   letters,
		Make:   func(t *testing.T, rows []Letter) dataflow.Source[Letter, string] { return inbox(t, rows, -1) }, //nolint:thelper // it makes
		MakeBad: func(t *testing.T, rows []Letter, at int) dataflow.Source[Letter, string] { //nolint:thelper // it makes
			return inbox(t, rows, at)
		},
	})
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	connectortest.TestSink(t, connectortest.SinkConfig[dataflow.Sink[Letter], Letter]{
		Make: func(t *testing.T) (dataflow.Sink[Letter], func() []Letter) { //nolint:thelper // it makes
			out := Outbox{Dir: t.TempDir()}
			return out, func() (rows []Letter) {
				entries, err := os.ReadDir(out.Dir)
				require.NoError(t, err)
				for _, entry := range entries {
					text, err := os.ReadFile(filepath.Join(out.Dir, entry.Name()))
					require.NoError(t, err)
					rows = append(rows, Letter{Text: string(text)})
				}
				return rows
			}
		},
		Failing: func(t *testing.T) dataflow.Sink[Letter] { //nolint:thelper // it makes
			return Outbox{Dir: filepath.Join(t.TempDir(), "gone")}
		},
		Reopen: func(_ *testing.T, sink dataflow.Sink[Letter]) dataflow.Sink[Letter] { return sink }, // it keeps nothing
		Rows: func(n int) []Letter { // a file holds the text alone
			rows := letters(n)
			for i := range rows {
				rows[i].Name = ""
			}
			return rows
		},
		Unordered: true,
	})
}
