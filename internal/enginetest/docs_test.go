package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowcli"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// The blocks of Go in docs stand here, so that they compile.

func docsRuntimes() []dataflow.Runtime {
	every := dataflow.JobQueue{Interval: 5 * time.Minute}
	daily := dataflow.JobQueue{Schedule: dataflow.Schedule{Cron: "30 6 * * mon-fri", TimeZone: "Europe/Berlin"}}
	return []dataflow.Runtime{every, daily}
}

func docsSkipped(ctx context.Context, client *dataflow.Client) ([]*dataflow.SkippedTicks, error) {
	skipped, err := client.SkippedTicks(ctx, &dataflow.TickListParams{Flow: "orders"})
	return skipped, err
}

func docsWhy(ctx context.Context, client *dataflow.Client) error {
	why, err := client.Why(ctx, "orders")
	fmt.Println(why)
	return err
}

func docsHeartbeat(client *dataflow.Client, mux *http.ServeMux) error {
	heartbeat, err := dataflowhttp.Heartbeat(client, &dataflowhttp.HeartbeatOptions{
		Tokens: []string{os.Getenv("HEARTBEAT_TOKEN")},
	})
	if err != nil {
		return err
	}
	mux.Handle("/heartbeat", heartbeat)
	return nil
}

func docsAPI(client *dataflow.Client, mux *http.ServeMux, authorize func(*http.Request, dataflowhttp.Action, string) (string, error)) error {
	api, err := dataflowhttp.API(client, &dataflowhttp.APIOptions{Authorize: authorize})
	if err != nil {
		return err
	}
	mux.Handle("/ops/", http.StripPrefix("/ops", api))
	return nil
}

func authorize(r *http.Request, action dataflowhttp.Action, flow string) (string, error) {
	user, _, _ := r.BasicAuth() // checked by the middleware before it
	if action != dataflowhttp.ActionRead && user != "ann" {
		return "", errors.New("only ann may do that")
	}
	return user, nil
}

func docsGroups(driver dataflow.Driver, orders, refunds dataflow.Source[Order, pgtable.Cursor], target dataflow.Target[Order]) (*dataflow.Client, error) {
	flows := []*dataflow.Flow{
		dataflow.NewFlow("shopify orders", orders, dataflow.Identity[Order](), target, &dataflow.FlowOptions{Group: "shopify"}),
		dataflow.NewFlow("shopify refunds", refunds, dataflow.Identity[Order](), target, &dataflow.FlowOptions{Group: "shopify"}),
	}
	client, err := dataflow.NewClient(driver, &dataflow.Config{
		Flows:  flows,
		Groups: map[string]int{"shopify": 1}, // at once, in all processes together
	})
	return client, err
}

var _ = docsGroups // it is shown only

func docsNotify(driver dataflow.Driver, flows []*dataflow.Flow) (*dataflow.Client, error) {
	notify, err := dataflowhttp.Notify("https://ops.example.com/hooks/dataflow", &dataflowhttp.NotifyOptions{
		Secrets: []string{os.Getenv("WEBHOOK_SECRET")}, // whsec_…
		States:  []dataflow.RunState{dataflow.RunFailed, dataflow.RunCancelled},
	})
	if err != nil {
		return nil, err
	}
	client, err := dataflow.NewClient(driver, &dataflow.Config{Flows: flows, OnRunEnded: notify})
	return client, err
}

func docsSlack() (func(context.Context, *dataflow.Run) error, error) {
	slack, err := dataflowhttp.Notify(os.Getenv("SLACK_WEBHOOK"), &dataflowhttp.NotifyOptions{
		Template:   dataflowhttp.SlackTemplate,
		ShowErrors: true,
	})
	return slack, err
}

var _, _ = docsNotify, docsSlack // they are shown only

func docsCLI(flows func(db dataflowcli.Database) []*dataflow.Flow) {
	os.Exit(dataflowcli.Main(context.Background(), os.Args[1:], &dataflowcli.Options{
		Configure: func(_ context.Context, db dataflowcli.Database) (*dataflow.Config, error) {
			return &dataflow.Config{Flows: flows(db)}, nil
		},
	}))
}

var _ = docsCLI // it ends the process

