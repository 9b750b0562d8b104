package dataflowui_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowui"
)

// page returns a page that must be there.
func (s *site) page(path string) string {
	s.Helper()
	status, body := s.get(path)
	require.Equal(s, http.StatusOK, status, "%s: %s", path, body)
	return body
}

// lagging is a source whose lag is known, or not.
type lagging struct {
	age time.Duration
	err error
}

func (s lagging) Read(context.Context, dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(func(dataflow.Item[int, int], error) bool) {}
}

func (s lagging) Lag(context.Context, dataflow.Request[int]) (time.Duration, bool, error) {
	return s.age, true, s.err
}

func idle(name string, source dataflow.Source[int, int], rt dataflow.Runtime) *dataflow.Flow {
	return dataflow.NewFlow(name, source, dataflow.Identity[int](), memory.NewSink[int]().Target(), &dataflow.FlowOptions{Runtime: rt})
}

func TestNew_Lag(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{}, "two",
		idle("late", lagging{age: 42 * time.Minute}, nil), idle("no source", lagging{err: errors.New("token=hunter2 was refused")}, nil))
	for _, path := range []string{"/", "/?q=late"} {
		page := s.page(path)
		require.Contains(t, page, "<span>42 min</span>", path)
		require.Contains(t, page, ">not known</span>", path)
		require.NotContains(t, page, "hunter2", path)
	}
	require.Contains(t, s.page("/flows/late"), `<span class="quiet">lag <span>42 min</span></span>`)
	require.Contains(t, s.page("/flows/no%20source"), `lag <span title="the source has not told it">not known</span>`)
	require.NotContains(t, s.page("/flows/good"), "lag <span")
}

// oddName has what a path, a query and a page must encode.
const oddName = `a/b%2Fc <b>&?#"é;`

func TestNew_OddName(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{Authorize: allow}, "two", idle(oddName, lagging{}, nil))
	run, err := s.client.Enqueue(t.Context(), oddName, nil)
	require.NoError(t, err)
	_, err = s.client.Wait(t.Context(), run.ID)
	require.NoError(t, err)
	link := regexp.MustCompile(`class="name" href="./([^"]+)">` + regexp.QuoteMeta(escaped(oddName)) + `<`).FindStringSubmatch(s.page("/"))
	require.Len(t, link, 2)
	page := s.page("/" + html.UnescapeString(link[1]))
	require.Contains(t, page, "<h1>"+escaped(oddName)+"</h1>")
	require.NotContains(t, page, oddName)
	for _, more := range regexp.MustCompile(`href="../((?:runs|flows|skipped|dead)[^"]*)"`).FindAllStringSubmatch(page, -1) {
		s.page("/" + html.UnescapeString(more[1]))
	}
	path := regexp.MustCompile(`action="../([^"]+/pause)"`).FindStringSubmatch(page)
	require.Len(t, path, 2)
	status, body := s.press("/"+html.UnescapeString(path[1]), "reason", "a look")
	require.Equal(t, http.StatusOK, status, body)
	f, err := s.client.Flow(t.Context(), oddName)
	require.NoError(t, err)
	require.False(t, f.IsActive())
	require.Contains(t, s.page("/runs?flow="+url.QueryEscape(oddName)), fmt.Sprintf(">%d</a>", run.ID))
	require.Contains(t, s.page("/?q="+url.QueryEscape(oddName)), "1 runs, 1 success")
}

var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;")

func escaped(text string) string { return escapes.Replace(text) }

// A run that has failed five hundred times is shown with its last attempts.
func TestNew_ManyAttempts(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{}, "two")
	failed := make([]dataflow.AttemptError, 500)
	for i := range failed {
		failed[i] = dataflow.AttemptError{Attempt: i + 1, At: time.Now(), Worker: "w", Error: fmt.Sprintf("no %d.", i+1), Stack: strings.Repeat("stack\n", 100)}
	}
	data, err := json.Marshal(failed)
	require.NoError(t, err)
	_, err = s.db.ExecContext(t.Context(), "update dataflow_run set errors = ? where id = 3", string(data))
	require.NoError(t, err)
	page := s.page("/runs/3")
	require.Less(t, len(page), 100_000)
	require.Contains(t, page, "no 500.")
	require.Contains(t, page, "no 481.")
	require.NotContains(t, page, "no 480.")
	more := regexp.MustCompile(`href="../(runs/3\?attempts=all)">480 earlier attempts`).FindStringSubmatch(page)
	require.Len(t, more, 2)
	require.Contains(t, s.page("/"+more[1]), "no 1.")
}

func TestNew_Backfill(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{Authorize: allow}, "two")
	status, _ := s.press("/flows/good/backfill", "reason", "a rule", "from", "1", "ranges", "1", "append", "true")
	require.Equal(t, http.StatusOK, status)
	run, err := s.client.Wait(t.Context(), 4)
	require.NoError(t, err)
	require.Equal(t, "1", string(run.FromCursor))
	page := s.page("/flows/good")
	require.Contains(t, page, `<progress max="100" value="100" aria-label="Share of backfill 4 that is done">`)
	require.Contains(t, page, "done, 2 records read, ended")
	require.Contains(t, page, "after <code>1</code> to the end, by ann: a rule")
	require.Contains(t, s.page("/runs?flow=good&backfill=4"), `<input name="backfill" value="4"`)
	require.Contains(t, s.page("/runs/4"), `<a href="../runs?flow=good&amp;backfill=4">4</a>`)

	// Times are for sources that know them. A date of Until is its end.
	status, refused := s.press("/flows/good/backfill", "reason", "a rule", "from", "2026-11-01", "until", "2026-11-30")
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, refused, "FromTime")
}

