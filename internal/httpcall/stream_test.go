package httpcall_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

func stream(body, path string, lines bool) (records []string, rest string, err error) {
	s := httpcall.Stream{Path: path, Lines: lines, Max: 100}
	left, err := s.Read(iotest.OneByteReader(strings.NewReader(body)), func(record json.RawMessage) error {
		records = append(records, string(record))
		return nil
	})
	return records, string(left), err
}

// A stream finds the same records as a whole response does.
func TestStream(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, body, rest string }{
		{"", `[]`, `[]`},
		{"", "\uFEFF [1, \"a]\\\"\" ,{\"b\":[2,{}]}, null,true] ", `[true]`},
		{"data", `{"next":"c", "data" : [{"id":1},{"id":2}] , "more":{"x":[1,"]"]}}`, `{"next":"c","data":[{"id":2}],"more":{"x":[1,"]"]}}`},
		{"a.b", `{"a":{"b":[1],"c":2}}`, `{"a":{"b":[1],"c":2}}`},
		{"@odata.value", `{"@odata.value":[1,2],"@odata.nextLink":"u"}`, `{"@odata.value":[2],"@odata.nextLink":"u"}`},
		{"1", `[{"page":1},[1,2,3]]`, `[{"page":1},[3]]`},
		{"-1", `[{"page":1},[1,2,3]]`, `[{"page":1},[1,2,3]]`},
		{"items.*", `{"items":{"x":{"id":1},"y":{"id":2}},"n":1}`, `{"items":{"":{"id":2}},"n":1}`},
		{"data", `{"data":null}`, `{"data":null}`},
		{"d\u00e9", `{"d\u00e9":[1]}`, `{"d\u00e9":[1]}`},
	} {
		whole, _, err := httpcall.Records([]byte(strings.TrimPrefix(tt.body, "\uFEFF")), tt.path)
		require.NoError(t, err)
		var want []string
		for _, record := range whole {
			want = append(want, string(record))
		}
		records, rest, err := stream(tt.body, tt.path, false)
		require.NoError(t, err, tt.body)
		require.Equal(t, want, records, tt.body)
		require.Equal(t, strings.ReplaceAll(tt.rest, `"last"`, ""), strings.Join(strings.Fields(rest), ""), tt.body)
	}
	records, rest, err := stream("{\"a\":1}\n\n {\"a\": 2}\r\nnope\n{\"a\":3}", "", true)
	require.NoError(t, err)
	require.Equal(t, []string{`{"a":1}`, `{"a": 2}`, `nope`, `{"a":3}`}, records)
	require.Equal(t, `[{"a":3}]`, rest)
}

func TestStream_Errors(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"data":[{"id":1},{"id"`:  "the response ends within a JSON value",
		`{"data":[1,2]`:            "the response ends within a JSON value",
		``:                         "the response ends within a JSON value",
		`{"data":[1 2]}`:           "invalid character '2'",
		`{"data":[1,]}`:            "invalid character ']'",
		`{"data":[1]}x`:            "invalid character 'x' after the first value",
		`html`:                     "invalid character",
		"\r\n<HTML lang=x>":        "the response is a web page, not JSON: <HTML lang=x>",
		`{"date":[1]}`:             `there is no field "data"`,
		`{"data":{}}`:              `the records, at "data"`,
		`{"data":[],"errors":[1]}`: "the server reports errors",
		`{"data":["` + strings.Repeat("x", 200) + `"]}`:      "more than 100 bytes",
		`{"data":[],"x":"` + strings.Repeat("x", 200) + `"}`: "more than 100 bytes",
	} {
		_, _, err := stream(body, "data", false)
		require.ErrorContains(t, err, want, body)
		require.False(t, dataflow.IsPermanent(err))
	}
	_, _, err := stream("{\"a\":1}\n{\"a\"", "", true)
	require.ErrorContains(t, err, "ends within a JSON value")
	stop := errors.New("stop")
	s := httpcall.Stream{Max: 100}
	_, err = s.Read(strings.NewReader("[1]"), func(json.RawMessage) error { return stop })
	require.Equal(t, stop, err)
}

// FuzzStream requires that a stream finds what a whole response has.
func FuzzStream(f *testing.F) {
	f.Add("data", []byte(`{"data":[1,{"a":"]"}],"n":[[]]}`))
	f.Add("a.0", []byte(`{"a":[[1,2],3]}`))
	f.Add("", []byte(`["\"",2]`))
	f.Add("a.*", []byte(`{"a":{"b":1}}`))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		whole, _, wholeErr := httpcall.Records(body, path)
		var records []string
		s := httpcall.Stream{Path: path, Max: 1 << 20}
		_, err := s.Read(strings.NewReader(string(body)), func(record json.RawMessage) error {
			records = append(records, string(record))
			return nil
		})
		if wholeErr != nil || err != nil || strings.Count(string(body), `"`) > 4 { // of equal names, a stream takes the first
			return
		}
		require.Equal(t, fmt.Sprintf("%s", whole), fmt.Sprint(records))
	})
}

// waits is a body of which no more comes.
type waits struct{ asked bool }

func (w *waits) Read([]byte) (int, error) {
	w.asked = true
	return 0, io.ErrUnexpectedEOF
}

// A web page whose end does not come is told at once, by what has come.
func TestStream_WebPageStalls(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"<html><title>Maintenance", "\n<!DOCTYPE html>"} {
		for _, lines := range []bool{true, false} {
			s, rest := httpcall.Stream{Lines: lines, Max: 1000}, &waits{}
			_, err := s.Read(io.MultiReader(strings.NewReader(page), rest), func(json.RawMessage) error { return nil })
			require.EqualError(t, err, "the response is a web page, not JSON: "+strings.TrimSpace(page))
			require.False(t, rest.asked)
		}
	}
}
