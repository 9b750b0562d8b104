package dataflowhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

const (
	goodToken  = "0123456789abcdef" // the shortest allowed
	newToken   = "fedcba9876543210-new"
	wrongToken = "0123456789abcdeX"
)

var someTime = time.Date(2031, 2, 3, 4, 5, 6, 789e6, time.UTC)

// clock is a clock that only the test moves.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fakeTicker returns what a test has set.
type fakeTicker struct {
	report   dataflow.TickReport
	err      error // the error of begin
	worked   []*dataflow.Run
	ended    chan struct{} // closed when wait may return worked
	waitErr  error         // the error of wait, if set
	now      map[int64]*dataflow.Run
	runErr   error
	mu       sync.Mutex // guards begun
	begun    int
	requests []int64
}

func newFake() *fakeTicker {
	f := &fakeTicker{ended: make(chan struct{}), now: make(map[int64]*dataflow.Run)}
	close(f.ended)
	return f
}

func (f *fakeTicker) begin(context.Context) (*tick, error) {
	f.mu.Lock()
	f.begun++
	f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	return &tick{TickReport: &f.report, wait: func(ctx context.Context) ([]*dataflow.Run, error) {
		if f.waitErr != nil {
			return nil, f.waitErr
		}
		select {
		case <-f.ended:
			return f.worked, nil
		case <-ctx.Done():
			return f.report.Due, ctx.Err()
		}
	}}, nil
}

func (f *fakeTicker) run(_ context.Context, id int64) (*dataflow.Run, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, id)
	return f.now[id], f.runErr
}

func (f *fakeTicker) ticks() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun
}

// endpoint is a handler with a fake ticker, and its log.
type endpoint struct {
	*testing.T
	handler http.Handler
	ticker  *fakeTicker
	clock   *clock
	log     *syncBuffer
}

// syncBuffer is a buffer that a logger may write to while a test reads it.
type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// setup returns an endpoint. opts may be nil, and need not have a token.
func setup(t *testing.T, opts *HeartbeatOptions) *endpoint {
	t.Helper()
	e := &endpoint{T: t, ticker: newFake(), clock: &clock{now: someTime}, log: &syncBuffer{}}
	o := HeartbeatOptions{}
	if opts != nil {
		o = *opts
	}
	if o.Tokens == nil && !o.AllowAnonymous {
		o.Tokens = []string{goodToken}
	}
	o.Clock, o.Logger = e.clock.Now, slog.New(slog.NewJSONHandler(e.log, nil))
	s, err := o.settings()
	require.NoError(t, err)
	e.handler = newHeartbeat(e.ticker, s)
	return e
}

// request is a request of a test.
type request struct {
	method string // empty means POST
	target string // empty means /
	peer   string // empty means 192.0.2.1:1234
	token  string // for X-Heartbeat-Token; empty means the good one, if header is nil
	body   string
	header http.Header
}

func (e *endpoint) send(r request) *httptest.ResponseRecorder {
	e.Helper()
	method, target := r.method, r.target
	if method == "" {
		method = http.MethodPost
	}
	if target == "" {
		target = "/"
	}
	req := httptest.NewRequestWithContext(e.Context(), method, target, strings.NewReader(r.body))
	if r.peer != "" {
		req.RemoteAddr = r.peer
	}
	if r.header != nil {
		req.Header = r.header
	} else if r.token == "" {
		req.Header.Set("X-Heartbeat-Token", goodToken)
	}
	if r.token != "" {
		req.Header.Set("X-Heartbeat-Token", r.token)
	}
	rec := httptest.NewRecorder()
	e.handler.ServeHTTP(rec, req)
	requireHeaders(e.T, rec)
	return rec
}

// requireHeaders checks the headers that every response must have.
func requireHeaders(t *testing.T, rec *httptest.ResponseRecorder) {
	t.Helper()
	require.Equal(t, "application/json", rec.Header().Get("Content-Type"))
	require.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
	require.Equal(t, "nosniff", rec.Header().Get("X-Content-Type-Options"))
	require.True(t, json.Valid(rec.Body.Bytes()), rec.Body)
}

// requireRefused checks the status and the whole body of an error.
func (e *endpoint) requireRefused(rec *httptest.ResponseRecorder, status int, text string) {
	e.Helper()
	require.Equal(e, status, rec.Code, rec.Body)
	want, err := json.Marshal(map[string]string{"error": text})
	require.NoError(e, err)
	require.JSONEq(e, string(want), rec.Body.String())
}

// logged returns the attributes of the only line in the log.
func (e *endpoint) logged() map[string]any {
	e.Helper()
	lines := strings.Split(strings.TrimSpace(e.log.String()), "\n")
	require.Len(e, lines, 1, e.log)
	var attrs map[string]any
	require.NoError(e, json.Unmarshal([]byte(lines[0]), &attrs))
	return attrs
}