func docsMigrate(ctx context.Context, client *dataflow.Client) (*dataflow.MigrateRuntimesReport, error) {
	report, err := client.MigrateRuntimes(ctx, &dataflow.MigrateRuntimesOptions{To: "job_queue", DryRun: true})
	return report, err
}

func docsSetCursor(ctx context.Context, client *dataflow.Client) error {
	cur, err := client.Cursor(ctx, "orders")
	if err != nil {
		return err
	}
	_, err = client.SetCursor(ctx, "orders", &dataflow.SetCursorParams{
		Cursor: json.RawMessage(`["2025-11-01T00:00:00Z","0"]`), // nil: the beginning
		IfSeq:  &cur.Seq,                                        // or IfCursor: what you have seen
		Actor:  "ann", Reason: "November was priced wrongly",
	})
	return err
}

func docsBackfill(ctx context.Context, client *dataflow.Client) (*dataflow.Run, error) {
	run, err := client.Backfill(ctx, "orders", &dataflow.BackfillParams{
		FromTime:  time.Date(2025, time.November, 1, 0, 0, 0, 0, time.UTC), // inclusive
		UntilTime: time.Date(2025, time.December, 1, 0, 0, 0, 0, time.UTC), // exclusive
		Actor:     "ann", Reason: "November was priced wrongly",
	})
	return run, err
}

func docsMaxBackfills(source dataflow.Source[Order, pgtable.Cursor], target dataflow.Target[Order]) *dataflow.Flow {
	orders := dataflow.NewFlow("orders", source, dataflow.Identity[Order](), target, &dataflow.FlowOptions{
		Runtime:      dataflow.JobQueue{Queue: "etl", Interval: 5 * time.Minute},
		MaxBackfills: 4, // at once, beside the flow's own runs
	})
	return orders
}

func docsFirstLoad(source dataflow.Source[Order, pgtable.Cursor], target dataflow.Target[Order]) *dataflow.Flow {
	orders := dataflow.NewFlow("orders", source, dataflow.Identity[Order](), target, &dataflow.FlowOptions{
		Runtime:      dataflow.JobQueue{Queue: "etl", Interval: 5 * time.Minute},
		MaxBackfills: 4,  // ranges at once, over all processes
		FirstLoad:    16, // ranges, while the flow has no cursor
	})
	return orders
}

// The first run of a flow reads the whole table, in ranges.
func TestDocs_FirstLoad(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	_, err := pool.Exec(t.Context(), `
		create table orders (id bigint primary key, email text not null, cents bigint not null, updated_at timestamptz not null);
		create table copied (like orders, primary key (id));
		insert into orders select n, 'a@b', n, now() - interval '1 day' + n * interval '1 second' from generate_series(1, 800) n`)
	require.NoError(t, err)
	pg := migrated(onPool(t, pool))
	source := pgtable.Keyset[Order](pool, pgtable.Query{SQL: `select id, email, cents, updated_at from orders`, Key: []string{"updated_at", "id"}})
	client := pg.started(pg.client(&dataflow.Config{Flows: []*dataflow.Flow{docsFirstLoad(source, pgtable.Upsert[Order]("copied", "id"))}, PollInterval: 50 * time.Millisecond}))
	run, err := client.Enqueue(t.Context(), "orders", nil)
	require.NoError(t, err)
	run, err = pg.wait(client, run.ID)
	require.NoError(t, err)
	require.Zero(t, run.Counters.Read)
	require.EqualValues(t, 16, pg.number("select count(*) from dataflow_run where trigger = 'first_load' and state = 'success' and read = 50"))
	require.EqualValues(t, 800, pg.number("select count(*) from copied"))
	cur, err := client.Cursor(t.Context(), "orders")
	require.NoError(t, err)
	require.Contains(t, string(cur.Cursor), `"800"`)
}

func docsAfter(source dataflow.Source[Order, pgtable.Cursor], transform dataflow.Transform[Order, Order], target dataflow.Target[Order]) *dataflow.Flow {
	report := dataflow.NewFlow("report", source, transform, target, &dataflow.FlowOptions{
		After: dataflow.After{Flow: "orders", OnlyIfRows: true},
	})
	return report
}

var _ = docsAfter // it is shown only

func docsRanges(ctx context.Context, client *dataflow.Client) ([]*dataflow.Run, error) {
	runs, err := client.BackfillRanges(ctx, "orders", 16, &dataflow.BackfillParams{
		Actor: "ann", Reason: "all orders have a new column",
	})
	return runs, err
}

