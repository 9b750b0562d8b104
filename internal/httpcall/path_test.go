package httpcall_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/httpcall"
)

func TestFind(t *testing.T) {
	t.Parallel()
	body := json.RawMessage(` {"a": {"b": [1, {"c": "\u00e9\"]"}, []], "c": null, "b.0": 7}, "d": "x\u00e9", "@odata.nextLink": "u", "x.y": {"z.": 3}, "n": -1.5e3, "0": true, "d\u0065": {},
		"links": [1, {"rel": "self", "href": "s"}, {"rel": ["next"]}, {"rel": "n\u0065xt", "href": {"a=b": "u"}}, {"rel": "next", "href": "v"}, {"rel": 7}, {"rel": null, "id": ""}],
		"dots": [{"rel": "x", "y": 1}, {"rel": "x.y", "z": 2}, {"rel": "x.y", "z": 3}]}`)
	for path, want := range map[string]string{
		"a.b": `[1, {"c": "\u00e9\"]"}, []]`, "a.c": "", "d": "xé", "a.b.1.c": `é"]`, "a.b.-3": "1", "a.b.-2.c": `é"]`, "a.b.-1": "[]",
		"@odata.nextLink": "u", "x.y.z.": "3", "n": "-1.5e3", "0": "true", "a.b.0": "7", "de": "{}",
		"links.rel=next.href.a=b": "u", "links.rel=self.href": "s", "links.rel=7": `{"rel": 7}`, "links.id=": `{"rel": null, "id": ""}`,
		"dots.rel=x.y.z": "2", "dots.rel=x.y": `{"rel": "x.y", "z": 2}`,
	} {
		got, err := httpcall.Find(body, path)
		require.NoError(t, err, path)
		require.Equal(t, want, httpcall.Text(got))
	}
	for path, want := range map[string]string{
		"e":                   `there is no field "e"`,
		"a.e":                 `there is no field "a.e"`,
		"a.b.3":               `there is no field "a.b.3"`,
		"a.b.-4":              `there is no field "a.b.-4"`,
		"a.c.c":               `the parent of the field "a.c.c" is not an object`,
		"a.b.c":               `the parent of the field "a.b.c" is an array, not an object: name an element by its index, such as 0, or -1 for the last, or by a field of it, such as rel=next`,
		"links.rel=last.href": `there is no field "links.rel=last"`,
		"@odata.x":            `there is no field "@odata"`,
	} {
		_, err := httpcall.Find(body, path)
		require.EqualError(t, err, want)
	}
	for _, broken := range []string{"<html>", `{"a":1`, `{"a":1}}`} {
		_, err := httpcall.Find([]byte(broken), "a")
		require.ErrorContains(t, err, "the response is not JSON")
	}
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
