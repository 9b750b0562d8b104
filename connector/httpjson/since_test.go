package httpjson_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// The latest time of the records is sent with the next run, less the lookback, in whatever
// form the API writes it.
func TestSource_Since(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`"2026-11-25T10:00:30Z"`:         "2026-11-25T09:59:30Z",
		`"2026-11-25T10:00:30.25+01:00"`: "2026-11-25T08:59:30.25Z",
		`"2026-11-25T10:00:30.000+0100"`: "2026-11-25T08:59:30Z",
		`"2026-11-25 10:00:30"`:          "2026-11-25T09:59:30Z",
		`"2026-11-25"`:                   "2026-11-24T23:59:00Z",
		`1795600830`:                     "2026-11-25T09:59:30Z",
		`"1795600830"`:                   "2026-11-25T09:59:30Z",
		`1795600830500`:                  "2026-11-25T09:59:30.5Z",
	} {
		a := newAPI(nil)
		a.before = func(int, *http.Request) answer {
			return reply(200, map[string]string{"Date": "Sat, 28 Nov 2026 10:00:00 GMT"}, `[{"id":1,"at":null},{"id":2,"meta":{"at":`+value+`}},{"id":3,"meta":{"at":"2020-01-01"}},{"id":4,"meta":{"at":"never"}}]`)
		}
		src := httpjson.Source[order]("https://api.test/x?q=a;b", &httpjson.Options{Client: a.client(), Since: &httpjson.Since{Path: "meta.at", Param: "since"}})
		ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, numbers(1, 4), ids)
		require.True(t, at.Done)
		require.Equal(t, "end of the list", at.String())
		_, again, err := read(t.Context(), t, src, at)
		require.NoError(t, err)
		require.Equal(t, at, again, "nothing is new")
		require.Equal(t, []string{"/x?q=a;b", "/x?q=a;b&since=" + want}, a.requests)
	}
}

// First and Format write the parameter of the first run and its form. Lookback may be none.
func TestSource_SinceForm(t *testing.T) {
	t.Parallel()
	a := newAPI(nil)
	a.before = func(int, *http.Request) answer {
		return reply(200, map[string]string{"Date": "Sat, 28 Nov 2026 10:00:00 GMT"}, `[{"id":1,"at":1795600830}]`)
	}
	src := httpjson.Source[order]("https://api.test/", &httpjson.Options{Client: a.client(), Since: &httpjson.Since{
		Path: "at", Param: "header:X-Since", First: time.Unix(7, 0), Lookback: -1, Format: func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) },
	}})
	var got []string
	before := a.before
	a.before = func(n int, req *http.Request) answer {
		got = append(got, req.Header.Get("X-Since"))
		return before(n, req)
	}
	_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	_, _, err = read(t.Context(), t, src, at)
	require.NoError(t, err)
	require.Equal(t, []string{"7", "1795600830"}, got)
}

// A time may be written as ASP.NET once did, as by Xero and SAP. Its zone does not change the milliseconds.
func TestSource_SinceDate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`/Date(1573755038314)/`: "2019-11-14T18:10:38.314Z", `/Date(1573755038314+0100)/`: "2019-11-14T18:10:38.314Z",
		`/Date(1573755038314-0500)/`: "2019-11-14T18:10:38.314Z", `/Date(-1000+0000)/`: "1969-12-31T23:59:59Z",
	} {
		a := newAPI(nil)
		a.before = func(int, *http.Request) answer { return reply(200, nil, `[{"id":1,"at":"`+text+`"}]`) }
		src := httpjson.Source[order]("https://api.test/", &httpjson.Options{Client: a.client(), Since: &httpjson.Since{Path: "at", Param: "since"}})
		_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, want, at.High)
	}
	for _, text := range []string{`/Date()/`, `/Date(x)/`, `/Date(1573755038314123)/`} {
		a := newAPI(nil)
		a.before = func(int, *http.Request) answer { return reply(200, nil, `[{"id":1,"at":"`+text+`"}]`) }
		src := httpjson.Source[order]("https://api.test/", &httpjson.Options{Client: a.client(), Since: &httpjson.Since{Path: "at", Param: "since"}})
		_, _, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.ErrorContains(t, err, "no record of", text)
	}
}

// A path that no record has is an error, and not a run that reads everything each time.
func TestSource_SinceWrongPath(t *testing.T) {
	t.Parallel()
	src := httpjson.Source[order](bodyServer(t, 200, `[{"id":1}]`), &httpjson.Options{Since: &httpjson.Since{Path: "updated", Param: "since"}})
	ids, _, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.Equal(t, []int{1}, ids)
	require.ErrorContains(t, err, `no record of http://127.0.0.1`)
	require.ErrorContains(t, err, `"updated": check Since.Path`)
	require.True(t, dataflow.IsPermanent(err))
}

// A cursor of a list that was read to its end is no place in a list that grows.
func TestSource_OrderRemoved(t *testing.T) {
	t.Parallel()
	_, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, `[]`), nil), httpjson.Cursor{Done: true, Known: "a"})
	require.ErrorContains(t, err, "made with Order or Since")
	require.True(t, dataflow.IsPermanent(err))
}

