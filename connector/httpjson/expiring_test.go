package httpjson_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// expiring is an API of 60 records whose cursors expire before each of these requests.
func expiring(expire ...int) func(int, *http.Request) answer {
	epoch := 0
	return func(n int, req *http.Request) answer {
		for _, at := range expire {
			if n == at {
				epoch++
			}
		}
		from := 0
		if cursor := req.URL.Query().Get("cursor"); cursor != "" {
			of, at, _ := strings.Cut(cursor, "-")
			if of != strconv.Itoa(epoch) {
				return reply(http.StatusGone, nil, "expired")
			}
			from, _ = strconv.Atoi(at)
		}
		body := map[string]any{"items": orders(60)[from:min(from+5, 60)]}
		if from+5 < 60 {
			body["next"] = fmt.Sprintf("%d-%d", epoch, from+5)
		}
		data, _ := json.Marshal(body)
		return reply(200, nil, string(data))
	}
}

// In a long read, cursors may expire more than once.
func TestSource_ExpiresAgain(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, key := range []string{"", "id"} {
			a := newAPI(nil)
			a.before = expiring(4, 12, 21)
			src := httpjson.Source[order]("https://api.test/x", &httpjson.Options{Records: "items", Key: key, Client: a.client(), Stream: stream, Paging: httpjson.BodyCursor{Path: "next"}})
			ids, _, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.NoError(t, err)
			require.Equal(t, numbers(1, 60), ids)
		}
	}
	// An API that knows no page but the first ends the read.
	a := newAPI(nil)
	a.before = expiring(2, 4, 6, 8)
	src := httpjson.Source[order]("https://api.test/x", &httpjson.Options{Records: "items", Client: a.client(), Paging: httpjson.BodyCursor{Path: "next"}})
	ids, _, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.ErrorContains(t, err, "410 Gone")
	require.True(t, dataflow.IsPermanent(err))
	require.Equal(t, numbers(1, 5), ids)

	// A snapshot begins again once in an attempt, and leaves the rest to the next.
	a = newAPI(nil)
	a.before = expiring(4, 8)
	src = httpjson.Source[order]("https://api.test/x", &httpjson.Options{Records: "items", Snapshot: true, Client: a.client(), Paging: httpjson.BodyCursor{Path: "next"}})
	_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.ErrorContains(t, err, "refused a page twice")
	require.False(t, dataflow.IsPermanent(err))
	ids, _, err = read(t.Context(), t, src, at)
	require.NoError(t, err)
	require.Subset(t, ids, numbers(31, 60))
}
