package csvfile_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

// pair is the record of most tests.
type pair struct {
	A string `csv:"a"`
	B string `csv:"b"`
}

// got is one result of a read, in a comparable form.
type got[T any] struct {
	Key    string // of the item or the error
	Value  T
	Err    string
	Raw    string
	Cursor csvfile.Cursor
	Resume bool
}

// write creates a file that is removed after the test.
func write(tb testing.TB, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "data.csv")
	require.NoError(tb, os.WriteFile(path, []byte(text), 0o600))
	settle(tb, path)
	return path
}

// settle makes a file look as if nothing had written to it for an hour.
func settle(tb testing.TB, path string) {
	tb.Helper()
	long := time.Now().Add(-time.Hour)
	require.NoError(tb, os.Chtimes(path, long, long))
}

// appendTo appends text to a file.
func appendTo(tb testing.TB, path, text string) {
	tb.Helper()
	old, err := os.ReadFile(path)
	require.NoError(tb, err)
	require.NoError(tb, os.WriteFile(path, append(old, text...), 0o600))
	settle(tb, path)
}

// read reads everything after the cursor; nil means from the beginning. It returns
// the records and record errors, and the error that ended the read.
func read[T any](tb testing.TB, src dataflow.Source[T, csvfile.Cursor], from *csvfile.Cursor) (all []got[T], last error) {
	tb.Helper()
	for item, err := range src.Read(tb.Context(), request(from)) {
		if last != nil {
			require.Fail(tb, "the read went on after its end")
		}
		g := got[T]{Key: item.Cursor.String(), Value: item.Value, Cursor: item.Cursor, Resume: item.Resume}
		if err != nil {
			bad, ok := err.(*dataflow.RecordError) //nolint:errorlint // nothing may be wrapped around it
			if !ok {
				last = err
				require.Zero(tb, item)
				continue
			}
			require.Equal(tb, g.Key, bad.Key)
			g.Err, g.Raw = bad.Err.Error(), string(bad.Raw)
		}
		if item.Key != "" || !item.Resume || item.Mark { // calls to require are slow
			require.Fail(tb, "no item of this source", "%+v", item)
		}
		all = append(all, g)
	}
	return all, last
}

func request(from *csvfile.Cursor) dataflow.Request[csvfile.Cursor] {
	if from == nil {
		return dataflow.Request[csvfile.Cursor]{}
	}
	return dataflow.Request[csvfile.Cursor]{From: *from, Resumed: true}
}

// count asks the source how many records follow the cursor.
func count[T any](tb testing.TB, src dataflow.Source[T, csvfile.Cursor], from *csvfile.Cursor) int {
	tb.Helper()
	counter, ok := src.(dataflow.Counter[csvfile.Cursor])
	require.True(tb, ok)
	n, err := counter.Count(tb.Context(), request(from))
	require.NoError(tb, err)
	return int(n)
}

// texts lists the records and record errors of a read, each as "line 2: …".
func texts(all []got[pair]) []string {
	var list []string
	for _, g := range all {
		if g.Err != "" {
			list = append(list, g.Key+": error: "+g.Err)
			continue
		}
		list = append(list, g.Key+": "+g.Value.A+"|"+g.Value.B)
	}
	return list
}
