package dataflowhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

// dbT is a test on a fresh, migrated database of either kind. Each driver stands
// for another process.
type dbT struct {
	*testing.T
	driver func() dataflow.Driver
}

// onBoth runs a test on Postgres and on SQLite, in parallel.
func onBoth(t *testing.T, fn func(t *dbT)) {
	t.Helper()
	run := func(name string, driver func(t *testing.T) func() dataflow.Driver) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := &dbT{T: t, driver: driver(t)}
			require.NoError(t, db.client().Migrate(t.Context()))
			fn(db)
		})
	}
	run("Postgres", func(t *testing.T) func() dataflow.Driver {
		t.Helper()
		pool := dbtest.Postgres(t)
		return func() dataflow.Driver { return dataflowpgx.New(pool) }
	})
	run("SQLite", func(t *testing.T) func() dataflow.Driver {
		t.Helper()
		path := dbtest.SQLitePath(t)
		return func() dataflow.Driver { return dataflowsqlite.New(dbtest.OpenSQLite(t, path)) }
	})
}

// client returns a client that is not started.
func (t *dbT) client(flows ...*dataflow.Flow) *dataflow.Client {
	t.Helper()
	client, err := dataflow.NewClient(t.driver(), &dataflow.Config{Flows: flows, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return client
}

// serve registers the client's flows and serves its endpoint.
func (t *dbT) serve(client *dataflow.Client) *httptest.Server {
	t.Helper()
	require.NoError(t, client.Register(t.Context()))
	handler, err := dataflowhttp.Heartbeat(client, &dataflowhttp.HeartbeatOptions{
		Tokens: []string{token}, AllowedIPs: []string{"127.0.0.1", "::1"}, Logger: slog.New(slog.DiscardHandler), MaxPerMinute: -1,
	})
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// leave creates a due run.
func (t *dbT) leave(client *dataflow.Client, flow string) *dataflow.Run {
	t.Helper()
	run, err := client.Trigger(t.Context(), flow, &dataflow.TriggerOptions{At: time.Unix(1, 0)})
	require.NoError(t, err)
	require.Equal(t, dataflow.RunPending, run.State)
	return run
}

type answer struct {
	status                       int
	Fired, Skipped, Rescued, Due int
	Runs                         []struct {
		ID       int64
		Flow     string
		State    dataflow.RunState
		Counters *dataflow.Counters
		Error    *string
	}
}

func post(ctx context.Context, url string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("X-Heartbeat-Token", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return answer{}, err
	}
	a := answer{status: res.StatusCode}
	return a, json.Unmarshal(body, &a)
}

func (t *dbT) post(url string) answer {
	t.Helper()
	a, err := post(t.Context(), url)
	require.NoError(t, err)
	return a
}

// numbersFlow writes 1, 2, 3 to a sink.
func numbersFlow(name string, sink *memory.Sink[int]) *dataflow.Flow {
	return dataflow.NewFlow(name, memory.Slice([]int{1, 2, 3}), dataflow.Identity[int](), sink.Target(), nil)
}

// gate is a source that signals when it is read, and waits until it may end.
type gate struct{ reading, open chan struct{} }

func newGate() gate { return gate{reading: make(chan struct{}), open: make(chan struct{})} }

func (g gate) Read(ctx context.Context, _ dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(yield func(dataflow.Item[int, int], error) bool) {
		close(g.reading)
		select {
		case <-g.open:
			yield(dataflow.Item[int, int]{Value: 1, Cursor: 1, Resume: true}, nil)
		case <-ctx.Done():
			yield(dataflow.Item[int, int]{}, ctx.Err())
		}
	}
}

func (g gate) flow(sink *memory.Sink[int]) *dataflow.Flow {
	return dataflow.NewFlow("gated", g, dataflow.Identity[int](), sink.Target(), nil)
}