func TestNew_CursorHistory(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{Authorize: allow}, "two")
	require.Contains(t, s.page("/flows/good/cursor"), "Nobody has set it.")
	for i := range 52 {
		at, err := s.client.Cursor(t.Context(), "good")
		require.NoError(t, err)
		_, err = s.client.SetCursor(t.Context(), "good", &dataflow.SetCursorParams{Cursor: fmt.Appendf(nil, "%d", i%4), IfSeq: &at.Seq, Actor: "ben", Reason: fmt.Sprintf("reason %d.", i)})
		require.NoError(t, err)
	}
	require.Contains(t, s.page("/flows/good"), `href="../flows/good/cursor">All changes`)
	first := s.page("/flows/good/cursor")
	require.Contains(t, first, "reason 51.")
	require.NotContains(t, first, "reason 1.")
	older := regexp.MustCompile(`href="../../(flows/good/cursor\?before=\d+)">Older changes`).FindStringSubmatch(first)
	require.Len(t, older, 2)
	require.Contains(t, s.page("/"+older[1]), "reason 0.")
	status, _ := s.get("/flows/none/cursor")
	require.Equal(t, http.StatusNotFound, status)
}

func TestNew_Queues(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{RiverUI: "/riverui"}, "two", idle("etl", lagging{}, dataflow.JobQueue{Queue: "etl", Interval: time.Hour}))
	run, err := s.client.Enqueue(t.Context(), "etl", nil)
	require.NoError(t, err)
	run, err = s.client.Wait(t.Context(), run.ID)
	require.NoError(t, err)
	require.Contains(t, s.page(fmt.Sprintf("/runs/%d", run.ID)), fmt.Sprintf(`<a href="/riverui/jobs/%d">%d</a> in queue etl`, run.RiverJobID, run.RiverJobID))
	require.NotContains(t, s.page("/workers"), "paused")
	require.Contains(t, s.page("/workers"), ">1 process</td>")
	_, err = s.db.ExecContext(t.Context(), "insert into river_queue (name, created_at, metadata, updated_at) values ('mail', current_timestamp, '{}', current_timestamp)")
	require.NoError(t, err)
	require.Contains(t, s.page("/workers"), ">nobody</td>")
	_, err = s.db.ExecContext(t.Context(), "update river_queue set paused_at = '2026-11-29 08:00:00' where name = 'etl'")
	require.NoError(t, err)
	_, err = s.db.ExecContext(t.Context(), "insert into dataflow_process (id, code_version, flows, queues, polls, started_at, seen_at, until) select 'web', '', '[]', null, '', started_at, seen_at, until from dataflow_process")
	require.NoError(t, err)
	page := s.page("/workers")
	require.Contains(t, page, ">those of its service's River client</td>")
	require.Contains(t, page, "1 queue is paused")
	require.Contains(t, page, `title="2026-11-29 08:00:00 UTC"`)
	require.Contains(t, s.page("/flows/etl"), "Its River queue &#34;etl&#34; is paused")
}

// What another version has registered is shown beside what this process declares.
func TestNew_Declared(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{}, "two")
	require.Contains(t, s.page("/flows/good"), "The code of this process declares what is stored")
	_, err := s.db.ExecContext(t.Context(), "update dataflow_flow set code_version = 'v2' where name = 'good'")
	require.NoError(t, err)
	page := s.page("/flows/good")
	require.Contains(t, page, "What is stored is not what the code of this process declares.")
	require.Contains(t, page, `<tr class="differs"><th scope="row">code version</th>`)
	_, err = s.db.ExecContext(t.Context(), "update dataflow_flow set name = 'renamed' where name = 'good'")
	require.NoError(t, err)
	require.Contains(t, s.page("/flows/renamed"), "This process does not have its code.")
}

// stuck is a source that yields nothing until it is opened.
type stuck struct{ open chan struct{} }

func (s stuck) Read(ctx context.Context, _ dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(func(dataflow.Item[int, int], error) bool) {
		select {
		case <-s.open:
		case <-ctx.Done():
		}
	}
}

