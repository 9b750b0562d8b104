package httpjson_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// changing is a server with one page for each path, whose links are relative.
func changing(t *testing.T, pages map[string]string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		page, ok := pages[req.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusGone)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, page)
	}))
	t.Cleanup(server.Close)
	return server
}

// versions reads from a cursor, until n records were read, and returns them with their versions. -1 reads to the end.
func versions(t *testing.T, src dataflow.Source[record, httpjson.Cursor], from httpjson.Cursor, n int) (got []string, at httpjson.Cursor, err error) {
	t.Helper()
	at = from
	for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{From: from, Resumed: from != httpjson.Cursor{}}) {
		if err != nil {
			return got, at, err
		}
		if at = item.Cursor; !item.Mark {
			got = append(got, fmt.Sprintf("%s v%d", item.Value.ID, item.Value.Version))
		}
		if len(got) == n {
			break
		}
	}
	return got, at, nil
}

// The page of changes is another one when a run comes back to it after a crash: a record that was read may have
// changed once more, in its place, and others may stand where it stood.
func TestChanges_CameBack(t *testing.T) {
	t.Parallel()
	for name, now := range map[string]string{
		"Changed": `{"id":1,"version":1},{"id":2,"version":2},{"id":3,"version":1}`,
		"Moved":   `{"id":1,"version":1},{"id":3,"version":1},{"id":2,"version":2}`,
		"Gone":    `{"id":2,"version":1},{"id":3,"version":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pages := map[string]string{
				"/":  `{"value":[{"id":1},{"id":2}],"later":"/1"}`,
				"/1": `{"value":[{"id":1,"version":1},{"id":2,"version":1},{"id":3,"version":1}],"later":"/2"}`,
			}
			server := changing(t, pages)
			src := httpjson.Source[record](server.URL, &httpjson.Options{Records: "value", Key: "id", Paging: httpjson.NextURL{Path: "next", Later: "later"}, Logger: quiet})
			got, at, err := versions(t, src, httpjson.Cursor{}, -1)
			require.NoError(t, err)
			require.Equal(t, []string{"1 v0", "2 v0"}, got)
			_, at, err = versions(t, src, at, 2)
			require.NoError(t, err)
			pages["/1"] = `{"value":[` + now + `],"later":"/3"}`
			pages["/3"] = `{"value":[],"later":"/4"}`
			got, at, err = versions(t, src, at, -1)
			require.NoError(t, err)
			want := []string{"1 v1", "2 v2", "3 v1"}
			switch name {
			case "Moved":
				want = []string{"1 v1", "3 v1", "2 v2"}
			case "Gone":
				want = []string{"2 v1", "3 v1"}
			}
			require.Equal(t, want, got)
			got, at, err = versions(t, src, at, -1)
			require.NoError(t, err)
			require.Empty(t, got)
			require.Equal(t, server.URL+"/4", at.Page)
		})
	}
}

// A page of changes that is as it was is continued after the last record that was read, also if the API names another place after
// it each time.
func TestChanges_Continued(t *testing.T) {
	t.Parallel()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked++
		_, _ = fmt.Fprintf(w, map[string]string{"/": `{"value":[{"id":1},{"id":2}],"later":"/1?%d"}`, "/1": `{"value":[{"id":3},{"id":4},{"id":5}],"later":"/2?%d"}`, "/2": `{"value":[],"later":"/2?%d"}`}[req.URL.Path], asked)
	}))
	t.Cleanup(server.Close)
	src := httpjson.Source[record](server.URL, &httpjson.Options{Records: "value", Key: "id", Paging: httpjson.NextURL{Path: "next", Later: "later"}, Logger: quiet})
	_, at, err := versions(t, src, httpjson.Cursor{}, -1)
	require.NoError(t, err)
	_, at, err = versions(t, src, at, 1)
	require.NoError(t, err)
	for _, want := range [][]string{{"4 v0", "5 v0"}, nil} {
		var got []string
		got, at, err = versions(t, src, at, -1)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// The place of the changes is a link: a secret of the source's address is not kept in the cursor, and may be changed.
func TestChanges_Secret(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = fmt.Fprintf(w, `{"value":[],"later":"/?api_key=%s&at=1"}`, req.URL.Query().Get("api_key"))
	}))
	t.Cleanup(server.Close)
	var at httpjson.Cursor
	for _, key := range []string{"first", "second"} {
		src := httpjson.Source[record](server.URL+"?api_key="+key, &httpjson.Options{Records: "value", Paging: httpjson.NextURL{Path: "next", Later: "later"}, Logger: quiet})
		var err error
		_, at, err = versions(t, src, at, -1)
		require.NoError(t, err)
		require.Contains(t, at.Page, "at=1")
		require.NotContains(t, at.Page, key)
	}
}

// A run that ended after the last record, and before the place of the changes was stored, finds that place again, though the page is as it was.
func TestChanges_Unchanged(t *testing.T) {
	t.Parallel()
	for _, paging := range []httpjson.Paging{httpjson.NextURL{Path: "next", Later: "later"}, httpjson.NextURL{Path: "later", HasMore: "more", Continues: true}, httpjson.BodyCursor{Path: "next", Later: "later"}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			place := cmp.Or(req.URL.Query().Get("cursor"), req.URL.Path)
			w.Header().Set("ETag", `"`+place+`"`)
			if req.Header.Get("If-None-Match") == `"`+place+`"` {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = fmt.Fprint(w, map[string]string{"/": `{"value":[{"id":1}],"later":"/1","more":false}`, "/1": `{"value":[{"id":2}],"later":"/1","more":false}`}[place])
		}))
		t.Cleanup(server.Close)
		src := httpjson.Source[record](server.URL, &httpjson.Options{Records: "value", Key: "id", Paging: paging, Logger: quiet})
		_, at, err := versions(t, src, httpjson.Cursor{}, 1)
		require.NoError(t, err)
		_, at, err = versions(t, src, at, -1)
		require.NoError(t, err)
		got, _, err := versions(t, src, at, -1)
		require.NoError(t, err)
		require.Equal(t, []string{"2 v0"}, got)
	}
}

// Once the API does not know the place of the changes any more, only the whole list has them all. It has no order, so that the
// place of the last record that was read says nothing.
func TestChanges_Expired(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		var logs bytes.Buffer
		pages := map[string]string{"/": `{"value":[{"id":1},{"id":2}],"later":"/1"}`}
		server := changing(t, pages)
		src := httpjson.Source[record](server.URL, &httpjson.Options{Records: "value", Key: "id", RestartExpired: restart, Paging: httpjson.NextURL{Path: "next", Later: "later"}, Logger: slog.New(slog.NewTextHandler(&logs, nil))})
		_, at, err := versions(t, src, httpjson.Cursor{}, -1)
		require.NoError(t, err)
		pages["/"] = `{"value":[{"id":1,"version":1},{"id":2},{"id":3}],"later":"/2"}`
		got, after, err := versions(t, src, at, -1)
		if !restart {
			require.True(t, dataflow.IsPermanent(err), "%v", err)
			require.ErrorContains(t, err, "set Options.RestartExpired")
			require.Equal(t, at, after)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, []string{"1 v1", "2 v0", "3 v0"}, got)
		require.Equal(t, server.URL+"/2", after.Page)
		require.Contains(t, logs.String(), "all of the list is read again")
	}
}

// An API that refuses a page each time does not have the list read again and again.
func TestChanges_RefusedAgain(t *testing.T) {
	t.Parallel()
	server := changing(t, map[string]string{"/": `{"value":[{"id":1}],"next":"/2"}`})
	src := httpjson.Source[record](server.URL, &httpjson.Options{Records: "value", RestartExpired: true, Paging: httpjson.NextURL{Path: "next", Later: "later"}, Logger: quiet})
	got, _, err := versions(t, src, httpjson.Cursor{}, 9)
	require.ErrorContains(t, err, "the API has refused a page twice in one read of the list")
	require.False(t, dataflow.IsPermanent(err))
	require.Equal(t, []string{"1 v0", "1 v0"}, got)
}

// A flow that has read a list without Later may have missed changes of all its pages, and the last page may name only later ones.
func TestChanges_EarlierCursor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		paging        httpjson.Paging
		second, later string
	}{
		"NextURL":    {httpjson.NextURL{Path: "next", Later: "later"}, "?page=a%3Bb", "/changes"},
		"BodyCursor": {httpjson.BodyCursor{Path: "next", Param: "page", Later: "later", LaterParam: "sync"}, "a;b", "sync=%2Fchanges"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := `{"value":[{"id":1,"version":1}],"next":"`+c.second+`"}`, `{"value":[{"id":2}],"later":"/changes"}`
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				_, _ = fmt.Fprint(w, map[string]string{"": first, "a;b": second}[req.URL.Query().Get("page")])
			}))
			t.Cleanup(server.Close)
			source := func(paging httpjson.Paging) dataflow.Source[record, httpjson.Cursor] {
				return httpjson.Source[record](server.URL, &httpjson.Options{Records: "value", Paging: paging, Logger: quiet})
			}
			earlier := httpjson.Paging(httpjson.NextURL{Path: "next"})
			if name == "BodyCursor" {
				earlier = httpjson.BodyCursor{Path: "next", Param: "page"}
			}
			_, ended, err := versions(t, source(earlier), httpjson.Cursor{}, -1)
			require.NoError(t, err)
			require.NotEmpty(t, ended.Page)
			got, at, err := versions(t, source(c.paging), ended, -1)
			require.NoError(t, err)
			require.Equal(t, []string{"1 v1", "2 v0"}, got)
			require.Contains(t, at.Page, c.later)

			got, at, err = versions(t, source(c.paging), httpjson.Cursor{Page: ended.Page}, -1) // it was to begin with that page
			require.NoError(t, err)
			require.Equal(t, []string{"2 v0"}, got)
			require.Contains(t, at.Page, c.later)
		})
	}
}

// In a request's body, the names of both parameters keep their type.
func TestChanges_InBody(t *testing.T) {
	t.Parallel()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		asked = append(asked, string(body))
		_, _ = fmt.Fprint(w, map[string]string{
			`{}`: `{"value":[],"next":7}`, `{"page":7}`: `{"value":[{"id":1}],"later":{"at":8}}`,
			`{"sync":{"at":8}}`: `{"value":[],"next":["9"]}`, `{"page":["9"],"sync":{"at":8}}`: `{"value":[{"id":2}],"later":"a"}`, `{"sync":"a"}`: `{"value":[],"later":"a"}`,
		}[string(body)])
	}))
	t.Cleanup(server.Close)
	src := httpjson.Source[record](server.URL, &httpjson.Options{
		Records: "value", Method: http.MethodPost, Body: map[string]any{}, Logger: quiet,
		Paging: httpjson.BodyCursor{Path: "next", Param: "page", Later: "later", LaterParam: "sync"},
	})
	var at httpjson.Cursor
	for _, want := range [][]string{{"1 v0"}, {"2 v0"}, nil} {
		got, next, err := versions(t, src, at, -1)
		require.NoError(t, err, asked)
		require.Equal(t, want, got)
		at = next
	}
}

// A last page that does not say where the changes come is an error: a later run would never see them.
func TestChanges_Missing(t *testing.T) {
	t.Parallel()
	server := changing(t, map[string]string{"/": `{"value":[{"id":1}],"deltaLink":"/1"}`})
	for _, paging := range []httpjson.Paging{
		httpjson.NextURL{Path: "next", Later: "later"},
		httpjson.BodyCursor{Path: "next", Later: "later"},
		httpjson.BodyCursor{Path: "next", Later: "later", LaterParam: "sync"},
	} {
		src := httpjson.Source[record](server.URL, &httpjson.Options{Records: "value", Paging: paging, Logger: quiet})
		_, _, err := versions(t, src, httpjson.Cursor{}, -1)
		require.True(t, dataflow.IsPermanent(err), "%v", err)
		require.ErrorContains(t, err, `neither "next" names a next page, nor "later" the changes of a later run`)
	}
}

// An API that has no changes may say so by the status 204. The next run asks at the same place.
func TestChanges_NoContent(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/1" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = fmt.Fprint(w, `{"value":[{"id":1}],"later":"/1"}`)
	}))
	t.Cleanup(server.Close)
	src := httpjson.Source[record](server.URL, &httpjson.Options{Records: "value", Paging: httpjson.NextURL{Path: "next", Later: "later"}, Logger: quiet})
	_, at, err := versions(t, src, httpjson.Cursor{}, -1)
	require.NoError(t, err)
	for range 2 {
		var got []string
		got, at, err = versions(t, src, at, -1)
		require.NoError(t, err)
		require.Empty(t, got)
		require.Equal(t, server.URL+"/1", at.Page)
	}
}

// Without Later, the log says that no run will see the changes. With it, or for a list that is read as a whole each time, it says
// nothing, also of a page that is full and has no other one after it.
func TestChanges_NotAskedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body     string
		opts     httpjson.Options
		warnings int
	}{
		"Not":      {`"@odata.deltaLink":"/1"`, httpjson.Options{Paging: httpjson.NextURL{Path: "@odata.nextLink", Optional: true}}, 1},
		"Null":     {`"@odata.deltaLink":null`, httpjson.Options{Paging: httpjson.NextURL{Path: "@odata.nextLink", Optional: true}}, 0},
		"Snapshot": {`"@odata.deltaLink":"/1"`, httpjson.Options{Paging: httpjson.NextURL{Path: "@odata.nextLink", Optional: true}, Snapshot: true}, 0},
		"Later":    {`"@odata.deltaLink":"/1"`, httpjson.Options{Paging: httpjson.NextURL{Path: "@odata.nextLink", Later: "@odata.deltaLink"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := changing(t, map[string]string{"/": `{"value":[{"id":1}],` + c.body + `}`})
			var logs bytes.Buffer
			c.opts.Records, c.opts.Logger = "value", slog.New(slog.NewTextHandler(&logs, nil))
			_, _, err := versions(t, httpjson.Source[record](server.URL+"?$top=1", &c.opts), httpjson.Cursor{}, -1)
			require.NoError(t, err)
			require.Equal(t, c.warnings, strings.Count(logs.String(), "\n"), logs.String())
			if c.warnings > 0 {
				require.Contains(t, logs.String(), "no later run asks there: set Later of NextURL or BodyCursor to it, or Options.Snapshot")
				require.Contains(t, logs.String(), "path=@odata.deltaLink")
			}
		})
	}
}

func TestChanges_Validate(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]*httpjson.Options{
		"NextURL.Continues: the place for a later run is at Later":  {Paging: httpjson.NextURL{Path: "next", HasMore: "more", Continues: true, Later: "later"}},
		"BodyCursor.Later: it is empty, but LaterParam needs it":    {Paging: httpjson.BodyCursor{Path: "next", LaterParam: "sync"}},
		"Paging.Continues: each run begins at the first page":       {Paging: httpjson.NextURL{Path: "next", Later: "later"}, Snapshot: true},
		"Paging.Later: it needs whole pages, which Stream and Line": {Paging: httpjson.NextURL{Path: "next", Later: "later"}, Stream: true},
	} {
		validator, ok := httpjson.Source[record]("https://api.test/x", opts).(dataflow.Validator)
		require.True(t, ok)
		require.ErrorContains(t, validator.Validate(), want)
	}
	rereader, ok := httpjson.Source[record]("https://api.test/x", &httpjson.Options{Paging: httpjson.NextURL{Path: "next", Later: "later"}}).(interface{ Rereads() bool })
	require.True(t, ok)
	require.True(t, rereader.Rereads(), "a target that only appends is refused")
}
