package dataflowhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

var errSecret = errors.New("dial postgres://app:hunter2@10.0.0.5: refused")

// withRuns makes the fake report a tick with three runs: one that it fired and
// works, one that it found due, and one for River.
func (e *endpoint) withRuns() {
	run := func(id int64, flow string, trigger dataflow.Trigger, state dataflow.RunState) *dataflow.Run {
		return &dataflow.Run{ID: id, FlowName: flow, Trigger: trigger, State: state}
	}
	queued := run(8, "queued", "schedule", "pending")
	queued.Queue = "etl"
	failed := run(7, "failing", "manual", "failed")
	failed.Error, failed.Counters = errSecret.Error(), dataflow.Counters{Read: 3, Written: 2, Dropped: 1}
	done := run(9, "orders", "schedule", "success")
	done.Counters = dataflow.Counters{Read: 25, Written: 25}
	e.ticker.report = dataflow.TickReport{
		Fired:   []*dataflow.Run{run(9, "orders", "schedule", "pending"), queued},
		Due:     []*dataflow.Run{run(7, "failing", "manual", "pending"), run(9, "orders", "schedule", "pending")},
		Skipped: 5, Rescued: 3,
	}
	e.ticker.worked = []*dataflow.Run{failed, done}
	taken := *queued
	taken.State = dataflow.RunInProgress
	working := *e.ticker.report.Due[1]
	working.State, working.Counters = dataflow.RunInProgress, dataflow.Counters{Read: 10, Written: 10}
	e.ticker.now = map[int64]*dataflow.Run{7: failed, 8: &taken, 9: &working}
}

const (
	atOnce = `{"fired":2,"skipped":5,"rescued":3,"due":2,"runs":[
		{"id":7,"flow":"failing","trigger":"manual","state":"pending"},
		{"id":8,"flow":"queued","trigger":"schedule","state":"pending","queue":"etl"},
		{"id":9,"flow":"orders","trigger":"schedule","state":"pending"}]}`
	// waited has placeholders for the error of run 7, and for the state and
	// counters of run 9.
	waited = `{"fired":2,"skipped":5,"rescued":3,"due":2,"runs":[
		{"id":7,"flow":"failing","trigger":"manual","state":"failed"%s,"counters":{"read":3,"written":2,"redundant":0,"filtered":0,"dropped":1,"dead_lettered":0}},
		{"id":8,"flow":"queued","trigger":"schedule","state":"in_progress","queue":"etl","counters":{"read":0,"written":0,"redundant":0,"filtered":0,"dropped":0,"dead_lettered":0}},
		{"id":9,"flow":"orders","trigger":"schedule","state":"%s","counters":{"read":%[3]d,"written":%[3]d,"redundant":0,"filtered":0,"dropped":0,"dead_lettered":0}}]}`
)

func TestHeartbeat_Accepted(t *testing.T) {
	t.Parallel()
	t.Run("Nothing", func(t *testing.T) {
		t.Parallel()
		e := setup(t, nil)
		for target, status := range map[string]int{"/": 202, "/?wait=0": 202, "/?wait=1s": 200} {
			rec := e.send(request{target: target})
			require.Equal(t, status, rec.Code)
			require.JSONEq(t, `{"fired":0,"skipped":0,"rescued":0,"due":0,"runs":[]}`, rec.Body.String())
		}
	})
	t.Run("Runs", func(t *testing.T) {
		t.Parallel()
		e := setup(t, &HeartbeatOptions{ShowErrors: true})
		e.withRuns()
		e.ticker.ended = nil // a wait would never end
		rec := e.send(request{})
		require.Equal(t, http.StatusAccepted, rec.Code)
		require.JSONEq(t, atOnce, rec.Body.String())
		require.Empty(t, e.ticker.requests)
	})
}

