package httpcall_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/httpcall"
)

func TestFind(t *testing.T) {
	t.Parallel()
	body := json.RawMessage(` {"a": {"b": [1], "c": null}, "d": "x\u00e9"}`)
	for path, want := range map[string]string{"a.b": "[1]", "a.c": "", "d": "xé"} {
		got, err := httpcall.Find(body, path)
		require.NoError(t, err)
		require.Equal(t, want, httpcall.Text(got))
	}
	for path, want := range map[string]string{
		"e":     `there is no field "e"`,
		"a.e":   `there is no field "a.e"`,
		"a.b.c": `the parent of the field "a.b.c" is not an object`,
	} {
		_, err := httpcall.Find(body, path)
		require.EqualError(t, err, want)
	}
	_, err := httpcall.Find([]byte("<html>"), "a")
	require.ErrorContains(t, err, "the response is not JSON")
}

// FuzzFind requires that a path leads to the value that was put there.
func FuzzFind(f *testing.F) {
	f.Add("a.b", []byte(`{"a":{"b":1}}`))
	f.Add("", []byte(`[]`))
	f.Add("a", []byte(`[1]`))
	f.Add("a..b", []byte(`{"a":null`))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		found, err := httpcall.Find(body, path)
		if err == nil && path != "" {
			require.True(t, json.Valid(found))
		}
	})
}
