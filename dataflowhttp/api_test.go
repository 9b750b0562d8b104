package dataflowhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// apiT calls an API under the prefix /ops.
type apiT struct {
	*dbT
	client *dataflow.Client
	server *httptest.Server
	header http.Header
}

// oddName has what a path must encode.
const oddName = "a/b c%<b>&?é"

func apiFlows() []*dataflow.Flow {
	bad := dataflow.Map(func(_ context.Context, n int) (int, error) {
		if n == 2 {
			return 0, errors.New("<script>two</script>")
		}
		return n, nil
	})
	letters := &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}
	return []*dataflow.Flow{
		dataflow.NewFlow("orders", memory.Slice([]int{1, 2, 3}), bad, memory.NewSink[int]().Target(), letters),
		dataflow.NewFlow(oddName, memory.Slice([]int{1}), dataflow.Identity[int](), memory.NewSink[int]().Target(),
			&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Schedule: dataflow.Schedule{Cron: "@daily"}}}),
	}
}

// api serves the API of a client of the flows, or of apiFlows.
func (t *dbT) api(opts *dataflowhttp.APIOptions, flows ...*dataflow.Flow) *apiT {
	t.Helper()
	if len(flows) == 0 {
		flows = apiFlows()
	}
	a := &apiT{dbT: t, client: t.client(flows...), header: http.Header{}}
	require.NoError(t, a.client.Register(t.Context()))
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	handler, err := dataflowhttp.API(a.client, opts)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/ops/", http.StripPrefix("/ops", handler))
	a.server = httptest.NewServer(mux)
	t.Cleanup(a.server.Close)
	return a
}

// allow lets everybody do everything, as ann.
func allow(*http.Request, dataflowhttp.Action, string) (string, error) { return "ann", nil }

// call makes a request, requires its status, and returns the answer.
func (a *apiT) call(status int, method, path string, body any) map[string]any {
	a.Helper()
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		require.NoError(a, err)
		content = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(a.Context(), method, a.server.URL+"/ops"+path, content)
	require.NoError(a, err)
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
	}
	for name := range a.header {
		r.Header.Set(name, a.header.Get(name))
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(a, err)
	defer func() { require.NoError(a, resp.Body.Close()) }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(a, err)
	require.Equal(a, status, resp.StatusCode, "%s %s: %s", method, path, data)
	require.Equal(a, "nosniff", resp.Header.Get("X-Content-Type-Options"))
	require.Equal(a, "no-store", resp.Header.Get("Cache-Control"))
	kind := "application/json"
	if status >= 400 {
		kind = "application/problem+json"
	}
	require.Equal(a, kind, resp.Header.Get("Content-Type"))
	var answer map[string]any
	require.NoError(a, json.Unmarshal(data, &answer), "%s", data)
	if status >= 400 {
		require.InDelta(a, status, answer["status"], 0)
		require.Equal(a, http.StatusText(status), answer["title"])
	}
	return answer
}

func (a *apiT) get(path string) map[string]any {
	a.Helper()
	return a.call(http.StatusOK, "GET", path, nil)
}

// list returns a list in an answer.
func list(t *dbT, answer map[string]any, name string) []map[string]any {
	t.Helper()
	all, ok := answer[name].([]any)
	require.True(t, ok, "%v", answer)
	var rows []map[string]any
	for _, one := range all {
		row, ok := one.(map[string]any)
		require.True(t, ok)
		rows = append(rows, row)
	}
	return rows
}

