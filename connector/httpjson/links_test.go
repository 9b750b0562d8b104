package httpjson_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// keyed is an API that wants a key in the query, and repeats it in its links. The last page names itself.
type keyed struct {
	key   string
	pages int
	asked []string
}

func (k *keyed) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	k.asked = append(k.asked, req.URL.RawQuery)
	if got := query["api_key"]; len(got) != 1 || got[0] != k.key {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	page := 1
	_, _ = fmt.Sscanf(query.Get("page_token"), "t/%d", &page)
	link := fmt.Sprintf("http://%s/?api_key=%s&x=&page_token=t/%d&limit=2", req.Host, k.key, min(page+1, k.pages))
	_, _ = fmt.Fprintf(w, `{"data":[{"id":%d},{"id":"bad %d"}],"next":%q}`, page, page, link)
}

// A key in the query, which an API repeats in its links, is neither stored nor shown. Another key counts from the next
// request on, wherever it comes from.
func TestSource_KeyInLinks(t *testing.T) {
	t.Parallel()
	for name, auth := range map[string]func(*http.Request, string){
		"Address": nil,
		"AuthSet": func(req *http.Request, key string) {
			query := req.URL.Query()
			query.Set("api_key", key)
			req.URL.RawQuery = query.Encode()
		},
		"AuthAdds": func(req *http.Request, key string) { req.URL.RawQuery += "&api_key=" + key },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &keyed{key: "s3cret", pages: 2}
			server := httptest.NewServer(k)
			t.Cleanup(server.Close)
			source := func() dataflow.Source[order, httpjson.Cursor] {
				opts := &httpjson.Options{Records: "data", Paging: httpjson.NextURL{Path: "next"}}
				address := server.URL + "/?limit=2"
				if auth == nil {
					return httpjson.Source[order](address+"&api_key="+k.key, opts)
				}
				opts.Auth = func(req *http.Request) error { auth(req, k.key); return nil }
				return httpjson.Source[order](address, opts)
			}
			ids, bad, at := readKeyed(t, source(), httpjson.Cursor{})
			require.Equal(t, []int{1, 2}, ids)
			require.Len(t, bad, 2)
			require.NotContains(t, fmt.Sprint(bad, at), "s3cret")

			k.key, k.pages = "an0ther", 3
			ids, _, at = readKeyed(t, source(), at)
			require.Equal(t, []int{3}, ids)
			require.NotContains(t, fmt.Sprint(at), k.key)

			if auth == nil { // an earlier version has kept all of the link
				at.Page = server.URL + "/?api_key=an0ther&x=&page_token=t/3&limit=2"
				ids, _, _ = readKeyed(t, source(), at)
				require.Empty(t, ids)
			}
		})
	}
}

// readKeyed returns the records, the errors of bad ones and the last cursor.
func readKeyed(t *testing.T, src dataflow.Source[order, httpjson.Cursor], at httpjson.Cursor) (ids []int, bad []error, last httpjson.Cursor) {
	t.Helper()
	for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{From: at}) {
		var record *dataflow.RecordError
		switch {
		case err != nil:
			require.ErrorAs(t, err, &record)
			bad = append(bad, fmt.Errorf("%s: %w", record.Key, err))
		case !item.Mark:
			ids = append(ids, item.Value.ID)
		}
		at = item.Cursor
	}
	return ids, bad, at
}

// A link keeps the secrets that are its own, and those of another host.
func TestSource_LinksOwnSecrets(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = fmt.Fprintf(w, `{"data":[{"id":2,"note":%q}]}`, req.URL.RawQuery)
	}))
	t.Cleanup(other.Close)
	host := other.Listener.Addr().String()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"data":[{"id":1}],"next":"http://%s/?token=a&signature=b%%2F&&access_token="}`, host)
	}))
	t.Cleanup(server.Close)
	opts := &httpjson.Options{Records: "data", Paging: httpjson.NextURL{Path: "next"}, Links: httpjson.Allow(host)}
	var notes []string
	for item, err := range httpjson.Source[order](server.URL+"/?token=a", opts).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
		require.NoError(t, err)
		notes = append(notes, item.Value.Note)
	}
	require.Equal(t, []string{"", "token=a&signature=b%2F&&access_token="}, notes)
}

// A link is followed as it is but for a secret that the cursor leaves out: it may be signed.
func TestSource_LinksAsTheyAre(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{"b": "page_token=&&api_key=b&signature=%2f", "a%2F": "page_token=&&api_key=a%2F&signature=%2f"} {
		var asked []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if asked = append(asked, req.URL.RawQuery); len(asked) == 1 {
				_, _ = fmt.Fprintf(w, `{"data":[{"id":1}],"next":"http://%s/?page_token=&&api_key=%s&signature=%%2f"}`, req.Host, key)
				return
			}
			_, _ = fmt.Fprint(w, `{"data":[]}`)
		}))
		t.Cleanup(server.Close)
		opts := &httpjson.Options{Records: "data", Paging: httpjson.NextURL{Path: "next"}}
		for _, err := range httpjson.Source[order](server.URL+"/?api_key=a%2F", opts).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
			require.NoError(t, err)
		}
		require.Equal(t, []string{"api_key=a%2F", want}, asked)
	}
}
