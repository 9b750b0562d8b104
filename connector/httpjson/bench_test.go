package httpjson_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// canned answers every request with the same page.
type canned struct{ body string }

func (c canned) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c.body)), ContentLength: int64(len(c.body)), Request: req}, nil
}

// BenchmarkSource reads a page of 1,000 records of about 200 bytes.
func BenchmarkSource(b *testing.B) {
	var body strings.Builder
	body.WriteString(`{"items":[`)
	for i := range 1000 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"id":%d,"note":"%s"}`, i, strings.Repeat("x", 175))
	}
	body.WriteString(`],"next":null}`)
	b.ReportAllocs()
	src := httpjson.Source[order]("https://api.test", &httpjson.Options{
		Records: "items", Paging: httpjson.BodyCursor{Path: "next"}, Client: &http.Client{Transport: canned{body.String()}},
	})
	for b.Loop() {
		for _, err := range src.Read(b.Context(), dataflow.Request[httpjson.Cursor]{}) {
			require.NoError(b, err)
		}
	}
}
