package jsonrpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/notes"
)

// scripted serves results by their cursors.
func scripted(t *testing.T, results map[string]string) dataflow.Source[row, Cursor] {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var call struct {
			Params struct{ Cursor string }
		}
		_ = json.NewDecoder(req.Body).Decode(&call)
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":"1","result":%s}`, results[call.Params.Cursor])
	}))
	t.Cleanup(server.Close)
	return Source[row](server.URL, "list", &Options{Records: "items", Next: "cursor"})
}

func readRows(t *testing.T, src dataflow.Source[row, Cursor], from Cursor) (ns []int, at Cursor, err error) {
	t.Helper()
	at = from
	for item, ierr := range src.Read(t.Context(), dataflow.Request[Cursor]{From: from, Resumed: true}) {
		if ierr != nil {
			return ns, at, ierr
		}
		if at = item.Cursor; !item.Mark {
			ns = append(ns, item.Value.N)
		}
	}
	return ns, at, nil
}

// A result that names its own call as the next is the last.
func TestSource_NextIsItself(t *testing.T) {
	t.Parallel()
	for _, last := range []string{`{"items":[{"n":2}],"cursor":"b"}`, `{"items":[{"n":2}],"cursor":"c"}`} {
		results := map[string]string{"": `{"items":[{"n":1}],"cursor":"b"}`, "b": last, "c": `{"items":[],"cursor":"c"}`}
		src := scripted(t, results)
		ns, at, err := readRows(t, src, Cursor{})
		require.NoError(t, err)
		require.Equal(t, []int{1, 2}, ns)
		results["b"], results["c"] = `{"items":[{"n":2}],"cursor":"c"}`, `{"items":[{"n":3}],"cursor":"c"}`
		ns, _, err = readRows(t, src, at)
		require.NoError(t, err)
		require.Equal(t, []int{3}, ns)
	}
}

// The usual ways to say that no call follows are no cursors.
func TestSource_NoNext(t *testing.T) {
	t.Parallel()
	for _, end := range []string{`null`, `""`, `false`, `0`, `-1`, `[]`, `{}`, ` 0 `} {
		calls := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			var call struct {
				Params struct{ Cursor int }
			}
			calls++
			next := end
			if _ = json.NewDecoder(req.Body).Decode(&call); call.Params.Cursor != -7 { // some APIs have negative cursors
				next = "-7"
			}
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":"1","result":{"items":[{"n":%d}],"cursor":%s}}`, call.Params.Cursor, next)
		}))
		t.Cleanup(server.Close)
		ns, _, err := readRows(t, Source[row](server.URL, "list", &Options{Records: "items", Next: "cursor"}), Cursor{})
		require.NoError(t, err, end)
		require.Equal(t, []int{0, -7}, ns, end)
		require.Equal(t, 2, calls, end)
	}
}

// A cycle of results is an error before a record is doubled, in each run.
func TestSource_Cycle(t *testing.T) {
	t.Parallel()
	src := scripted(t, map[string]string{
		"":  `{"items":[{"n":1}],"cursor":"b"}`,
		"b": `{"items":[{"n":2}],"cursor":"c"}`,
		"c": `{"items":[{"n":3}],"cursor":"b"}`,
	})
	ns, at, err := readRows(t, src, Cursor{})
	require.Equal(t, []int{1, 2}, ns)
	for range 3 {
		require.ErrorContains(t, err, `at call "c" record 0: it names the page "b" as the next`)
		require.True(t, dataflow.IsPermanent(err))
		ns, at, err = readRows(t, src, at)
		require.Empty(t, ns)
	}
}

func TestSource_EqualResults(t *testing.T) {
	t.Parallel()
	src := scripted(t, map[string]string{
		"":  `{"items":[{"n":1}],"cursor":"b"}`,
		"b": `{"items":[{"n":1}],"cursor":"c"}`,
	})
	ns, _, err := readRows(t, src, Cursor{})
	require.Equal(t, []int{1}, ns)
	require.ErrorContains(t, err, "it has the same records as the page first")
}

func TestSource_NoRecords(t *testing.T) {
	t.Parallel()
	src := scripted(t, map[string]string{"": `{"items":null,"errors":[{"message":"boom"}]}`})
	_, _, err := readRows(t, src, Cursor{})
	require.ErrorContains(t, err, `the server reports errors: [{"message":"boom"}]`)
	require.False(t, dataflow.IsPermanent(err))

	s := &rpc{answer: "\uFEFF" + `{"jsonrpc":"2.0","id":"1","result":null}`}
	_, _, err = readRows(t, Source[row]("https://api.test/", "list", &Options{Client: s.client()}), Cursor{})
	require.ErrorContains(t, err, "the response is null, not records")
	require.True(t, dataflow.IsPermanent(err))
}