func TestAPI(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a := t.api(&dataflowhttp.APIOptions{Authorize: allow})
		odd := "/flows/" + url.PathEscape(oddName)
		require.Equal(t, oddName, a.get(odd)["name"])
		require.Equal(t, "heartbeat", a.get("/flows/orders")["runtime"].(map[string]any)["type"])
		require.NotEmpty(t, a.get(odd + "/why")["causes"])
		require.Len(t, a.get(odd + "/ticks?n=3")["ticks"], 3)

		run := a.call(http.StatusCreated, "POST", "/flows/orders/runs", map[string]any{"reason": "a test"})
		require.Equal(t, "pending", run["state"])
		require.Equal(t, "ann", run["actor"])
		require.Equal(t, "a test", run["reason"])
		_, err := a.client.Tick(t.Context())
		require.NoError(t, err)
		shown := a.get(fmt.Sprintf("/runs/%v", run["id"]))
		require.Equal(t, "success", shown["state"])
		require.InDelta(t, 3, a.get(fmt.Sprintf("/runs/%v/progress", run["id"]))["counters"].(map[string]any)["read"], 0)

		letters := list(t, a.get("/dead-letters?flow=orders&open=true"), "dead_letters")
		require.Len(t, letters, 1)
		require.Equal(t, "<script>two</script>", letters[0]["error"])
		report := a.call(http.StatusOK, "POST", "/flows/orders/dead-letters/replay", map[string]any{"ids": []any{letters[0]["id"]}})
		require.Empty(t, report["replayed"])
		require.Contains(t, fmt.Sprint(report["failed"]), "two")

		cursor := a.get("/flows/orders/cursor")
		require.InDelta(t, 3, cursor["cursor"], 0)
		moved := a.call(http.StatusOK, "PUT", "/flows/orders/cursor", map[string]any{"cursor": nil, "if_seq": cursor["seq"], "reason": "again"})
		require.Nil(t, moved["cursor"])
		require.Equal(t, "cursor_moved", a.call(http.StatusConflict, "PUT", "/flows/orders/cursor", map[string]any{"cursor": 1, "if_seq": cursor["seq"]})["code"])
		changes := list(t, a.get("/flows/orders/cursor/history"), "changes")
		require.Len(t, changes, 1)
		require.Equal(t, "ann", changes[0]["actor"])

		paused := a.call(http.StatusOK, "POST", odd+"/pause", map[string]any{"reason": "the disk is full"})
		require.Equal(t, "paused", paused["state"])
		require.Equal(t, "disabled", a.call(http.StatusConflict, "POST", odd+"/runs", nil)["code"])
		require.Equal(t, "active", a.call(http.StatusOK, "POST", odd+"/resume", nil)["state"])

		backfill := list(t, a.call(http.StatusCreated, "POST", "/flows/orders/backfills", map[string]any{"reason": "all of it"}), "runs")
		require.Len(t, backfill, 1)
		require.Equal(t, "backfill", backfill[0]["trigger"])
		ended := a.call(http.StatusOK, "POST", fmt.Sprintf("/runs/%v/cancel", backfill[0]["id"]), map[string]any{"reason": "too early"})
		require.Equal(t, "cancelled", ended["state"])
		require.Equal(t, "too early", ended["cancel_reason"])
		require.Equal(t, "retry", a.call(http.StatusCreated, "POST", fmt.Sprintf("/runs/%v/retry", backfill[0]["id"]), nil)["trigger"])

		require.Empty(t, list(t, a.get("/processes"), "processes"))
		require.NotEmpty(t, list(t, a.get("/totals?flow=orders"), "totals"))
		require.Empty(t, list(t, a.get("/skipped-ticks"), "skipped_ticks"))
		require.Equal(t, "3.1.0", a.get("/openapi.json")["openapi"])
	})
}

func TestAPI_Pages(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a := t.api(&dataflowhttp.APIOptions{})
		for range 5 {
			_, err := a.client.Trigger(t.Context(), "orders", nil)
			require.NoError(t, err)
		}
		var ids []any
		path := "/runs?flow=orders&state=success&state=failed&limit=2"
		for next := ""; ; {
			page := a.get(path + next)
			for _, run := range list(t, page, "runs") {
				ids = append(ids, run["id"])
			}
			if page["next"] == nil {
				break
			}
			next = fmt.Sprintf("&before=%v", page["next"])
		}
		require.Len(t, ids, 5)
		first := a.get("/flows?limit=1")
		second := a.get("/flows?limit=1&after=" + url.QueryEscape(first["next"].(string)))
		require.Equal(t, oddName, list(t, first, "flows")[0]["name"])
		require.Equal(t, "orders", list(t, second, "flows")[0]["name"])
	})
}

// Without Authorize nothing can be changed, and with it everything is asked for.
func TestAPI_Authorize(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a := t.api(&dataflowhttp.APIOptions{})
		a.get("/flows")
		for _, path := range []string{"/flows/orders/pause", "/flows/orders/resume", "/flows/orders/runs", "/flows/orders/backfills", "/flows/orders/dead-letters/replay", "/runs/1/cancel", "/runs/1/retry"} {
			require.Equal(t, "read_only", a.call(http.StatusForbidden, "POST", path, nil)["code"])
		}
		require.Equal(t, "read_only", a.call(http.StatusForbidden, "PUT", "/flows/orders/cursor", nil)["code"])

		var asked []string
		a = t.api(&dataflowhttp.APIOptions{Authorize: func(_ *http.Request, action dataflowhttp.Action, flow string) (string, error) {
			asked = append(asked, string(action)+" "+flow)
			if action != dataflowhttp.ActionRead {
				return "", errors.New("only on weekdays")
			}
			return "bob", nil
		}})
		a.get("/flows/orders")
		refused := a.call(http.StatusForbidden, "POST", "/flows/orders/pause", nil)
		require.Equal(t, "only on weekdays", refused["detail"])
		require.Equal(t, []string{"read orders", "pause orders"}, asked)
		flow, err := a.client.Flow(t.Context(), "orders")
		require.NoError(t, err)
		require.True(t, flow.IsActive())
	})
}

