package dataflowotel_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/prometheus"
)

// tool finds a program of Prometheus. Without it, the test is skipped, unless it must run.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("DATAFLOW_TEST_REQUIRE_PROMETHEUS") == "" {
		t.Skip("there is no " + name + ": install Prometheus")
	}
	require.NoError(t, err)
	return path
}

// exported is a scene whose metrics are at an URL, as Prometheus reads them.
type exported struct {
	*scene
	url string
}

func export(t *testing.T) *exported {
	t.Helper()
	registry := prom.NewRegistry()
	exporter, err := prometheus.New(prometheus.WithRegisterer(registry))
	require.NoError(t, err)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	e := &exported{troubled(t, exporter), server.URL}
	stop, err := e.of.ReportFlows(e.Client())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stop(context.WithoutCancel(t.Context()))) })
	return e
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return body
}

// sample is a series and its value.
type sample struct{ series, value string }

// scrape returns the samples that are exported now.
func (e *exported) scrape() (all []sample) {
	e.Helper()
	lines := bufio.NewScanner(bytes.NewReader(get(e.T, e.url)))
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, "dataflow_") {
			at := strings.LastIndexByte(line, ' ')
			all = append(all, sample{line[:at], line[at+1:]})
		}
	}
	require.NotEmpty(e, all)
	return all
}

// promtool tests the rules on samples: those of before for 20 minutes, then those of after. An
// alert is looked at 11 minutes after that, or, of some, later.
func promtool(t *testing.T, before, after []sample, alerts []string, fires func(alert string) []map[string]string) {
	t.Helper()
	alertRules, err := os.ReadFile("grafana/alerts.yml")
	require.NoError(t, err)
	dir := t.TempDir()
	rules := filepath.Join(dir, "alerts.yml")
	bare := regexp.MustCompile(`(?m)^ +annotations:\n +summary: .*\n`).ReplaceAll(alertRules, nil) // they hold values
	require.NoError(t, os.WriteFile(rules, bare, 0o600))
	was := make(map[string]string, len(before))
	for _, s := range before {
		was[s.series] = s.value
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [%q]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n", rules)
	for _, s := range after {
		first := "_x20" // what is not exported yet is not zero: a counter that begins with 1 has not increased
		if value, ok := was[s.series]; ok {
			first = value + "+0x20"
		}
		series, err := json.Marshal(s.series) // quotes as YAML does
		require.NoError(t, err)
		fmt.Fprintf(&b, "  - series: %s\n    values: '%s %s+0x100'\n", series, first, s.value)
	}
	b.WriteString("  alert_rule_test:\n")
	for _, alert := range alerts {
		at := "32m"
		if alert == "DataflowDeadLetters" {
			at = "90m"
		}
		fmt.Fprintf(&b, "  - eval_time: %s\n    alertname: %s\n    exp_alerts:\n", at, alert)
		for _, labels := range fires(alert) {
			all, err := json.Marshal(labels)
			require.NoError(t, err)
			fmt.Fprintf(&b, "    - exp_labels: %s\n", all)
		}
	}
	file := filepath.Join(dir, "test.yml")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	out, err := exec.CommandContext(t.Context(), tool(t, "promtool"), "test", "rules", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// alertNames are those of alerts.yml.
func alertNames(t *testing.T) (names []string) {
	t.Helper()
	rules, err := os.ReadFile("grafana/alerts.yml")
	require.NoError(t, err)
	for line := range strings.Lines(string(rules)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "- alert: "); ok {
			names = append(names, name)
		}
	}
	require.NotEmpty(t, names)
	return names
}

func TestAlerts_Valid(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), tool(t, "promtool"), "check", "rules", "--lint-fatal", "grafana/alerts.yml").CombinedOutput()
	require.NoError(t, err, "%s", out)
	page, err := os.ReadFile("../docs/telemetry.md")
	require.NoError(t, err)
	names := alertNames(t)
	for _, name := range names {
		require.Contains(t, string(page), "| `"+name+"` |")
	}
	require.Len(t, names, strings.Count(string(page), "| `Dataflow"))
}

// No alert fires for flows that only succeed.
func TestAlerts_AllIsWell(t *testing.T) {
	t.Parallel()
	e := export(t)
	before := e.scrape()
	e.Work("killed") // which does not die here
	e.Work("behind")
	promtool(t, before, e.scrape(), alertNames(t), func(string) []map[string]string { return nil })
}