func TestSource_NullRecord(t *testing.T) {
	t.Parallel()
	src := scripted(t, map[string]string{"": `{"items":[{"n":1},null]}`})
	ns, _, err := readRows(t, src, Cursor{})
	require.Equal(t, []int{1}, ns)
	var bad *dataflow.RecordError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "first call record 2", bad.Key)
	require.EqualError(t, bad.Err, "the record is null")
}

// A response that was cut off is requested again.
func TestSource_CutBody(t *testing.T) {
	t.Parallel()
	s := &rpc{answer: `{"jsonrpc":"2.0","id":"1","resu`}
	_, _, err := readRows(t, Source[row]("https://api.test/", "list", &Options{Client: s.client(), Tries: 2}), Cursor{})
	require.ErrorContains(t, err, "the response ends within a JSON value")
	require.False(t, dataflow.IsPermanent(err))
	require.Len(t, s.calls, 2)
}

// So is an empty one.
func TestSource_EmptyBody(t *testing.T) {
	t.Parallel()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked > 1 {
			_, _ = fmt.Fprint(w, `{"jsonrpc":"2.0","id":"1","result":[{"n":1}]}`)
		}
	}))
	t.Cleanup(server.Close)
	ns, _, err := readRows(t, Source[row](server.URL, "list", nil), Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1}, ns)

	asked = 0 // with this status it is empty on purpose, also of a sink's rows
	none := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(none.Close)
	_, _, err = readRows(t, Source[row](none.URL, "list", nil), Cursor{})
	require.True(t, dataflow.IsPermanent(err))
	require.Equal(t, 1, asked)
}

// A server may begin a result with the record that names its call. It is read once.
func TestSource_ResultBeginsWithItsName(t *testing.T) {
	t.Parallel()
	results := map[string]string{
		"":  `{"items":[{"n":1,"text":"a"},{"n":2,"text":"b"}]}`,
		"b": `{"items":[{"n":2,"text":"b"},{"n":3,"text":"c"}]}`,
		"c": `{"items":[{"n":3,"text":"c"}]}`,
	}
	src := scripted(t, results)
	src.(*source[row]).opts.Next = "items.-1.text"
	ns, at, err := readRows(t, src, Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3}, ns)
	ns, at, err = readRows(t, src, at)
	require.NoError(t, err)
	require.Empty(t, ns)
	results["c"] = `{"items":[{"n":3,"text":"c"},{"n":4,"text":"c"}]}`
	ns, _, err = readRows(t, src, at)
	require.NoError(t, err)
	require.Equal(t, []int{4}, ns)
}

// Several records may have the name of the call, as keys of a view do in CouchDB. Each is read once.
func TestSource_ResultBeginsWithSeveralOfItsName(t *testing.T) {
	t.Parallel()
	src := scripted(t, map[string]string{
		"":  `{"items":[{"n":1,"text":"a"},{"n":2,"text":"b"},{"n":3,"text":"b"}]}`,
		"b": `{"items":[{"n":2,"text":"b"},{"n":3,"text":"b"},{"n":4,"text":"c"}]}`,
		"c": `{"items":[{"n":4,"text":"c"}]}`,
	})
	src.(*source[row]).opts.Next = "items.-1.text"
	ns, _, err := readRows(t, src, Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3, 4}, ns)
}

// A path of Next that is misspelt would read the first result alone, in silence.
func TestSource_NextMisspelt(t *testing.T) {
	t.Parallel()
	for result, says := range map[string]bool{
		`{"items":[{"n":1}],"next_cursor":"b"}`: true, `{"items":[{"n":1}],"cursor":null}`: false, `{"items":[]}`: false,
	} {
		var log bytes.Buffer
		ctx := notes.With(t.Context(), slog.New(slog.NewTextHandler(&log, nil)))
		for _, err := range scripted(t, map[string]string{"": result}).Read(ctx, dataflow.Request[Cursor]{}) {
			require.NoError(t, err)
		}
		require.Equal(t, says, strings.Contains(log.String(), "nothing at the path of Options.Next, which should name the next call; it counts as the only one\" path=cursor method=list records=1"), log.String())
	}
}
