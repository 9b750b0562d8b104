package httpjson_test

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// endless serves one page with so many records of about 200 bytes.
func endless(t *testing.T, n int) string {
	t.Helper()
	note := strings.Repeat("x", 170)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := bufio.NewWriterSize(w, 1<<16)
		_, _ = out.WriteString(`{"items":[`)
		for i := 1; i <= n; i++ {
			if i > 1 {
				_ = out.WriteByte(',')
			}
			_, _ = fmt.Fprintf(out, `{"id":%d,"note":"%s"}`, i, note)
		}
		_, _ = out.WriteString(`]}`)
		_ = out.Flush()
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// A page of any length is read in little memory. It is not a parallel test, so that it has
// the memory for itself.
func TestSource_StreamMemory(t *testing.T) { //nolint:paralleltest // see above
	const records = 250_000 // 50 MB
	address := endless(t, records)
	used := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	runtime.GC()
	idle, most, n := used(), uint64(0), 0
	began := time.Now()
	for item, err := range httpjson.Source[order](address, &httpjson.Options{Records: "items", Stream: true}).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
		require.NoError(t, err)
		if n++; item.Value.ID != n {
			require.Equal(t, n, item.Value.ID)
		}
		if n%1000 == 0 {
			most = max(most, used())
		}
	}
	require.Equal(t, records, n)
	t.Logf("%d MiB above idle, in %s", (int64(most)-int64(idle))>>20, time.Since(began))
	require.Less(t, int64(most)-int64(idle), int64(32<<20))
}

// A stream that breaks continues after the last record, and is tried again by the engine.
func TestSource_StreamBroken(t *testing.T) {
	t.Parallel()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		body := `{"items":[{"id":1},{"id":2},{"id":3}]}`
		if asked == 1 {
			body = body[:25]
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer func(c net.Conn) { _ = c.Close() }(conn)
		_, _ = fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+body)
	}))
	t.Cleanup(server.Close)
	src := httpjson.Source[order](server.URL, &httpjson.Options{Records: "items", Stream: true})
	ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.Equal(t, []int{1}, ids)
	require.ErrorContains(t, err, "page first of http://")
	require.ErrorContains(t, err, "ends within a JSON value")
	requireSignal(t, dataflow.Transient(errAny), err)
	ids, _, err = read(t.Context(), t, src, at)
	require.NoError(t, err)
	require.Equal(t, []int{2, 3}, ids)
}

// Streams have pages too, and notice one that comes again.
func TestSource_StreamPages(t *testing.T) {
	t.Parallel()
	for path, paging := range pagings() {
		a := newAPI(orders(23))
		src := httpjson.Source[order]("https://api.test"+path, &httpjson.Options{Records: "data.orders", Client: a.client(), Paging: paging, Stream: true, Key: "id"})
		ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, numbers(1, 23), ids)
		a.add(orders(30)[23:]...)
		ids, _, err = read(t.Context(), t, src, at)
		require.NoError(t, err)
		require.Equal(t, numbers(24, 30), ids, path)
		require.Zero(t, a.open.Load())
	}
	same := httpjson.Source[order](bodyServer(t, 200, `[{"id":1}]`), &httpjson.Options{Paging: httpjson.PageNumber{}, Stream: true})
	ids, _, err := read(t.Context(), t, same, httpjson.Cursor{})
	require.ErrorContains(t, err, "the same records")
	require.Equal(t, []int{1, 1}, ids)
	for body, text := range map[string]string{`<html>`: "not JSON", `{"items":[{"a":tru}]}`: "not JSON", `{"data":[]}`: `there is no field "items"`, `{"items":[],"errors":[1]}`: "the server reports errors"} {
		_, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, body), &httpjson.Options{Records: "items", Stream: true}), httpjson.Cursor{})
		require.ErrorContains(t, err, text)
	}
	ids, _, err = read(t.Context(), t, httpjson.Source[order](bodyServer(t, http.StatusNoContent, ""), &httpjson.Options{Records: "items", Stream: true}), httpjson.Cursor{})
	require.NoError(t, err)
	require.Empty(t, ids)
}

// A stream of what has changed since a time may be unchanged: 304.
func TestSource_StreamUnchanged(t *testing.T) {
	t.Parallel()
	a := newAPI(nil)
	a.before = func(_ int, req *http.Request) answer {
		if req.Header.Get("If-Modified-Since") != "" {
			return reply(http.StatusNotModified, nil, "")
		}
		return reply(200, map[string]string{"Date": "Sat, 28 Nov 2026 10:00:00 GMT"}, `[{"id":1,"at":"2026-11-28T09:00:00Z"}]`)
	}
	src := httpjson.Source[order]("https://api.test/", &httpjson.Options{Client: a.client(), Stream: true, Since: &httpjson.Since{
		Path: "at", Param: "header:If-Modified-Since", Format: func(t time.Time) string { return t.Format(http.TimeFormat) },
	}})
	ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1}, ids)
	ids, again, err := read(t.Context(), t, src, at)
	require.NoError(t, err)
	require.Empty(t, ids)
	require.Equal(t, at, again)
}