// Who may do everything with one flow can see and end its runs, and none of another flow.
func TestAPI_AuthorizeOneFlow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a := t.api(&dataflowhttp.APIOptions{Authorize: func(_ *http.Request, _ dataflowhttp.Action, flow string) (string, error) {
			if flow != "orders" {
				return "", errors.New("not yours")
			}
			return "ann", nil
		}})
		mine, err := a.client.Enqueue(t.Context(), "orders", nil)
		require.NoError(t, err)
		other, err := a.client.Enqueue(t.Context(), oddName, nil)
		require.NoError(t, err)
		a.get("/runs?flow=orders")
		a.get(fmt.Sprintf("/runs/%d", mine.ID))
		a.call(http.StatusOK, "POST", fmt.Sprintf("/runs/%d/cancel", mine.ID), nil)
		a.call(http.StatusCreated, "POST", fmt.Sprintf("/runs/%d/retry", mine.ID), nil)
		for _, path := range []string{"/runs", "/runs?flow=other", "/runs?flow=other&flow=orders", "/runs/99", "/runs/x", fmt.Sprintf("/runs/%d", other.ID), fmt.Sprintf("/runs/%d/progress", other.ID)} {
			a.call(http.StatusForbidden, "GET", path, nil)
		}
		a.call(http.StatusForbidden, "POST", fmt.Sprintf("/runs/%d/cancel", other.ID), nil)
		a.call(http.StatusBadRequest, "POST", fmt.Sprintf("/flows/%s/pause?flow=orders", "orders"), nil)
		a.call(http.StatusForbidden, "GET", fmt.Sprintf("/runs/%d?flow=orders", other.ID), nil)
		a.call(http.StatusBadRequest, "GET", "/processes?flow=orders", nil)
	})
}

