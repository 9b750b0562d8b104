package csvfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

func pairs(n int) []pair {
	rows := make([]pair, n)
	for i := range rows {
		rows[i] = pair{A: fmt.Sprintf("Åse %d", i), B: strings.Repeat("x\n\"", i%3)}
	}
	return rows
}

func hugePair() pair { return pair{A: "huge", B: strings.Repeat("€ \"\n", 1<<18)} }

// text is the file of these records, with a bad one before one of them, if there
// is to be one.
func text(rows []pair, bad int) string {
	var b strings.Builder
	b.WriteString("a,b\n")
	for i := 0; i <= len(rows); i++ {
		if i == bad {
			b.WriteString("three,are,too many\n")
		}
		if i < len(rows) {
			fmt.Fprintf(&b, "\"%s\",\"%s\"\n", strings.ReplaceAll(rows[i].A, `"`, `""`), strings.ReplaceAll(rows[i].B, `"`, `""`))
		}
	}
	return b.String()
}

func TestOpen_Contract(t *testing.T) {
	t.Parallel()
	connectortest.TestSource(t, connectortest.SourceConfig[pair, csvfile.Cursor]{
		Make: func(t *testing.T, rows []pair) dataflow.Source[pair, csvfile.Cursor] {
			t.Helper()
			return csvfile.Open[pair](write(t, text(rows, -1)), nil)
		},
		MakeBad: func(t *testing.T, rows []pair, at int) dataflow.Source[pair, csvfile.Cursor] {
			t.Helper()
			return csvfile.Open[pair](write(t, text(rows, at)), nil)
		},
		Rows: pairs,
		Huge: hugePair,
		Open: func(src dataflow.Source[pair, csvfile.Cursor]) int { return openFiles(t, src) },
	})
}

// openFiles counts how often this process has the file of a source open.
func openFiles(t *testing.T, src any) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	path, _ := src.(dataflow.Describer).Describe().Detail["path"].(string) //nolint:forcetypeassert // each has one
	links, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	open := 0
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == path {
			open++
		}
	}
	return open
}
