package browsertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/dataflowui"
)

// patience is how long a test waits for what must come, on a slow machine.
const patience = 2 * time.Minute

// axeVersion is the one that scripts/ensure-chromium.sh fetches.
const axeVersion = "4.14.1"

// need skips the test if a path is empty, unless it must run.
func need(t *testing.T, path, what string) string {
	t.Helper()
	if path == "" && os.Getenv("DATAFLOW_TEST_REQUIRE_CHROMIUM") == "" {
		t.Skip("there is no " + what + ": run scripts/ensure-chromium.sh")
	}
	require.NotEmpty(t, path, "%s is missing: run scripts/ensure-chromium.sh", what)
	return path
}

// chromium is the program that scripts/ensure-chromium.sh finds.
func chromium(t *testing.T) string {
	t.Helper()
	found := ""
	for _, name := range []string{os.Getenv("DATAFLOW_TEST_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && found == "" {
			found = path
		}
	}
	return need(t, found, "Chromium")
}

// axe returns the code of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("DATAFLOW_AXE_CACHE")
	if cache == "" {
		cache = "/var/tmp/dataflow-axe-" + strconv.Itoa(os.Getuid())
	}
	path := filepath.Join(cache, axeVersion, "axe.min.js")
	code, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		need(t, "", "axe-core")
	}
	require.NoError(t, err)
	return string(code)
}

// theBrowser is the one browser of all tests.
var theBrowser struct {
	mu  sync.Mutex
	ctx context.Context // guarded by mu
}

func TestMain(m *testing.M) {
	code := m.Run()
	theBrowser.mu.Lock()
	defer theBrowser.mu.Unlock()
	if theBrowser.ctx != nil {
		_ = chromedp.Cancel(theBrowser.ctx) // its process ends with this one in any case
	}
	os.Exit(code)
}

// browser returns a browser in which tests open tabs.
func browser(t *testing.T) context.Context {
	t.Helper()
	program := chromium(t)
	theBrowser.mu.Lock()
	defer theBrowser.mu.Unlock()
	if theBrowser.ctx != nil {
		return theBrowser.ctx
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, _ := chromedp.NewContext(allocator) // it lives as long as all tests
	if err := chromedp.Run(ctx); err != nil {
		stop()
		require.NoError(t, err)
	}
	theBrowser.ctx = ctx //nolint:fatcontext // it is made once
	return ctx
}

// site is a dashboard with something on every page, and a browser.
type site struct {
	*testing.T
	client  *dataflow.Client
	base    string
	browser context.Context
	step    chan struct{} // each lets a record of the flow "slow" pass

	// late, if it holds one, is called when the service has done what a form asks, before it answers.
	late *atomic.Pointer[func()]
}

// sites counts those of all tests.
var sites atomic.Int64

type record struct {
	ID       int    `json:"id"`
	Text     string `json:"text"`
	Password string `json:"password"`
}

// longName must not make a page wider than its screen.
const longName = "a_flow_with_a_name_that_is_much_longer_than_anybody_would_like_to_read_on_a_telephone"

func setup(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, step: make(chan struct{}), late: &atomic.Pointer[func()]{}, browser: browser(t)}
	s.client = s.service()
	s.fill()
	ui, err := dataflowui.New(s.client, &dataflowui.Options{
		Authorize: func(*http.Request, dataflowhttp.Action, string) (string, error) { return "ann", nil },
		Logger:    slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	server := httptest.NewServer(http.StripPrefix("/o ps", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		late := s.late.Load()
		if r.Method != http.MethodPost || late == nil {
			ui.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		ui.ServeHTTP(answer, r)
		(*late)()
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})))
	t.Cleanup(server.Close)
	// A host of its own, as all ports of a host share their cookies: of two tests that open their
	// first page together, one would have the other's token in its forms.
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	s.base = fmt.Sprintf("http://site%d.localhost:%s/o%%20ps/", sites.Add(1), port)
	return s
}

// service starts a client with flows that succeed, fail, wait and keep bad records.
func (s *site) service() *dataflow.Client {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.TempDir(), "dashboard.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(30000)&_pragma=synchronous(OFF)")
	require.NoError(s, err)
	s.Cleanup(func() { require.NoError(s, db.Close()) })
	db.SetMaxOpenConns(1)
	rows := []record{{1, "one", "p"}, {2, strings.Repeat("x", 300), "hunter2"}, {3, "<b>three</b>", "p"}}
	refuse := dataflow.Map(func(_ context.Context, r record) (record, error) {
		if r.Text != "mended" && r.ID > 1 {
			return r, fmt.Errorf("refused %s: https://example.com/%s", r.Text, strings.Repeat("y", 200))
		}
		return r, nil
	})
	wait := dataflow.Map(func(ctx context.Context, r record) (record, error) {
		select {
		case <-s.step:
			return r, nil
		case <-ctx.Done():
			return r, ctx.Err()
		}
	})
	hourly := dataflow.Heartbeat{Interval: time.Hour}
	to := func() dataflow.Target[record] { return memory.NewSink[record]().Target() }
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{
		Logger: slog.New(slog.DiscardHandler), CodeVersion: "v1.4.2",
		Flows: []*dataflow.Flow{
			dataflow.NewFlow("orders", memory.Slice(rows), dataflow.Identity[record](), to(), &dataflow.FlowOptions{Runtime: hourly}),
			dataflow.NewFlow("bad", memory.Slice(rows), refuse, to(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9), Runtime: dataflow.Heartbeat{}}),
			dataflow.NewFlow("failing", memory.Slice(rows), refuse, to(), &dataflow.FlowOptions{MaxAttempts: 1, Runtime: dataflow.Heartbeat{}}),
			dataflow.NewFlow("slow", memory.Slice(append(rows, rows...)), wait, to(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 1}}),
			dataflow.NewFlow("etl", memory.Slice(rows), dataflow.Identity[record](), to(), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: "etl", Interval: time.Hour}}),
			dataflow.NewFlow(longName, memory.Slice(rows), dataflow.Identity[record](), to(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "*/5 8-18 * * MON-FRI", TimeZone: "Europe/Berlin"}}}),
		},
	})
	require.NoError(s, err)
	require.NoError(s, client.Migrate(s.Context()))
	require.NoError(s, client.Start(s.Context()))
	s.Cleanup(func() { require.NoError(s, client.Stop(context.WithoutCancel(s.Context()))) })
	return client
}