// A page of another origin can change nothing, and what is wrong with a request is said.
func TestAPI_Refused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a := t.api(&dataflowhttp.APIOptions{Authorize: allow})
		a.header.Set("Sec-Fetch-Site", "cross-site")
		require.Equal(t, "other_origin", a.call(http.StatusForbidden, "POST", "/flows/orders/pause", nil)["code"])
		a.header.Del("Sec-Fetch-Site")
		a.header.Set("Origin", "https://elsewhere.example")
		require.Equal(t, "other_origin", a.call(http.StatusForbidden, "POST", "/flows/orders/pause", nil)["code"])
		a.header.Del("Origin")
		a.header.Set("Content-Type", "text/plain")
		require.Equal(t, "no_json", a.call(http.StatusUnsupportedMediaType, "POST", "/flows/orders/pause", nil)["code"])
		a.header.Del("Content-Type")

		for _, c := range []struct {
			status             int
			method, path, code string
			body               any
		}{
			{404, "GET", "/flows/missing", "not_found", nil},
			{404, "GET", "/flows/missing/why", "not_found", nil},
			{404, "GET", "/runs?flow=missing", "not_found", nil},
			{404, "GET", "/runs/99", "not_found", nil},
			{404, "GET", "/runs/x", "not_found", nil},
			{404, "GET", "/nothing", "no_such_path", nil},
			{405, "DELETE", "/flows/orders", "method_not_allowed", nil},
			{400, "GET", "/runs?stat=failed", "unknown_parameter", nil},
			{400, "GET", "/runs?limit=many", "bad_parameter", nil},
			{400, "GET", "/runs?before=-1", "bad_parameter", nil},
			{400, "GET", "/flows?due=yes", "bad_parameter", nil},
			{400, "GET", "/totals?from=yesterday", "bad_parameter", nil},
			{400, "GET", "/flows/orders/ticks?n=100000", "bad_parameter", nil},
			{404, "GET", "/flows/%00", "not_found", nil},
			{404, "GET", "/flows/%ff/why", "not_found", nil},
			{400, "GET", "/runs?flow=%00", "bad_parameter", nil},
			{400, "GET", "/flows?after=%ff", "bad_parameter", nil},
			{400, "GET", "/totals?from=0000-01-01", "bad_parameter", nil},
			{400, "GET", "/runs?flow=100%&state=failed", "bad_parameter", nil},
			{400, "GET", "/runs?flow=orders;state=failed", "bad_parameter", nil},
			{400, "GET", "/runs?flow=orders&flow=" + url.QueryEscape(oddName), "bad_parameter", nil},
			{400, "GET", "/flows?state=active&state=paused", "bad_parameter", nil},
			{400, "POST", "/flows/orders/pause", "bad_body", map[string]any{"reason": "a\x00b"}},
			{422, "GET", "/runs?state=done", "bad_value", nil},
			{422, "GET", "/flows?state=sleepy", "bad_value", nil},
			{422, "GET", "/runs?trigger=cron", "bad_value", nil},
			{422, "GET", "/runs?limit=100000", "bad_value", nil},
			{400, "POST", "/flows/orders/pause", "bad_body", map[string]any{"raeson": "x"}},
			{400, "POST", "/flows/orders/pause", "bad_body", []int{1}},
			{400, "POST", "/flows/orders/pause", "bad_body", json.RawMessage("{\"reason\": \"a\xffb\"}")},
			{400, "POST", "/flows/orders/runs", "bad_body", map[string]any{"at": "noon"}},
			{422, "POST", "/flows/orders/runs", "bad_value", map[string]any{"params": map[string]any{"day": 1}}},
			{422, "PUT", "/flows/orders/cursor", "bad_value", map[string]any{"if_seq": 1}},
			{422, "PUT", "/flows/orders/cursor", "bad_value", map[string]any{"cursor": 1}},
			{422, "POST", "/flows/orders/dead-letters/replay", "bad_value", map[string]any{"ids": []int{}}},
			{422, "POST", "/flows/orders/backfills", "bad_value", map[string]any{"ranges": -1}},
		} {
			require.Equal(t, c.code, a.call(c.status, c.method, c.path, c.body)["code"], c.path)
		}
		big := map[string]any{"reason": strings.Repeat("x", 1<<20)}
		require.Equal(t, "too_large", a.call(http.StatusRequestEntityTooLarge, "POST", "/flows/orders/pause", big)["code"])
		require.Contains(t, a.call(http.StatusUnprocessableEntity, "GET", "/runs?limit=9999999999", nil)["detail"], "9999999999 is out of range")
		require.Contains(t, a.call(http.StatusUnprocessableEntity, "GET", "/flows?state=sleepy", nil)["detail"], "use active or paused")
	})
}

// A body that breaks off is not too large.
func TestAPI_BrokenBody(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a := t.api(&dataflowhttp.APIOptions{Authorize: allow})
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", a.server.Listener.Addr().String())
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close()) }()
		_, err = io.WriteString(conn, "POST /ops/flows/orders/pause HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{\"reas\r\nno number\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, resp.Body.Close()) }()
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		require.Contains(t, string(data), `"code":"bad_body"`)
		require.Contains(t, string(data), "the body cannot be read to its end")
	})
}

// What looks like a secret is masked, and records are left out if the options say so.
func TestAPI_Secrets(t *testing.T) {
	t.Parallel()
	type login struct {
		User     string `json:"user"`
		Password string `json:"password"`
		Nested   []map[string]any
	}
	onBoth(t, func(t *dbT) {
		record := login{"ann", "hush", []map[string]any{{"api_key": "hush", "id": json.Number("12345678901234567890")}}}
		flow := dataflow.NewFlow("logins", memory.Slice([]login{record}), dataflow.Map(func(context.Context, login) (int, error) { return 0, errors.New("no") }),
			memory.NewSink[int]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(1)})
		client := t.client(flow)
		require.NoError(t, client.Register(t.Context()))
		_, err := client.Trigger(t.Context(), "logins", nil)
		require.NoError(t, err)
		for hide, want := range map[bool]string{
			false: `{"Nested":[{"api_key":"***","id":12345678901234567890}],"password":"***","user":"ann"}`,
			true:  `"hidden"`,
		} {
			handler, err := dataflowhttp.API(client, &dataflowhttp.APIOptions{HidePayloads: hide})
			require.NoError(t, err)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/dead-letters", nil))
			require.Equal(t, http.StatusOK, w.Code)
			require.NotContains(t, w.Body.String(), "hush")
			var page struct {
				DeadLetters []struct{ Payload json.RawMessage } `json:"dead_letters"`
			}
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &page))
			require.Equal(t, want, string(page.DeadLetters[0].Payload))
		}
	})
}

