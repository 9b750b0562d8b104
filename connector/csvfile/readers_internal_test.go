package csvfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/files"
)

// deliberate are the inputs for which this package differs from most other readers. The
// table in docs/connectors/files.md has a row for each.
var deliberate = map[string]string{
	"bare quote":         "a bad record",
	"bare quotes":        "a bad record",
	"excel formula":      "a bad record",
	"space before quote": "a bad record",
	"space after quote":  "a bad record",
	"surplus empty cell": "a bad record",
	"surplus cell":       "a bad record",
	"missing cell":       "a bad record",
	"cr only":            "the file is refused",
	"cr within a cell":   "a CR alone is text",
	"sep line":           "the separator",
}

// readLike reads a file as one list of records with the header. A bad record, and a record that
// has another number of cells than the header, is "bad".
func readLike(t *testing.T, text string) string {
	t.Helper()
	opts := (&Options{}).withDefaults()
	if strings.Contains(text, "\t") {
		opts.Comma, opts.sepMayDiffer = '\t', false
	}
	opened, err := files.Reader(strings.NewReader(text)).Open(t.Context(), "")
	require.NoError(t, err)
	f := &file{File: opened, opts: &opts}
	if err := f.readHeader(); err != nil {
		return "error"
	}
	rows := [][]string{}
	if f.header != nil {
		rows = append(rows, f.header)
	}
	if strings.Contains(strings.Join(f.header, ""), "\r") {
		return "error" // newDecoder says so, unless no column is needed
	}
	for recs := newRecords(f, f.body.Offset, f.body); f.header != nil; {
		cells, err := recs.next()
		switch {
		case errors.Is(err, io.EOF):
			return written(t, rows)
		case err != nil && !isRecordError(err):
			return "error"
		case err != nil || len(cells) != len(f.header):
			rows = append(rows, []string{"bad"})
		default:
			rows = append(rows, slices.Clone(cells))
		}
	}
	return written(t, rows)
}

func written(t *testing.T, rows [][]string) string {
	t.Helper()
	text, err := json.Marshal(rows)
	require.NoError(t, err)
	return string(text)
}

// answer returns another reader's answer in the same form. A null counts as an empty cell, an
// empty list as a blank line. papaparse takes what follows the last line break for a record.
func answer(t *testing.T, reader string, raw json.RawMessage) string {
	t.Helper()
	var rows [][]*string
	if json.Unmarshal(raw, &rows) != nil {
		return "error"
	}
	plain := [][]string{}
	for i, row := range rows {
		cells := []string{}
		for _, cell := range row {
			if cell == nil {
				cell = new(string)
			}
			cells = append(cells, *cell)
		}
		last := reader == "papaparse" && i == len(rows)-1 && len(cells) == 1 && cells[0] == ""
		if len(cells) > 0 && !last {
			plain = append(plain, cells)
		}
	}
	return written(t, plain)
}

// The answers of seven other readers to 52 files are compared with those of this package.
// testdata/readers.json names their versions.
func TestSevenReaders(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/readers.json")
	require.NoError(t, err)
	var golden struct {
		Readers map[string]string
		Inputs  []struct {
			Name, Text string
			Answers    map[string]json.RawMessage
		}
	}
	require.NoError(t, json.Unmarshal(data, &golden))
	require.Len(t, golden.Readers, 7)
	require.Len(t, golden.Inputs, 52)
	doc, err := os.ReadFile("../../docs/connectors/files.md")
	require.NoError(t, err)
	var differ []string
	for _, in := range golden.Inputs {
		require.Len(t, in.Answers, 7, in.Name)
		votes := map[string]int{}
		for reader, raw := range in.Answers {
			votes[answer(t, reader, raw)]++
		}
		ours, most := readLike(t, in.Text), 0
		for _, n := range votes {
			most = max(most, n)
		}
		if votes[ours] == most || strings.Contains(ours, `["bad"]`) && votes["error"] == most { // they refuse the file, we the record
			continue
		}
		differ = append(differ, in.Name)
		require.Contains(t, deliberate, in.Name, "%s: ours is %s, theirs are %v", in.Name, ours, votes)
		require.Contains(t, string(doc), fmt.Sprintf("| %s |", in.Name))
	}
	slices.Sort(differ)
	require.Equal(t, slices.Sorted(maps.Keys(deliberate)), differ)
}