// A time in the future, such as a mistake or one without its zone, does not hide the records of
// later runs: no run asks for what is after the beginning of the one before.
func TestSource_SinceFuture(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		a := newAPI(nil)
		a.before = func(int, *http.Request) answer {
			return reply(200, map[string]string{"Date": "Sat, 28 Nov 2026 10:00:00 GMT"}, `[{"id":1,"at":"2099-01-01"},{"id":2,"at":"2026-11-28T12:00:00"}]`)
		}
		src := httpjson.Source[order]("https://api.test/x", &httpjson.Options{Client: a.client(), Stream: stream, Since: &httpjson.Since{Path: "at", Param: "since"}})
		for range 2 {
			ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.NoError(t, err)
			require.Equal(t, []int{1, 2}, ids)
			_, _, err = read(t.Context(), t, src, at)
			require.NoError(t, err)
			require.Equal(t, "/x?since=2026-11-28T09:59:00Z", a.requests[len(a.requests)-1])
		}
	}
}

// Records that an earlier run has read count as read again, wherever a run goes on. A target that only
// appends is refused.
func TestSource_SinceAgain(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		a := newAPI(nil)
		list := `[{"id":1,"at":"2026-11-25T10:00:00Z"},{"id":2,"at":"2026-11-25T10:00:30Z"}`
		a.before = func(int, *http.Request) answer {
			return reply(200, map[string]string{"Date": "Sat, 28 Nov 2026 10:00:00 GMT"}, list+`]`)
		}
		src := httpjson.Source[order]("https://api.test/x", &httpjson.Options{Client: a.client(), Stream: stream, Since: &httpjson.Since{Path: "at", Param: "since"}})
		_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		list += `,{"id":3,"at":"2026-11-25T10:00:10Z"},{"id":"bad","at":"2026-11-25T10:00:20Z"},{"id":4},{"id":5,"at":"2026-11-25T10:00:31Z"}`
		all := []bool{true, true, true, true, false, false}
		for i := range all {
			var again []bool
			next := at
			for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{From: at, Resumed: true}) {
				if bad := (*dataflow.RecordError)(nil); err != nil {
					require.ErrorAs(t, err, &bad)
				}
				if item.Mark {
					continue
				}
				if again = append(again, item.Again); len(again) == 1 {
					next = item.Cursor
				}
			}
			require.Equal(t, all[i:], again)
			at = next
		}
	}
	for name, opts := range map[string]httpjson.Options{
		"lookback": {Since: &httpjson.Since{Path: "at", Param: "since"}}, "snapshot": {Snapshot: true}, "expired": {RestartExpired: true},
		"": {Since: &httpjson.Since{Path: "at", Param: "since", Lookback: -1}}, "newest": {Order: httpjson.NewestFirst, Since: &httpjson.Since{Path: "at"}},
	} {
		rereads := httpjson.Source[order]("https://api.test/x", &opts).(dataflow.Rereader).Rereads()
		require.Equal(t, name != "" && name != "newest", rereads, name)
	}
}

// A list sorted newest first by the time of the change begins with changed records: they do not hide the new ones
// after them.
func TestSource_NewestFirstChanged(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		a := newAPI(nil)
		list := `{"id":2,"at":"2026-11-27T10:00:00Z"},{"id":1,"at":"2026-11-27T09:00:00Z"}]`
		a.before = func(int, *http.Request) answer {
			return reply(200, map[string]string{"Date": "Sat, 28 Nov 2026 10:00:00 GMT"}, `[`+list)
		}
		src := httpjson.Source[order]("https://api.test/x", &httpjson.Options{
			Client: a.client(), Stream: stream, Key: "id", Order: httpjson.NewestFirst, Since: &httpjson.Since{Path: "at"},
		})
		ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, []int{2, 1}, ids)
		list = `{"id":1,"at":"2026-11-27T12:00:00Z"},{"id":3,"at":"2026-11-27T11:00:00Z"},{"id":2,"at":"2026-11-27T10:00:00Z"}]`
		for _, want := range [][]int{{1, 3}, nil} {
			ids, at, err = read(t.Context(), t, src, at)
			require.NoError(t, err)
			require.Equal(t, want, ids)
		}
	}
}

// A cursor from before Since was set, or of an earlier version, knows records by their keys alone. They are not read again.
func TestSource_NewestFirstKnownByKey(t *testing.T) {
	t.Parallel()
	a := newAPI(nil)
	a.before = func(int, *http.Request) answer {
		return reply(200, nil, `[{"id":2,"at":"2026-11-27T10:00:00Z"},{"id":1,"at":"2026-11-27T09:00:00Z"}]`)
	}
	options := &httpjson.Options{Client: a.client(), Key: "id", Order: httpjson.NewestFirst}
	ids, at, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", options), httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{2, 1}, ids)
	options.Since = &httpjson.Since{Path: "at"}
	for _, since := range []string{"", "2026-11-27T10:00:00Z"} {
		at.Since = since
		ids, _, err = read(t.Context(), t, httpjson.Source[order]("https://api.test/x", options), at)
		require.NoError(t, err)
		require.Empty(t, ids, since)
	}
}
