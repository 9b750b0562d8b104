package dataflowhttp_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowhttp"
)

// lagging is a source without records that tells its lag.
type lagging struct {
	age func(ctx context.Context) (time.Duration, bool, error)
}

func (s lagging) Read(context.Context, dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(func(dataflow.Item[int, int], error) bool) {}
}

func (s lagging) Lag(ctx context.Context, _ dataflow.Request[int]) (time.Duration, bool, error) {
	return s.age(ctx)
}

// logged also reads a log.
type logged struct{ lagging }

func (logged) LagBytes(context.Context, dataflow.Request[int]) (int64, bool, error) {
	return 7000, true, nil
}

func idle(name string, source dataflow.Source[int, int], opts *dataflow.FlowOptions) *dataflow.Flow {
	return dataflow.NewFlow(name, source, dataflow.Identity[int](), memory.NewSink[int]().Target(), opts)
}

// A list of flows waits for no source longer than it says, and tells which lag is not known.
func TestAPI_Lags(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		open := make(chan struct{})
		t.Cleanup(func() { close(open) })
		none := func(context.Context) (time.Duration, bool, error) { return 0, false, nil }
		a := t.api(&dataflowhttp.APIOptions{},
			idle("a late one", lagging{func(context.Context) (time.Duration, bool, error) { return 90 * time.Second, true, nil }}, nil),
			idle("b log", logged{lagging{none}}, nil),
			idle("c broken", lagging{func(context.Context) (time.Duration, bool, error) {
				return 0, false, errors.New("connect: password=hunter2 was refused")
			}}, nil),
			idle("d silent", lagging{none}, nil),
			idle("e deaf", lagging{func(context.Context) (time.Duration, bool, error) { <-open; return 0, true, nil }}, nil),
			dataflow.NewFlow("f", memory.Slice([]int{1}), dataflow.Identity[int](), memory.NewSink[int]().Target(), nil),
		)
		lags := []any{}
		for _, f := range list(t, a.get("/flows?lag=true"), "flows") {
			lags = append(lags, f["lag"])
		}
		require.Equal(t, []any{
			map[string]any{"age_seconds": 90.0, "bytes": nil},
			map[string]any{"age_seconds": nil, "bytes": 7000.0},
			map[string]any{"age_seconds": nil, "bytes": nil, "error": `dataflow: look up the lag of flow "c broken": connect: password=*** was refused`},
			nil,
			map[string]any{"age_seconds": nil, "bytes": nil, "error": "the source has not told it within 1s"},
			nil,
		}, lags)
		for _, f := range list(t, a.get("/flows"), "flows") {
			require.NotContains(t, f, "lag")
		}
		require.InDelta(t, 90, a.get("/flows/a%20late%20one/lag")["age_seconds"], 0)
	})
}

// The last runs of the flows of a list are short.
func TestAPI_LastRuns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a := t.api(&dataflowhttp.APIOptions{})
		for range 3 {
			_, err := a.client.Trigger(t.Context(), "orders", nil)
			require.NoError(t, err)
		}
		flows := list(t, a.get("/flows?last_runs=3"), "flows")
		require.NotContains(t, flows[0], "last_runs")
		runs, ok := flows[1]["last_runs"].([]any)
		require.True(t, ok)
		require.Len(t, runs, 3)
		run, ok := runs[2].(map[string]any)
		require.True(t, ok)
		require.Equal(t, []any{1.0, "success", "manual", 3.0, 2.0}, []any{run["id"], run["state"], run["trigger"], run["read"], run["written"]})
		require.Len(t, run, 8)
	})
}

// What another version has registered is shown beside what this process declares.
func TestAPI_Definition(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		own := func(size int) *dataflow.Flow {
			return idle("orders", lagging{}, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: size}})
		}
		a := t.api(&dataflowhttp.APIOptions{}, own(100))
		for _, p := range list(t, a.get("/flows/orders/definition"), "parts") {
			require.Equal(t, true, p["same"], "%v", p)
		}
		require.NoError(t, t.client(own(200)).Register(t.Context()))
		differ := map[any]any{}
		for _, p := range list(t, a.get("/flows/orders/definition"), "parts") {
			if p["same"] == false {
				declared, _ := p["declared"].(map[string]any)
				stored, _ := p["stored"].(map[string]any)
				differ[p["name"]] = []any{declared["batch_size"], stored["batch_size"]}
			}
		}
		require.Equal(t, map[any]any{"runtime": []any{100.0, 200.0}}, differ)
		require.NoError(t, t.client(idle("other", lagging{}, nil)).Register(t.Context()))
		require.Equal(t, "not_registered", a.call(http.StatusConflict, "GET", "/flows/other/definition", nil)["code"])
	})
}

// A backfill has a progress, and its runs a list.
func TestAPI_Backfills(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a := t.api(&dataflowhttp.APIOptions{Authorize: allow})
		_, err := a.client.Trigger(t.Context(), "orders", nil)
		require.NoError(t, err)
		require.Empty(t, list(t, a.get("/flows/orders/backfills"), "backfills"))
		made := list(t, a.call(http.StatusCreated, "POST", "/flows/orders/backfills", map[string]any{"append": true, "reason": "x"}), "runs")
		require.Len(t, made, 1)
		backfills := list(t, a.get("/flows/orders/backfills"), "backfills")
		require.Len(t, backfills, 1)
		b := backfills[0]
		require.Equal(t, []any{made[0]["backfill"], 1.0, 1.0, 0.0, "ann", "x"}, []any{b["name"], b["ranges"], b["pending"], b["done"], b["actor"], b["reason"]})
		runs := list(t, a.get(fmt.Sprintf("/runs?flow=orders&backfill=%v", b["name"])), "runs")
		require.Len(t, runs, 1)
		require.Equal(t, made[0]["id"], runs[0]["id"])
		a.call(http.StatusUnprocessableEntity, "GET", "/runs?backfill=1", nil)
		refused := a.call(http.StatusUnprocessableEntity, "POST", "/flows/orders/backfills", map[string]any{"append": true, "from_time": "2026-11-01T00:00:00Z"})
		require.Contains(t, refused["detail"], "FromTime")
	})
}

// River's queues are listed, and a run is answered with the address of its job in River UI.
func TestAPI_River(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a := t.api(&dataflowhttp.APIOptions{RiverUI: "/riverui/"})
		require.Empty(t, list(t, a.get("/queues"), "queues"))
		run, err := a.client.Enqueue(t.Context(), oddName, nil)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("/riverui/jobs/%d", run.RiverJobID), a.get(fmt.Sprintf("/runs/%d", run.ID))["river_job_url"])
		run, err = a.client.Trigger(t.Context(), "orders", nil)
		require.NoError(t, err)
		require.NotContains(t, a.get(fmt.Sprintf("/runs/%d", run.ID)), "river_job_url")
		for _, address := range []string{"javascript:alert(1)", "riverui", "//", "//evil.example", "https://", "/ riverui\n"} {
			_, err := dataflowhttp.API(a.client, &dataflowhttp.APIOptions{RiverUI: address})
			var bad *dataflow.ConfigError
			require.ErrorAs(t, err, &bad, address)
			require.Equal(t, "RiverUI", bad.Field)
		}
		for _, address := range []string{"", "/", "/riverui", "https://ops.example.com/riverui"} {
			_, err := dataflowhttp.API(a.client, &dataflowhttp.APIOptions{RiverUI: address})
			require.NoError(t, err)
		}
	})
}
