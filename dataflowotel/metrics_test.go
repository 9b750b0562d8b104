package dataflowotel_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func collect(t *testing.T, reader sdkmetric.Reader) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	byName := make(map[string]metricdata.Metrics)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			byName[m.Name] = m
		}
	}
	return byName
}

// values returns the values of a metric by their attributes. Of a histogram it is the count.
func values(t *testing.T, m metricdata.Metrics) map[string]float64 {
	t.Helper()
	all := make(map[string]float64)
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			all[named(p)] = float64(p.Value)
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			all[named(p)] = float64(p.Value)
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			all[named(p)] = p.Value
		}
	case metricdata.Histogram[int64]:
		for _, p := range data.DataPoints {
			all[p.Attributes.Encoded(encoder{})] = float64(p.Count)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			all[p.Attributes.Encoded(encoder{})] = float64(p.Count)
		}
	default:
		require.Fail(t, "another kind of metric", "%T", data)
	}
	return all
}

func named[N int64 | float64](p metricdata.DataPoint[N]) string {
	return p.Attributes.Encoded(encoder{})
}

// What happens is counted, once and with its attributes.
func TestMetrics(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	s := troubled(t, reader)
	stop, err := s.of.ReportFlows(s.Client())
	require.NoError(t, err)
	s.happen()
	_, err = s.Client().Enqueue(t.Context(), "waits", nil)
	require.NoError(t, err)
	all := collect(t, reader)
	is := func(name string, want map[string]float64) {
		t.Helper()
		got := values(t, all[name])
		for attributes, n := range want {
			require.Contains(t, got, attributes, name)
			require.InDelta(t, n, got[attributes], 1e-9, "%s{%s}", name, attributes)
		}
	}
	is("dataflow.run.ended", map[string]float64{
		"orders,success,schedule": 3, "broken,failed,manual": 1, "tripped,failed,manual": 1, "stopped,cancelled,manual": 1, "killed,success,manual": 1,
	})
	is("dataflow.run.duration", map[string]float64{"orders,success": 3, "broken,failed": 1})
	require.NotContains(t, values(t, all["dataflow.run.duration"]), "stopped,cancelled", "it was never worked")
	is("dataflow.attempt.ended", map[string]float64{"success,orders": 3, "retry,broken": 1, "failed,broken": 1, "lost,lost": 1})
	is("dataflow.lease.lost", map[string]float64{"lost": 1})
	is("dataflow.lease.taken_over", map[string]float64{"killed": 1})
	is("dataflow.run.wait", map[string]float64{"orders": 3, "broken": 1, "killed": 1})
	is("dataflow.tick.lateness", map[string]float64{"orders": 3})
	require.NotContains(t, values(t, all["dataflow.tick.lateness"]), "broken")
	is("dataflow.record.processed", map[string]float64{"orders,written": 2, "orders,filtered": 1, "orders,dead_lettered": 1, "skips,dropped": 1, "skips,written": 1})
	is("dataflow.batch.size", map[string]float64{"orders": 1, "skips": 1})
	is("dataflow.batch.duration", map[string]float64{"read,orders": 1, "transform,orders": 1, "write,orders": 1})
	is("dataflow.checkpoint.duration", map[string]float64{"orders": 1})

	is("dataflow.flow.lag", map[string]float64{"record,orders": 0, "record,behind": 5 * 3600})
	is("dataflow.flow.log_lag", map[string]float64{"orders": 0, "behind": 1000})
	require.NotContains(t, values(t, all["dataflow.flow.log_lag"]), "skips", "its source reads no log")
	require.Contains(t, values(t, all["dataflow.flow.lag"]), "cursor,skips")
	require.NotContains(t, values(t, all["dataflow.flow.lag"]), "cursor,broken", "it has no cursor yet")
	is("dataflow.flow.state", map[string]float64{"orders,active": 1, "orders,tripped": 0, "tripped,tripped": 1, "tripped,active": 0, "paused,inactive": 1})
	is("dataflow.flow.failures", map[string]float64{"orders": 0, "broken": 1, "tripped": 1})
	require.Contains(t, values(t, all["dataflow.flow.success_age"]), "orders")
	require.NotContains(t, values(t, all["dataflow.flow.success_age"]), "broken")
	is("dataflow.run.in_progress", map[string]float64{"orders": 0, "lost": 1})
	is("dataflow.run.waiting", map[string]float64{"orders": 0, "waits": 1})
	is("dataflow.run.oldest_wait", map[string]float64{"orders": 0, "waits": 0})
	is("dataflow.dead_letter.open", map[string]float64{"orders": 1, "skips": 0})

	require.NoError(t, stop(t.Context()))
	require.NotContains(t, collect(t, reader), "dataflow.flow.lag")
}

// docs/telemetry.md says of each metric its name, unit, meaning and attributes, and of no other.
func TestMetrics_Documented(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	s := troubled(t, reader)
	stop, err := s.of.ReportFlows(s.Client())
	require.NoError(t, err)
	defer func() { require.NoError(t, stop(t.Context())) }()
	s.happen()
	page, err := os.ReadFile("../docs/telemetry.md")
	require.NoError(t, err)
	documented := make(map[string][]string)
	for _, line := range strings.Split(string(page), "\n") {
		if cells := strings.Split(line, "|"); len(cells) == 7 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`dataflow.") {
			for i := range cells {
				cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
			}
			documented[cells[1]] = cells[2:6]
		}
	}
	kinds := map[string]string{}
	attributes := regexp.MustCompile("`([a-z._]+)`")
	measured := collect(t, reader)
	for name, m := range measured {
		require.Contains(t, documented, name, "docs/telemetry.md does not have it")
		cells := documented[name]
		kinds[name] = kindOf(m)
		require.Equal(t, kindOf(m), cells[0], name)
		require.Equal(t, m.Unit, cells[1], name)
		require.Equal(t, strings.TrimSuffix(m.Description, "."), strings.TrimSuffix(cells[2], "."), name)
		var said []string
		for _, match := range attributes.FindAllStringSubmatch("`"+cells[3]+"`", -1) {
			said = append(said, "dataflow."+match[1])
		}
		slices.Sort(said)
		require.Equal(t, attributesOf(t, m), said, name)
	}
	for name := range documented {
		require.Contains(t, measured, name, "docs/telemetry.md has what nobody measures")
	}
	require.Len(t, measured, 20)
}

func kindOf(m metricdata.Metrics) string {
	switch m.Data.(type) {
	case metricdata.Sum[int64]:
		return "counter"
	case metricdata.Histogram[int64], metricdata.Histogram[float64]:
		return "histogram"
	default:
		return "gauge"
	}
}

// attributesOf returns the keys that the points of a metric have, sorted.
func attributesOf(t *testing.T, m metricdata.Metrics) (keys []string) {
	t.Helper()
	for _, set := range setsOf(t, m) {
		keys = nil
		for _, a := range set.ToSlice() {
			keys = append(keys, string(a.Key))
		}
	}
	slices.Sort(keys)
	return keys
}
