package csvfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/csvfile"
)

// FuzzResume requires, for any file, that a read from a record's cursor yields the
// same records as the rest of a full read, and that Count agrees.
func FuzzResume(f *testing.F) {
	for _, body := range []string{"", "1,2", "1,2\r\n\r\n3,4\r", "\"x\ny\",\"\"\"\"\n\n\"z\"z\n,\n", "1,\"open\n", "# \"\n\x00,\xff\n", tricky} {
		for dialect := range byte(6) {
			f.Add([]byte(body), dialect)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, dialect byte) {
		if len(body) > 2000 {
			t.Skip("long files only take long")
		}
		opts := &csvfile.Options{TrimSpace: dialect&1 != 0}
		header := "a,b\n"
		switch dialect / 2 % 3 {
		case 1:
			opts.Comment = '#'
		case 2:
			header, opts.Comma = "\xEF\xBB\xBFa\tb\r\n", '\t'
		}
		path := filepath.Join(t.TempDir(), "f.csv")
		require.NoError(t, os.WriteFile(path, append([]byte(header), body...), 0o600))
		settle(t, path)
		src := csvfile.Open[pair](path, opts)
		all, last := read(t, src, nil)
		if last == nil {
			require.Equal(t, len(all), count(t, src, nil))
		}
		for i := range all {
			from := &all[i].Cursor
			rest, restLast := read(t, src, from)
			require.Equal(t, all[i+1:], append([]got[pair]{}, rest...))
			if last != nil {
				require.EqualError(t, restLast, last.Error())
				continue
			}
			require.NoError(t, restLast)
			require.Equal(t, len(rest), count(t, src, from))
		}
	})
}

// FuzzOpen requires that no file makes a read panic, whatever its header.
func FuzzOpen(f *testing.F) {
	for _, file := range []string{"", "\xEF\xBB\xBF", "\xFF\xFE", "a,b\n1,2\n", "\"a\n\",b", "a,a,b\n", tricky} {
		f.Add([]byte(file), int64(3))
	}
	f.Fuzz(func(t *testing.T, file []byte, offset int64) {
		path := filepath.Join(t.TempDir(), "f.csv")
		require.NoError(t, os.WriteFile(path, file, 0o600))
		settle(t, path)
		src := csvfile.Open[pair](path, nil)
		_, _ = read(t, src, nil)
		_, _ = read(t, src, &csvfile.Cursor{Offset: offset, Line: 1})
	})
}
