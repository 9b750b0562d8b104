package httpjson_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

func TestSource_Contract(t *testing.T) {
	t.Parallel()
	type source = dataflow.Source[order, httpjson.Cursor]
	for path := range pagings() {
		for name, opts := range map[string]httpjson.Options{"": {}, "Key": {Key: "id"}, "Snapshot": {Snapshot: true}, "ETag": {}, "Stream": {Stream: true}} {
			if name == "Snapshot" && path != "/all" || name == "Key" && path != "/cursor" {
				continue // after the last cursor of such a snapshot, a read starts again
			}
			t.Run(strings.Trim(path, "/")+name, func(t *testing.T) {
				t.Parallel()
				var apis sync.Map
				of := func(a *api) source {
					a.etag = name == "ETag"
					src := a.source(path, opts)
					apis.Store(src, a)
					return src
				}
				config := connectortest.SourceConfig[order, httpjson.Cursor]{
					Make: func(_ *testing.T, rows []order) source { return of(newAPI(rows)) },
					MakeBad: func(_ *testing.T, rows []order, at int) source {
						a := newAPI(rows)
						a.records = slices.Insert(a.records, at, []byte(`{"id":"x","note":""}`))
						return of(a)
					},
					Rows: orders,
					Huge: func() order { return order{ID: 2, Note: strings.Repeat("x\n", 1<<19)} },
					Waiting: func(*testing.T) source {
						return httpjson.Source[order]("https://api.test/", &httpjson.Options{Client: &http.Client{Transport: silent{}}})
					},
					Open: func(src source) int {
						a, ok := apis.Load(src)
						if !ok {
							return 0
						}
						return int(a.(*api).open.Load())
					},
					Many: 2000,
				}
				if name != "" { // the case is slow and does not depend on the options
					config.Huge = nil
				}
				connectortest.TestSource(t, config)
			})
		}
	}
}

// silent never answers.
type silent struct{}

func (silent) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}