// fill gives every page something to show.
func (s *site) fill() {
	ctx := s.Context()
	s.worked("bad", false)
	s.worked("failing", true)
	for range 3 {
		s.worked("orders", false)
	}
	s.worked("etl", false)
	made, err := s.client.Backfill(ctx, "orders", &dataflow.BackfillParams{From: []byte("1"), Append: true, Actor: "ben", Reason: "a rule has changed"})
	require.NoError(s, err)
	_, err = s.client.Wait(ctx, made.ID)
	require.NoError(s, err)
	_, err = s.client.Pause(ctx, longName, "ben", "the texts are not ready, see https://example.com/"+strings.Repeat("z", 100))
	require.NoError(s, err)
	cur, err := s.client.Cursor(ctx, "orders")
	require.NoError(s, err)
	_, err = s.client.SetCursor(ctx, "orders", &dataflow.SetCursorParams{Cursor: []byte("1"), IfSeq: &cur.Seq, Actor: "ben", Reason: "again from there"})
	require.NoError(s, err)
}

// worked runs a flow to its end.
func (s *site) worked(name string, fails bool) *dataflow.Run {
	s.Helper()
	run, err := s.client.Enqueue(s.Context(), name, nil)
	require.NoError(s, err)
	run, err = s.client.Wait(s.Context(), run.ID)
	require.Equal(s, fails, err != nil, "%s: %v", name, err)
	return run
}

// tab is a tab of the browser that notes what goes wrong on its pages.
type tab struct {
	*site
	ctx context.Context

	mu      sync.Mutex
	trouble []string // guarded by mu
}

func (s *site) tab() *tab {
	s.Helper()
	ctx, cancel := chromedp.NewContext(s.browser)
	s.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, patience)
	s.Cleanup(cancel)
	t := &tab{site: s, ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		t.mu.Lock()
		defer t.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.trouble = append(t.trouble, "exception: "+e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			t.trouble = append(t.trouble, fmt.Sprintf("console.%s: %s", e.Type, e.Args[0].Value))
		case *cdplog.EventEntryAdded:
			t.trouble = append(t.trouble, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		case *network.EventLoadingFailed:
			if !e.Canceled {
				t.trouble = append(t.trouble, "a request failed: "+e.ErrorText)
			}
		}
	})
	t.do(network.Enable(), cdplog.Enable(), runtime.Enable(),
		emulation.SetFocusEmulationEnabled(true)) // as if it was not behind other tabs: a page that is hidden is not renewed
	return t
}

func (t *tab) do(actions ...chromedp.Action) {
	t.Helper()
	require.NoError(t, chromedp.Run(t.ctx, actions...))
}

// open loads a page.
func (t *tab) open(path string) {
	t.Helper()
	t.do(chromedp.Navigate(t.base + path))
}

// text is what the element shows. It asks again when the page has been loaded anew meanwhile,
// as the page of a run is when the run ends.
func (t *tab) text(selector string) string {
	t.Helper()
	var page string
	for {
		var text string
		err := t.run(10*time.Second, chromedp.Text(selector, &text, chromedp.ByQuery))
		if err == nil {
			return text
		}
		require.NoError(t, t.ctx.Err(), "%s: %v, on the page %s", selector, err, page)
		_ = t.run(10*time.Second, chromedp.Evaluate(`location.href + ': ' + document.body.innerText`, &page))
	}
}

// run is for what may not come.
func (t *tab) run(limit time.Duration, action chromedp.Action) error {
	ctx, cancel := context.WithTimeout(t.ctx, limit)
	defer cancel()
	return chromedp.Run(ctx, action)
}

// until waits until an expression of the page is true, across loads of other pages.
func (t *tab) until(expression string) {
	t.Helper()
	for {
		var is bool
		if err := chromedp.Run(t.ctx, chromedp.Evaluate(expression, &is)); err == nil && is {
			return
		}
		require.NoError(t, t.ctx.Err(), "it is not so that %s", expression)
		require.NoError(t, chromedp.Run(t.ctx, chromedp.Sleep(20*time.Millisecond)))
	}
}

// requireQuiet requires that no page of the tab has had an error.
func (t *tab) requireQuiet(where string) {
	t.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	require.Empty(t, t.trouble, where)
}