// A line that is no record is a text in its dead letter. As JSON, it can have keys all the same.
func TestAPI_SecretsInTexts(t *testing.T) {
	t.Parallel()
	type login struct {
		User, Password string
	}
	lines := `{"user": "ann", "password": "hush",}` + "\n" + `"{\"user\": \"bob\", \"password\": \"hush\"}"` + "\n"
	path := filepath.Join(t.TempDir(), "logins.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(lines), 0o600))
	onBoth(t, func(t *dbT) {
		client := t.client(dataflow.NewFlow("logins", jsonl.Open[login](path, nil), dataflow.Identity[login](),
			memory.NewSink[login]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(2)}))
		require.NoError(t, client.Register(t.Context()))
		_, err := client.Trigger(t.Context(), "logins", nil)
		require.NoError(t, err)
		handler, err := dataflowhttp.API(client, nil)
		require.NoError(t, err)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/dead-letters", nil))
		require.NotContains(t, w.Body.String(), "hush")
		require.Contains(t, w.Body.String(), "bob")
	})
}

// An error of the database is in the log, and not in the answer.
func TestAPI_Failed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a := t.api(&dataflowhttp.APIOptions{})
		require.NoError(t, a.client.MigrateDown(t.Context(), 0))
		answer := a.call(http.StatusServiceUnavailable, "GET", "/runs", nil)
		require.Equal(t, "not_migrated", answer["code"])
		require.Contains(t, answer["detail"], "the database has version 0 of dataflow's tables, and this program needs version ")
	})
	db := dbtest.SQLite(t)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, db.Close())
	var log bytes.Buffer
	handler, err := dataflowhttp.API(client, &dataflowhttp.APIOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/runs", http.NoBody))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Contains(t, w.Body.String(), "the request failed: see the service's log")
	require.Contains(t, log.String(), "database is closed")
	_, err = dataflowhttp.API(nil, nil)
	require.ErrorContains(t, err, "client: it is nil")
}

// Each action is in the audit log, under the name that Authorize gives.
func TestAPI_Audit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		actor := "ann"
		a := t.api(&dataflowhttp.APIOptions{
			Authorize:    func(*http.Request, dataflowhttp.Action, string) (string, error) { return actor, nil },
			HidePayloads: true,
		})
		body := func(pairs ...any) map[string]any {
			b := make(map[string]any)
			for i := 0; i < len(pairs); i += 2 {
				b[pairs[i].(string)] = pairs[i+1] //nolint:forcetypeassert // a test
			}
			return b
		}
		a.call(http.StatusOK, "POST", "/flows/orders/pause", body("reason", "token=hunter2"))
		a.call(http.StatusOK, "POST", "/flows/orders/resume", body())
		actor = ""
		run := a.call(http.StatusCreated, "POST", "/flows/orders/runs", body())
		entries := list(t, a.get("/audit"), "audit")
		require.Len(t, entries, 3)
		require.Equal(t, []any{"trigger", "unknown", run["id"], "orders"}, []any{entries[0]["action"], entries[0]["actor"], entries[0]["run_id"], entries[0]["flow"]})
		require.Equal(t, []any{"resume", "ann", nil}, []any{entries[1]["action"], entries[1]["actor"], entries[1]["run_id"]})
		require.Equal(t, map[string]any{"state": "inactive"}, entries[1]["before"])
		require.Equal(t, map[string]any{"state": "active"}, entries[1]["after"])
		require.Equal(t, "token=***", entries[2]["reason"])

		first := a.get("/audit?flow=orders&actor=ann&limit=1")
		require.Len(t, list(t, first, "audit"), 1)
		second := a.get(fmt.Sprintf("/audit?flow=orders&actor=ann&limit=1&before=%v", first["next"]))
		require.Equal(t, "pause", list(t, second, "audit")[0]["action"])
		require.Equal(t, "not_found", a.call(http.StatusNotFound, "GET", "/audit?flow=order", nil)["code"])
		require.Empty(t, list(t, a.get("/audit?actor=nobody"), "audit"))

		_, err := a.client.Enqueue(t.Context(), oddName, &dataflow.TriggerOptions{Actor: "bob", Params: json.RawMessage(`{"day":"a secret day"}`)})
		if err == nil { // the source takes parameters
			require.Equal(t, map[string]any{"params": "hidden"}, list(t, a.get("/audit?actor=bob"), "audit")[0]["after"])
		}
	})
}
