package dataflowui_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/dataflowui"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

const hostile = `<script>alert(1)</script>"'&`

type record struct {
	ID       int    `json:"id"`
	Text     string `json:"text"`
	Password string `json:"password"`
}

// site is a dashboard under a prefix, and a reader with a cookie jar.
type site struct {
	*testing.T
	db     *sql.DB
	client *dataflow.Client
	server *httptest.Server
	reader *http.Client
	prefix string
}

func allow(*http.Request, dataflowhttp.Action, string) (string, error) { return "ann", nil }

// setup serves a flow "good" of three records, a flow "bad" whose second record is a dead letter,
// a flow "failing", and others.
func setup(t *testing.T, prefix string, opts *dataflowui.Options, text string, others ...*dataflow.Flow) *site {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	refuse := dataflow.Map(func(_ context.Context, r record) (record, error) {
		if r.ID == 2 {
			return r, errors.New("refused " + hostile)
		}
		return r, nil
	})
	rows := []record{{1, "one", "p"}, {2, text, "hunter2"}, {3, "three", "p"}}
	once := &dataflow.FlowOptions{MaxAttempts: 1, Runtime: dataflow.Heartbeat{}}
	db := dbtest.SQLite(t)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Logger: opts.Logger, Flows: append([]*dataflow.Flow{
		dataflow.NewFlow("good", memory.Slice(rows), dataflow.Identity[record](), memory.NewSink[record]().Target(), once),
		dataflow.NewFlow("bad", memory.Slice(rows), refuse, memory.NewSink[record]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9), Runtime: dataflow.Heartbeat{}}),
		dataflow.NewFlow("failing", memory.Slice(rows), refuse, memory.NewSink[record]().Target(), once),
	}, others...)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
	for _, name := range []string{"good", "bad", "failing"} {
		run, err := client.Enqueue(t.Context(), name, nil)
		require.NoError(t, err)
		_, err = client.Wait(t.Context(), run.ID)
		require.Equal(t, name == "failing", err != nil, "%s: %v", name, err)
	}
	ui, err := dataflowui.New(client, opts)
	require.NoError(t, err)
	server := httptest.NewServer(http.StripPrefix(prefix, ui))
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &site{T: t, db: db, client: client, server: server, reader: &http.Client{Jar: jar}, prefix: (&url.URL{Path: prefix}).EscapedPath()}
}

func (s *site) do(req *http.Request) (int, string, http.Header) {
	s.Helper()
	res, err := s.reader.Do(req)
	require.NoError(s, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(s, errors.Join(err, res.Body.Close()))
	return res.StatusCode, string(body), res.Header
}

func (s *site) get(path string) (int, string) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.server.URL+s.prefix+path, http.NoBody)
	require.NoError(s, err)
	status, body, _ := s.do(req)
	return status, body
}

func (s *site) post(path string, form url.Values, header ...string) (int, string) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.server.URL+s.prefix+path, strings.NewReader(form.Encode()))
	require.NoError(s, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	status, body, _ := s.do(req)
	return status, body
}

var tokenOf = regexp.MustCompile(`name="csrf_token" value="([^"]+)"`)

// press sends a form with the token of a page.
func (s *site) press(path string, pairs ...string) (int, string) {
	s.Helper()
	_, page := s.get("/flows/good")
	found := tokenOf.FindStringSubmatch(page)
	require.Len(s, found, 2)
	form := url.Values{"csrf_token": {found[1]}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return s.post(path, form)
}

var linkOf = regexp.MustCompile(`(?:href|src|action)="([^"]+)"`)

func TestNew_PagesUnderAnyPrefix(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "/ops", `/o ps/é%&"<b>`} {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			s := setup(t, prefix, &dataflowui.Options{Authorize: allow}, "two")
			seen := map[string]bool{}
			queue := []string{s.server.URL + s.prefix + "/"}
			for len(queue) > 0 {
				address := queue[0]
				queue = queue[1:]
				if seen[address] {
					continue
				}
				seen[address] = true
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
				require.NoError(t, err)
				status, body, header := s.do(req)
				require.Equal(t, http.StatusOK, status, address)
				require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
				require.NotContains(t, body, "style=", address)
				for _, link := range linkOf.FindAllStringSubmatch(body, -1) {
					next, err := req.URL.Parse(strings.ReplaceAll(link[1], "&amp;", "&"))
					require.NoError(t, err)
					require.True(t, strings.HasPrefix(next.String(), s.server.URL+s.prefix+"/"), "%s has the link %s", address, link[1])
					if next.Fragment = ""; !strings.HasPrefix(link[0], "action") {
						queue = append(queue, next.String())
					}
				}
			}
			require.Greater(t, len(seen), 12, "pages that links lead to")
		})
	}
}