// JSON lines: a bad line is a bad record, and a line that is cut off is tried again.
func TestSource_Lines(t *testing.T) {
	t.Parallel()
	var ids, bad []string
	for item, err := range httpjson.Source[order](bodyServer(t, 200, "{\"id\":1}\n\n{\"id\":2}\r\nnope\nnull\n{\"id\":\"x\"}\n {\"id\":3} "), &httpjson.Options{Lines: true}).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
		var record *dataflow.RecordError
		if err != nil {
			require.ErrorAs(t, err, &record)
			bad = append(bad, string(record.Raw))
			continue
		}
		ids = append(ids, fmt.Sprint(item.Value.ID))
	}
	require.Equal(t, []string{"1", "2", "3"}, ids)
	require.Equal(t, []string{"nope", "null", `{"id":"x"}`}, bad)
	bad = nil
	for _, err := range httpjson.Source[order](bodyServer(t, 200, "{\"id\":1}\n{\"id\":NaN}\n"), &httpjson.Options{Lines: true}).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
		if record := (*dataflow.RecordError)(nil); errors.As(err, &record) {
			bad = append(bad, string(record.Raw))
		} else {
			require.NoError(t, err, "a last line that is bad is a bad record, too")
		}
	}
	require.Equal(t, []string{`{"id":NaN}`}, bad)
	got, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, "{\"id\":1}\n{\"id\":2"), &httpjson.Options{Lines: true}), httpjson.Cursor{})
	require.Equal(t, []int{1}, got)
	requireSignal(t, dataflow.Transient(errAny), err)
	got, _, err = read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, ""), &httpjson.Options{Lines: true}), httpjson.Cursor{})
	require.NoError(t, err)
	require.Empty(t, got)
}

// A slow response may take longer than Timeout as a stream, as long as it moves.
func TestSource_StreamSlow(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `[{"id":1},`)
		_ = http.NewResponseController(w).Flush()
		<-more // never
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(more) })
	ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &httpjson.Options{Stream: true, Timeout: 2 * time.Second, Tries: 1}), httpjson.Cursor{})
	require.Equal(t, []int{1}, ids)
	require.ErrorContains(t, err, "no response within 2s")
	requireSignal(t, dataflow.Transient(errAny), err)
}

// JSON lines that end with their connection may have been cut after a line. The log says so, if neither the next page
// nor a later run would read the rest.
func TestLines_MayBeCut(t *testing.T) {
	t.Parallel()
	line := `{"id":1,"at":"2026-11-27T10:00:00Z"}` + "\n"
	since := &httpjson.Since{Path: "at", Param: "since"}
	for _, c := range []struct {
		header string
		opts   httpjson.Options
		warns  bool
	}{
		{"HTTP/1.0 200 OK\r\n", httpjson.Options{Since: since}, true},
		{"HTTP/1.1 200 OK\r\nConnection: close\r\n", httpjson.Options{Order: httpjson.NewestFirst}, true},
		{"HTTP/1.0 200 OK\r\n", httpjson.Options{}, false},
		{"HTTP/1.0 200 OK\r\nX-Next: b\r\n", httpjson.Options{Paging: httpjson.HeaderCursor{Header: "X-Next"}}, true},
		{"HTTP/1.0 200 OK\r\n", httpjson.Options{Paging: httpjson.HeaderCursor{Header: "X-Next"}}, false},
		{"HTTP/1.0 200 OK\r\n", httpjson.Options{Paging: httpjson.PageNumber{}}, true},
		{"HTTP/1.0 200 OK\r\n", httpjson.Options{Paging: httpjson.Offset{}}, false},
		{fmt.Sprintf("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n", len(line)), httpjson.Options{Since: since}, false},
	} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() {
			for header, body := c.header, line; ; header, body = "HTTP/1.1 200 OK\r\n", "" { // later pages are empty
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = fmt.Fprint(conn, header+"Connection: close\r\nDate: Sat, 28 Nov 2026 10:00:00 GMT\r\n\r\n"+body)
				_ = conn.Close()
			}
		}()
		var logged strings.Builder
		c.opts.Lines, c.opts.Logger = true, slog.New(slog.NewTextHandler(&logged, nil))
		ids, _, err := read(t.Context(), t, httpjson.Source[order]("http://"+listener.Addr().String(), &c.opts), httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, []int{1}, ids)
		require.Equal(t, c.warns, strings.Contains(logged.String(), "one that was cut after a line looks whole"), c.header)
		require.NoError(t, listener.Close())
	}
}