// Each alert fires for what it is there for, by the metrics that flows in trouble have exported.
func TestAlerts_Fire(t *testing.T) {
	t.Parallel()
	e := export(t)
	before := e.scrape()
	e.happen()
	for range 2 { // so that it has failed three times
		e.Work("broken")
	}
	e.Advance(55 * time.Minute)
	e.Work("slow") // which is tried again after the next tick of "late"
	e.Advance(time.Second)
	for _, name := range []string{"orders", "late"} {
		_, err := e.Client().Pause(e.Context(), name, "ann", "its work is done")
		require.NoError(e, err)
	}
	e.Advance(10 * time.Minute) // the lost run kills its workers
	require.NoError(e, e.exec("update dataflow_flow set last_success_at = strftime('%Y-%m-%d %H:%M:%f', last_success_at, '-2 days')"))
	_, err := e.Client().Enqueue(e.Context(), "waits", nil)
	require.NoError(e, err)
	require.NoError(e, e.exec("update dataflow_run set run_after = strftime('%Y-%m-%d %H:%M:%f', run_after, '-1 hour') where state = 'pending'"))
	after := e.scrape()
	of := func(severity string, names ...string) (all []map[string]string) {
		for _, name := range names {
			all = append(all, map[string]string{"dataflow_flow_name": name, "severity": severity})
		}
		return all
	}
	want := map[string][]map[string]string{
		"DataflowFlowFails":   of("page", "broken"),
		"DataflowFlowTripped": of("page", "tripped"),
		"DataflowFlowLags":    of("page", "behind"),
		"DataflowRunWaits":    of("page", "waits"),
		"DataflowNoSuccess":   of("ticket", "killed", "late", "orders", "skips"),
		"DataflowTicksLate":   of("ticket", "late"),
		"DataflowWorkersDie":  {{"severity": "page"}},
		"DataflowLeaseLost":   of("ticket", "lost"),
		"DataflowBadRecords":  of("ticket", "orders", "skips"),
		"DataflowDeadLetters": of("ticket", "orders"),
	}
	var names []string
	for _, name := range alertNames(t) {
		if name != "DataflowNotReported" {
			require.Contains(t, want, name)
			names = append(names, name)
		}
	}
	promtool(t, before, after, names, func(alert string) []map[string]string { return want[alert] })

	counters := slices.DeleteFunc(slices.Clone(after), func(s sample) bool { return strings.HasPrefix(s.series, "dataflow_flow_state") })
	promtool(t, nil, counters, []string{"DataflowNotReported"}, func(string) []map[string]string { return []map[string]string{{"severity": "page"}} })
}

// The dashboard is one that Grafana takes: ids and places are its panels' own, and all refer to
// the data source that is chosen.
func TestDashboard(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	require.NotEmpty(t, d.UID)
	require.NotEmpty(t, d.Title)
	require.GreaterOrEqual(t, d.SchemaVersion, 36)
	ids := make(map[int]bool)
	taken := make(map[[2]int]string)
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "%s: id %d", p.Title, p.ID)
		ids[p.ID] = true
		require.Positive(t, p.ID)
		require.NotEmpty(t, p.Title)
		require.Contains(t, []string{"row", "stat", "timeseries"}, p.Type, p.Title)
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s is on top of another panel", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		require.NotEmpty(t, p.Targets, p.Title)
		refs := make(map[string]bool)
		for _, target := range p.Targets {
			require.False(t, refs[target.RefID], p.Title)
			refs[target.RefID] = true
			require.Equal(t, "${datasource}", target.Datasource.UID, p.Title)
			require.Contains(t, target.Expr, `dataflow_flow_name=~"$flow"`, p.Title)
		}
	}
	require.Equal(t, []string{"datasource", "flow"}, []string{d.Templating.List[0].Name, d.Templating.List[1].Name})
}

// Each query of the dashboard finds something in the metrics that flows have exported.
func TestDashboard_Queries(t *testing.T) {
	t.Parallel()
	e := export(t)
	e.happen()
	server := e.prometheus()
	exprs := []string{"count by (dataflow_flow_name) (dataflow_flow_failures)"} // the variable's
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, strings.NewReplacer("$flow", ".*", "$__rate_interval", "1m").Replace(target.Expr))
		}
	}
	require.Greater(t, len(exprs), 15)
	for _, expr := range exprs {
		require.Eventually(t, func() bool { return len(query(t, server, expr)) > 0 }, 2*time.Minute, 100*time.Millisecond, "it finds nothing: %s", expr)
	}
	require.Empty(t, query(t, server, "dataflow_no_such_metric"))
}

// prometheus starts a Prometheus that reads what is exported, and returns its URL.
func (e *exported) prometheus() string {
	e.Helper()
	program := tool(e.T, "prometheus")
	free, err := (&net.ListenConfig{}).Listen(e.Context(), "tcp", "127.0.0.1:0")
	require.NoError(e, err)
	address := free.Addr().String()
	require.NoError(e, free.Close())
	dir := e.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: flows, static_configs: [{targets: [%q]}]}]\n", strings.TrimPrefix(e.url, "http://"))
	require.NoError(e, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600))
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.Context()))
	command := exec.CommandContext(ctx, program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	require.NoError(e, command.Start())
	e.Cleanup(func() { cancel(); _ = command.Wait() })
	return "http://" + address
}

// query returns what a Prometheus answers, nothing while it does not run yet.
func query(t *testing.T, server, expr string) []json.RawMessage {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode == http.StatusServiceUnavailable {
		return nil
	}
	defer func() { require.NoError(t, response.Body.Close()) }()
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	require.Equal(t, "success", answer.Status, "%s: %s", expr, answer.Error)
	return answer.Data.Result
}

type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []struct {
		ID          int
		Type, Title string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct {
			RefID, Expr string
			Datasource  struct{ UID string }
		}
	}
	Templating struct{ List []struct{ Name string } }
}

func readDashboard(t *testing.T) *dashboard {
	t.Helper()
	data, err := os.ReadFile("grafana/dashboard.json")
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(data, &d))
	return &d
}