func TestNew_ReadOnly(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{}, "two")
	status, page := s.get("/flows/good")
	require.Equal(t, http.StatusOK, status)
	require.NotContains(t, page, `method="post"`)
	status, _ = s.post("/flows/good/pause", url.Values{"reason": {"x"}})
	require.Equal(t, http.StatusForbidden, status)
	f, err := s.client.Flow(t.Context(), "good")
	require.NoError(t, err)
	require.True(t, f.IsActive())
}

func TestNew_Refusals(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{Authorize: func(r *http.Request, a dataflowhttp.Action, flow string) (string, error) {
		if flow == "bad" {
			return "", fmt.Errorf("%s may not %s", hostile, a)
		}
		return "ann", nil
	}}, "two")
	require.Equal(t, http.StatusOK, first(s.get("/flows/good")))
	for name, try := range map[string]func() (int, string){
		"no token": func() (int, string) { return s.post("/flows/good/pause", url.Values{}) },
		"a forged token": func() (int, string) {
			return s.post("/flows/good/pause", url.Values{"csrf_token": {strings.Repeat("A", 26)}})
		},
		"not allowed":    func() (int, string) { return s.press("/flows/bad/pause", "reason", "x") },
		"reading":        func() (int, string) { return s.get("/flows/bad") },
		"another origin": func() (int, string) { return s.post("/flows/good/pause", url.Values{}, "Sec-Fetch-Site", "cross-site") },
		"an other Origin": func() (int, string) {
			return s.post("/flows/good/pause", url.Values{}, "Origin", "https://evil.example")
		},
	} {
		status, body := try()
		require.Equal(t, http.StatusForbidden, status, name)
		require.NotContains(t, body, "<script>alert", name)
	}
	status, _ := s.press("/flows/good/pause", "reason", strings.Repeat("x", 1<<20))
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	f, err := s.client.Flow(t.Context(), "good")
	require.NoError(t, err)
	require.True(t, f.IsActive())
}

func first(status int, _ string) int { return status }

func TestNew_ShowsTextsAsTexts(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{Authorize: allow}, hostile+strings.Repeat("x", 1<<17))
	for _, path := range []string{"/", "/flows/bad", "/flows/failing", "/runs", "/runs/3", "/dead-letters", "/dead-letters/1", "/flows/" + url.PathEscape(hostile)} {
		_, body := s.get(path)
		require.NotContains(t, body, "<script>alert", path)
		require.NotContains(t, body, "hunter2", path)
	}
	_, list := s.get("/dead-letters")
	require.Less(t, len(list), 20_000, "a list shows no records")
	_, letter := s.get("/dead-letters/1")
	require.Contains(t, letter, "&lt;script&gt;")
	require.Contains(t, letter, "***")

	hidden := setup(t, "", &dataflowui.Options{HidePayloads: true}, "a record nobody may see")
	_, letter = hidden.get("/dead-letters/1")
	require.NotContains(t, letter, "a record nobody may see")
}

func TestNew_Actions(t *testing.T) {
	t.Parallel()
	s := setup(t, "/o ps", &dataflowui.Options{Authorize: allow}, "two")
	ok := func(status int, body string) string {
		t.Helper()
		require.Equal(t, http.StatusOK, status, body) // of the page that follows
		require.Contains(t, body, `role="status"`)
		return body
	}
	require.Contains(t, ok(s.press("/flows/good/pause", "reason", "a look")), "Paused by ann")
	ok(s.press("/flows/good/resume"))
	f, err := s.client.Flow(t.Context(), "good")
	require.NoError(t, err)
	require.True(t, f.IsActive())

	ok(s.press("/flows/good/trigger", "reason", "again"))
	ok(s.press("/flows/good/backfill", "reason", "a rule"))
	runs, err := s.client.Runs(t.Context(), &dataflow.RunListParams{Flow: "good"})
	require.NoError(t, err)
	require.Len(t, runs, 3)
	for _, run := range runs {
		_, err := s.client.Wait(t.Context(), run.ID)
		require.NoError(t, err)
	}

	c, err := s.client.Cursor(t.Context(), "good")
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, first(s.press("/flows/good/cursor", "cursor", "1", "if_seq", fmt.Sprint(c.Seq-1), "reason", "x")))
	require.Contains(t, ok(s.press("/flows/good/cursor", "cursor", "1", "if_seq", fmt.Sprint(c.Seq), "reason", "again from there")), "again from there")
	status, refused := s.press("/flows/good/cursor", "cursor", "{", "reason", "x")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, refused, "nothing was changed")

	require.Contains(t, ok(s.press("/runs/3/retry")), "Run 6")
	_, err = s.client.Wait(t.Context(), 6)
	require.Error(t, err)
	require.Equal(t, http.StatusConflict, first(s.press("/runs/6/cancel", "reason", "late")))

	require.Equal(t, http.StatusBadRequest, first(s.press("/flows/bad/replay")), "none is chosen, which must not replay all")
	ok(s.press("/dead-letters/1/edit", "payload", `{"id":2,"text":"mended","password":"q"}`))
	ok(s.press("/flows/bad/close", "ids", "1", "state", "discarded", "reason", "not wanted"))
	l, err := s.client.DeadLetter(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, dataflow.DeadLetterDiscarded, l.State)
	require.Equal(t, "ann", l.ClosedBy)
}

