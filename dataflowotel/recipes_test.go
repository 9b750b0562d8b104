//nolint:paralleltest // the providers are global
package dataflowotel_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowotel"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// The blocks of Go in docs/telemetry.md stand here, and export what they say.
func TestDocs(t *testing.T) {
	was := otel.GetMeterProvider()
	t.Cleanup(func() { otel.SetMeterProvider(was) })
	check := func(err error) { t.Helper(); require.NoError(t, err) }
	http := http.NewServeMux()

	exporter, err := prometheus.New()
	check(err)
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(exporter)))
	http.Handle("/metrics", promhttp.Handler())

	driver, flows := dataflowsqlite.New(dbtest.SQLite(t)), []*dataflow.Flow{dataflow.NewFlow("orders", rows("a"), dataflow.Identity[string](), nowhere(), nil)}
	telemetry, err := dataflowotel.New(nil) // uses the global providers
	check(err)
	client, err := dataflow.NewClient(driver, &dataflow.Config{Flows: flows, Observer: telemetry})
	check(err)
	endReports, err := telemetry.ReportFlows(client) // the gauges
	check(err)

	check(client.Migrate(t.Context()))
	check(client.Register(t.Context()))
	run, err := client.Enqueue(t.Context(), "orders", nil)
	check(err)
	_, err = client.Tick(t.Context())
	check(err)
	_, err = client.Wait(t.Context(), run.ID)
	check(err)
	server := httptest.NewServer(http)
	t.Cleanup(server.Close)
	page := string(get(t, server.URL+"/metrics"))
	require.Contains(t, page, `dataflow_run_ended_total{dataflow_flow_name="orders",dataflow_run_state="success",dataflow_run_trigger="manual"`)
	require.Contains(t, page, `dataflow_flow_failures{dataflow_flow_name="orders"`)
	check(endReports(t.Context()))
}