// orderSource is a source of the reader's own. The docs show a part of it.
type orderSource struct{ first, last int64 }

func (s *orderSource) ids(ctx context.Context, r dataflow.Request[int64]) (first, last int64, err error) {
	first, last = max(s.first, r.From+1), s.last
	if r.Bounded {
		last = min(last, r.Until)
	}
	return first, last, ctx.Err()
}

func (s *orderSource) Split(ctx context.Context, r dataflow.Request[int64], n int) ([]int64, error) {
	first, last, err := s.ids(ctx, r) // of what the request would read
	if err != nil {
		return nil, err
	}
	var cursors []int64
	count := last - first + 1
	parts := min(int64(n), count)
	for i := int64(1); i < parts; i++ {
		cursors = append(cursors, first-1+count*i/parts)
	}
	return cursors, nil
}

func docsDryRun(ctx context.Context, client *dataflow.Client) error {
	report, err := client.DryRun(ctx, "orders", &dataflow.DryRunParams{Limit: 5})
	if err != nil {
		return err
	}
	for _, r := range report.Records {
		fmt.Println(r.Key, r.Outcome, string(r.Before), r.After, r.Error) // insert, update, redundant, write, filtered, bad
	}
	return nil
}

func docsTriggerParams(ctx context.Context, client *dataflow.Client) (*dataflow.Run, error) {
	run, err := client.Trigger(ctx, "orders", &dataflow.TriggerOptions{Params: json.RawMessage(`{"shop": 7}`)})
	return run, err
}

func docsParametric(pool *pgxpool.Pool) dataflow.Source[Order, pgtable.Cursor] {
	source := dataflow.Parametric(func(p struct{ Shop int }) (dataflow.Source[Order, pgtable.Cursor], error) {
		if p.Shop < 0 {
			return nil, fmt.Errorf("there is no shop %d", p.Shop)
		}
		return pgtable.Keyset[Order](pool, pgtable.Query{
			SQL: `select id, email, cents, updated_at from orders where shop = $1 or $1 = 0`, Args: []any{p.Shop},
			Key: []string{"updated_at", "id"},
		}), nil
	})
	return source
}

// The backfill in the docs reads what they say.
func TestDocs_Backfill(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	_, err := pool.Exec(t.Context(), `
		create table orders (id bigint primary key, email text not null, cents bigint not null, updated_at timestamptz not null, shop integer not null);
		insert into orders select n, 'a@b', n, '2025-10-31 23:00Z'::timestamptz + n * interval '1 hour', n % 10 from generate_series(0, 800) n`)
	require.NoError(t, err)
	pg := migrated(onPool(t, pool))
	flow := dataflow.NewFlow("orders", docsParametric(pool), dataflow.Map(func(_ context.Context, o Order) (int, error) { return int(o.ID), nil }), dataflow.ToTx(discard{}), nil)
	client := pg.registered(flow)
	run, err := docsTriggerParams(t.Context(), client)
	require.NoError(t, err)
	require.EqualValues(t, 80, run.Counters.Read)
	run, err = docsBackfill(t.Context(), client)
	require.NoError(t, err)
	_, err = client.Tick(t.Context())
	require.NoError(t, err)
	run, err = client.Run(t.Context(), run.ID)
	require.NoError(t, err)
	require.EqualValues(t, 30*24, run.Counters.Read, "the hours of November")
	require.EqualValues(t, 30*24, *run.Total)
}

// The whole table, in ranges that are worked at once.
func TestDocs_Ranges(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	_, err := pool.Exec(t.Context(), `
		create table orders (id bigint primary key, email text not null, cents bigint not null, updated_at timestamptz not null);
		create table copied (like orders);
		insert into orders select n, 'a@b', n, '2025-10-31 23:00Z'::timestamptz + n / 50 * interval '1 hour' from generate_series(1, 800) n`)
	require.NoError(t, err)
	pg := migrated(onPool(t, pool))
	source := pgtable.Keyset[Order](pool, pgtable.Query{SQL: `select id, email, cents, updated_at from orders`, Key: []string{"updated_at", "id"}})
	client := pg.client(&dataflow.Config{Flows: []*dataflow.Flow{docsMaxBackfills(source, pgtable.Upsert[Order]("copied", "id"))}})
	_, err = pool.Exec(t.Context(), `create unique index on copied (id)`)
	require.NoError(t, err)
	pg.started(client)
	runs, err := docsRanges(t.Context(), client)
	require.NoError(t, err)
	require.Len(t, runs, 16)
	for _, run := range runs {
		run, err := pg.wait(client, run.ID)
		require.NoError(t, err)
		require.EqualValues(t, 50, run.Counters.Read)
	}
	require.EqualValues(t, 800, pg.number("select count(*) from copied"))
	cursors, err := (&orderSource{first: 1, last: 10}).Split(t.Context(), dataflow.Request[int64]{From: 2}, 4)
	require.NoError(t, err)
	require.Equal(t, []int64{4, 6, 8}, cursors)
}