// What waits already is not said to have been added.
func TestNew_Coalesced(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	s := setup(t, "/ops", &dataflowui.Options{Authorize: allow}, "two", idle("stuck", stuck{open}, nil))
	t.Cleanup(func() { close(open) })
	said := func(path string, pairs ...string) string {
		status, page := s.press(path, pairs...)
		require.Equal(t, http.StatusOK, status, page)
		_, text, _ := strings.Cut(page, `role="status">`)
		text, _, _ = strings.Cut(text, "<")
		return text
	}
	require.Equal(t, "A run was asked for.", said("/flows/stuck/trigger"))
	for {
		run, err := s.client.Run(t.Context(), 4)
		require.NoError(t, err)
		if run.State == dataflow.RunInProgress {
			break
		}
	}
	require.Equal(t, "A run was asked for.", said("/flows/stuck/trigger"))
	require.Equal(t, "It was asked for before, and still waits: nothing was added.", said("/flows/stuck/trigger"))
	require.Equal(t, "The backfill was asked for.", said("/flows/stuck/backfill", "reason", "x", "from", "1"))
	require.Equal(t, "It was asked for before, and still waits: nothing was added.", said("/flows/stuck/backfill", "reason", "x", "from", "1"))
}

// An address that cannot be read must not show a list without the filter in it.
func TestNew_AddressThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{}, "two")
	for _, path := range []string{"/runs?flow=100%&state=failed", "/runs?flow=a;b", "/?state=trouble;q=x", "/audit?actor=%zz", "/dead-letters?flow=%", "/skipped-ticks?flow=%"} {
		status, body := s.get(path)
		require.Equal(t, http.StatusBadRequest, status, path)
		require.Contains(t, body, "write % as %25", path)
	}
}

// The row or the head of a flow does not promise ticks that start no runs.
func TestNew_Held(t *testing.T) {
	t.Parallel()
	hourly := dataflow.Heartbeat{Interval: time.Hour}
	off := hourly
	off.Disabled = true
	s := setup(t, "/ops", &dataflowui.Options{}, "two", idle("off", lagging{}, off), idle("on", lagging{}, hourly), idle("stopped", lagging{}, hourly))
	_, err := s.db.ExecContext(t.Context(), "update dataflow_flow set failures = 3, tripped_at = '2026-11-29 08:00:00.000' where name = 'stopped'")
	require.NoError(t, err)
	row := func(name string) string {
		_, after, found := strings.Cut(s.page("/"), ">"+name+"</a>")
		require.True(t, found, name)
		text, _, _ := strings.Cut(after, "</tr>")
		return text
	}
	next := regexp.MustCompile(`>in \d+ \w+</time>`)
	require.Regexp(t, next, row("on"))
	require.Contains(t, row("on"), ">active<")
	require.NotRegexp(t, next, row("off"))
	require.Contains(t, row("off"), ">disabled<")
	require.NotRegexp(t, next, row("stopped"))
	require.Contains(t, row("stopped"), ">stopped after failures<")
	require.Contains(t, s.page("/flows/off"), `<span class="state cancelled">disabled</span>`)
	require.NotContains(t, s.page("/flows/on"), "disabled</span>")
}

// The dead letters of a run are all within reach, and only those.
func TestNew_DeadLettersOfRun(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{}, "two")
	require.Contains(t, s.page("/runs/2"), `href="../dead-letters?run=2&amp;state=all">All dead letters of run 2<`)
	for i := range 120 { // every other one is of another run
		_, err := s.db.ExecContext(t.Context(), "insert into dataflow_dead_letter (flow_id, run_id, stage, key, error, payload, created_at, last_at) "+
			"select flow_id, ?, stage, ?, error, payload, created_at, last_at from dataflow_dead_letter where id = 1", 1+i%2, fmt.Sprintf("row %d", 100+i))
		require.NoError(t, err)
	}
	seen, path := 0, "/dead-letters?run=2&state=all"
	for path != "" {
		page := s.page(path)
		require.Contains(t, page, `<input name="run" value="2"`)
		for _, key := range regexp.MustCompile(`>row (\d+)</td>`).FindAllStringSubmatch(page, -1) {
			n, err := strconv.Atoi(key[1])
			require.NoError(t, err)
			require.True(t, n < 100 || n%2 == 1, "row %d is of another run", n)
			seen++
		}
		path = ""
		if older := regexp.MustCompile(`href="\./(dead-letters\?[^"]+)">Older`).FindStringSubmatch(page); older != nil {
			path = "/" + html.UnescapeString(older[1])
		}
	}
	require.Equal(t, 61, seen)
}

// The flow of the name that is searched is shown only if it fits the other filter, too.
func TestNew_SearchAndState(t *testing.T) {
	t.Parallel()
	s := setup(t, "/ops", &dataflowui.Options{}, "two")
	_, err := s.client.Pause(t.Context(), "bad", "ann", "a test")
	require.NoError(t, err)
	for _, c := range []struct {
		name, state string
		shown       bool
	}{
		{"good", "", true},
		{"good", "active", true},
		{"good", "paused", false},
		{"bad", "paused", true},
		{"bad", "active", false},
		{"failing", "trouble", true},
		{"good", "trouble", false},
		{"good", "overdue", false},
	} {
		page := s.page("/?q=" + c.name + "&state=" + c.state)
		require.Equal(t, c.shown, strings.Contains(page, ">"+c.name+"</a>"), "%+v", c)
	}
	_, err = s.client.Pause(t.Context(), "failing", "ann", "a test")
	require.NoError(t, err)
	require.Regexp(t, `<span class="state failed">[^<]*</span> <span class="state cancelled">paused</span>`, s.page("/?q=failing"))
}