func TestHeartbeat_Wait(t *testing.T) {
	t.Parallel()
	t.Run("Ended", func(t *testing.T) {
		t.Parallel()
		e := setup(t, nil)
		e.withRuns()
		rec := e.send(request{target: "/?wait=1h"})
		require.Equal(t, http.StatusOK, rec.Code)
		require.JSONEq(t, fmt.Sprintf(waited, "", "success", 25), rec.Body.String())
		require.Equal(t, []int64{8}, e.ticker.requests)
	})
	t.Run("ShowErrors", func(t *testing.T) {
		t.Parallel()
		e := setup(t, &HeartbeatOptions{ShowErrors: true})
		e.withRuns()
		rec := e.send(request{target: "/?wait=1h"})
		require.JSONEq(t, fmt.Sprintf(waited, fmt.Sprintf(`,"error":%q`, errSecret), "success", 25), rec.Body.String())
	})
	t.Run("StillRunning", func(t *testing.T) {
		t.Parallel()
		e := setup(t, nil)
		e.withRuns()
		e.ticker.ended = nil
		rec := e.send(request{target: "/?wait=1ms"})
		require.Equal(t, http.StatusAccepted, rec.Code)
		require.JSONEq(t, fmt.Sprintf(waited, "", "in_progress", 10), rec.Body.String())
		require.Equal(t, []int64{7, 8, 9}, e.ticker.requests)
	})
	t.Run("MaxWait", func(t *testing.T) {
		t.Parallel()
		e := setup(t, &HeartbeatOptions{MaxWait: time.Millisecond})
		e.ticker.ended = nil
		require.Equal(t, http.StatusAccepted, e.send(request{target: "/?wait=1h"}).Code)
	})
	t.Run("StatesUnknown", func(t *testing.T) {
		t.Parallel()
		e := setup(t, nil)
		e.withRuns()
		e.ticker.runErr = errSecret
		e.ticker.report.Fired = e.ticker.report.Fired[1:]
		rec := e.send(request{target: "/?wait=1h"})
		require.Equal(t, http.StatusOK, rec.Code, "the tick has happened")
		require.Contains(t, rec.Body.String(), `{"id":8,"flow":"queued","trigger":"schedule","state":"pending"`)
		require.NotContains(t, rec.Body.String(), "hunter2")
		require.Equal(t, errSecret.Error(), e.logged()["error"])
	})
	t.Run("CallerGone", func(t *testing.T) {
		t.Parallel()
		e := setup(t, nil)
		e.withRuns()
		e.ticker.ended, e.ticker.runErr = nil, context.Canceled
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/?wait=1h", nil)
		req.Header.Set("X-Heartbeat-Token", goodToken)
		rec := httptest.NewRecorder()
		e.handler.ServeHTTP(rec, req)
		require.Equal(t, http.StatusAccepted, rec.Code)
		require.Empty(t, e.log.String())
	})
}

func TestHeartbeat_Failed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		target string
		err    error
		status int
		text   string
		level  string
	}{
		{"Begin", "/", errSecret, 500, "the tick failed: see the service's log", "ERROR"},
		{"Wait", "/?wait=1h", errSecret, 500, "the tick failed: see the service's log", "ERROR"},
		{"BeginStopped", "/", fmt.Errorf("dataflow: tick: %w", dataflow.ErrStopped), 503, "the service is stopping", "WARN"},
		{"WaitStopped", "/?wait=1h", fmt.Errorf("dataflow: wait: %w", dataflow.ErrStopped), 503, "the service is stopping", "WARN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := setup(t, &HeartbeatOptions{ShowErrors: true})
			if tt.target == "/" {
				e.ticker.err = tt.err
			} else {
				e.ticker.waitErr = tt.err
			}
			e.requireRefused(e.send(request{target: tt.target}), tt.status, tt.text)
			line := e.logged()
			require.Equal(t, tt.err.Error(), line["error"])
			require.Equal(t, tt.level, line["level"])
			require.Equal(t, "192.0.2.1", line["address"])
		})
	}
}

// A wait may exceed the server's timeouts for requests and responses.
func TestHeartbeat_WriteTimeout(t *testing.T) {
	t.Parallel()
	e := setup(t, nil)
	e.ticker.ended = nil
	server := httptest.NewUnstartedServer(e.handler)
	server.Config.WriteTimeout, server.Config.ReadTimeout = 500*time.Millisecond, 500*time.Millisecond
	server.Start()
	defer server.Close()
	for range 2 { // on the same connection
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"?wait=700ms", http.NoBody)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+goodToken)
		res, err := server.Client().Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, errors.Join(err, res.Body.Close()))
		require.Equal(t, http.StatusAccepted, res.StatusCode)
		require.JSONEq(t, `{"fired":0,"skipped":0,"rescued":0,"due":0,"runs":[]}`, string(body))
	}
}