// What docs show can be called.
func TestDocs_Snippets(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, rt := range docsRuntimes() {
			flow := dataflow.NewFlow("orders", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt})
			client := t.registered(flow)
			skipped, err := docsSkipped(t.Context(), client)
			require.NoError(t, err)
			require.Empty(t, skipped)
			require.NoError(t, docsWhy(t.Context(), client))
			report, err := docsMigrate(t.Context(), client)
			require.NoError(t, err)
			require.Empty(t, report.Flows)
			require.NoError(t, docsDryRun(t.Context(), client))
			require.ErrorContains(t, docsSetCursor(t.Context(), client), "Cursor: ")
			require.NoError(t, docsAPI(client, http.NewServeMux(), authorize))
			require.ErrorContains(t, docsHeartbeat(client, http.NewServeMux()), "Tokens")
		}
	})
}

func TestDocs_BlocksAreCode(t *testing.T) {
	t.Parallel()
	code := flattened(t, "docs_test.go") + flattened(t, "docs_pages_test.go")
	recipes, err := filepath.Glob("../../connector/*/*recipes_test.go")
	require.NoError(t, err)
	for _, file := range append(recipes, "../../dataflowtest/recipes_test.go", "../../dataflowotel/recipes_test.go", "../../dataflowui/example_test.go") {
		code += flattened(t, file)
	}
	docs := []string{"../../ARCHITECTURE.md", "../../CONTRIBUTING.md", "../../SECURITY.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, found, pattern)
		docs = append(docs, found...)
	}
	docs = slices.DeleteFunc(docs, func(doc string) bool { return strings.HasSuffix(doc, "/getting-started.md") }) // internal/cli follows it
	for _, doc := range docs {
		text, err := os.ReadFile(doc)
		require.NoError(t, err)
		for _, block := range regexp.MustCompile("(?s)```(\\w*)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			require.Contains(t, []string{"go", "text", "sh"}, block[1], doc)
			if block[1] == "go" {
				require.Contains(t, code, flatten(block[2]), "this block of %s is not in the code:\n%s", doc, block[2])
			}
		}
	}
}

// Every row of the tables that compare with the Ruby gem names an existing test.
func TestDocs_ActiveDataFlow(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/activedataflow.md")
	require.NoError(t, err)
	tests := testNames(t)
	_, body, found := strings.Cut(string(text), "## The plan, task by task")
	require.True(t, found)
	items := make(map[string]bool)
	rows := 0
	for line := range strings.Lines(body) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || strings.Contains(line, "| held by |") || strings.Contains(line, "the next table") {
			continue
		}
		rows++
		items[strings.TrimSpace(cells[0])] = true
		names := regexp.MustCompile(`\bTest[A-Z]\w*`).FindAllString(line, -1)
		require.True(t, names != nil || strings.Contains(line, "docs/cli.md") || strings.Contains(line, "| not here |"), "this row names no test: %s", line)
		for _, name := range names {
			require.Contains(t, tests, name, "named in %s", line)
		}
	}
	for i := 1; i <= 9; i++ {
		require.Contains(t, items, strconv.Itoa(i))
	}
	require.Greater(t, rows, 35)
	for name := range tests {
		if regexp.MustCompile(`^Test(Plan_\d|Defect_)`).MatchString(name) {
			require.True(t, strings.Contains(body, name), "the document leaves %s out", name) //nolint:testifylint // it would print all of it
		}
	}
}

// testNames are the tests of the whole module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	require.NoError(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return nil
	}))
	return names
}
