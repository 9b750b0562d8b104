package csvfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

// Key takes the names of records from a column.
func TestOptions_Key(t *testing.T) {
	t.Parallel()
	type row struct {
		ID string `csv:"id"`
		N  int    `csv:"n"`
	}
	path := filepath.Join(t.TempDir(), "in.csv")
	require.NoError(t, os.WriteFile(path, []byte("n,id\n1,a\nx,b\n3,\n4\n"), 0o600))
	var keys []string
	read := func(key string) (last error) {
		keys = nil
		for item, err := range csvfile.Open[row](path, &csvfile.Options{Key: key}).Read(t.Context(), dataflow.Request[csvfile.Cursor]{}) {
			var bad *dataflow.RecordError
			if errors.As(err, &bad) {
				item.Key = "bad " + bad.Key
			} else if err != nil {
				last = err
			}
			keys = append(keys, item.Key)
		}
		return last
	}
	require.NoError(t, read("id"))
	require.Equal(t, []string{"a", "bad b", "", "bad line 5"}, keys)
	require.NoError(t, read(""))
	require.Equal(t, []string{"", "bad line 3", "", "bad line 5"}, keys)
	require.ErrorContains(t, read("ID"), `Options.Key: the header has no column "ID"`)
}