func TestNew_ReasonsAreRequired(t *testing.T) {
	t.Parallel()
	s := setup(t, "", &dataflowui.Options{Authorize: allow}, "two")
	for _, path := range []string{"/flows/good/pause", "/flows/good/backfill", "/flows/good/cursor", "/flows/bad/close", "/runs/3/cancel"} {
		status, page := s.press(path, "reason", "  ", "ids", "1", "state", "discarded", "cursor", "null")
		require.Equal(t, http.StatusBadRequest, status, path)
		require.Contains(t, page, "the field reason is empty", path)
	}
	_, page := s.get("/audit")
	require.Contains(t, page, "Nobody has done anything yet")
}

func TestNew_Audit(t *testing.T) {
	t.Parallel()
	s := setup(t, "/o ps", &dataflowui.Options{Authorize: allow}, "two")
	s.press("/flows/good/pause", "reason", hostile)
	s.press("/dead-letters/1/edit", "payload", `{"id":2,"text":"two","password":"q"}`)
	s.press("/flows/bad/replay", "ids", "1", "reason", "mended")
	_, page := s.get("/audit")
	for _, text := range []string{"ann", "pause", "&lt;script&gt;alert", "inactive", "replay", "mended", "edit dead letter"} {
		require.Contains(t, page, text)
	}
	require.NotContains(t, page, "<script>alert")
	_, page = s.get("/audit?flow=bad&actor=ann")
	require.NotContains(t, page, "inactive")
	_, page = s.get("/audit?flow=goo")
	require.Contains(t, page, "No entry fits")
}

func TestNew_ReplayThatFailsAgain(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{Authorize: allow}, "two")
	status, page := s.press("/flows/bad/replay", "ids", "1")
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, page, "0 of 1 dead letters was replayed")
	require.Contains(t, page, "dead letter 1: ")
	require.NotContains(t, page, `role="status"`)
}

func TestNew_Events(t *testing.T) {
	t.Parallel()
	s := setup(t, "", &dataflowui.Options{}, "two")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+"/runs/2/events", http.NoBody)
	require.NoError(t, err)
	res, err := s.reader.Do(req)
	require.NoError(t, err)
	defer res.Body.Close() //nolint:errcheck // the body was read
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	lines := bufio.NewScanner(res.Body)
	require.True(t, lines.Scan())
	require.Equal(t, "event: end", lines.Text())
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), `"read":"3"`)
	require.Contains(t, lines.Text(), `"dead":"1"`)
	require.Contains(t, lines.Text(), `"percent":`)
	require.Equal(t, http.StatusNotFound, first(s.get("/runs/99/events")))
}

func TestNew_UnknownFlowOfAFilter(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{}, "two")
	for _, path := range []string{"/runs?flow=goo", "/skipped-ticks?flow=goo", "/dead-letters?flow=goo", "/audit?flow=goo"} {
		status, page := s.get(path)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, page, `name="flow" value="goo"`, "what was typed can be mended")
	}
}

func TestNew_EnterInAReasonReplaysNothing(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{Authorize: allow}, "two")
	_, page := s.get("/dead-letters?flow=bad")
	_, buttons, _ := strings.Cut(page, `<div class="acts row">`)
	require.True(t, strings.HasPrefix(buttons, `<button disabled`), "Enter presses a form's first button")
	require.Contains(t, buttons, `name="reason" required`)
}

func TestNew_FlowPageShowsItsProblem(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{}, "two")
	_, page := s.get("/flows/failing")
	require.Contains(t, page, `<span class="state failed">last run failed</span>`)
}

func TestNew_NilClient(t *testing.T) {
	t.Parallel()
	_, err := dataflowui.New(nil, nil)
	var bad *dataflow.ConfigError
	require.ErrorAs(t, err, &bad)
}
