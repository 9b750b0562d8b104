package dataflowhttp

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

const badWait = "wait is not a duration: use one such as wait=30s, or a number of seconds"

func TestHeartbeat_Method(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "post"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			e := setup(t, nil)
			rec := e.send(request{method: method})
			e.requireRefused(rec, http.StatusMethodNotAllowed, "use POST")
			require.Equal(t, "POST", rec.Header().Get("Allow"))
			require.Zero(t, e.ticker.ticks())
		})
	}
}

// A refusal reveals nothing about later checks.
func TestHeartbeat_Order(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 11)
	e := setup(t, &HeartbeatOptions{AllowedIPs: []string{"192.0.2.1"}, MaxBody: 10, MaxPerMinute: 1})
	const elsewhere = "192.0.2.2:1"
	require.Equal(t, 405, e.send(request{method: "GET", peer: elsewhere, token: wrongToken, body: large}).Code)
	for range guessesPerMinute + 1 { // none of these counts as a guess
		wrong := e.send(request{peer: elsewhere, token: wrongToken, body: large})
		right := e.send(request{peer: elsewhere, body: large})
		require.Equal(t, 403, right.Code)
		require.Equal(t, right.Code, wrong.Code)
		require.Equal(t, right.Body, wrong.Body)
		require.Equal(t, right.Header(), wrong.Header())
	}
	require.Equal(t, 401, e.send(request{token: wrongToken, body: large}).Code)
	require.Equal(t, 413, e.send(request{body: large}).Code) // the first request that counts
	require.Equal(t, 429, e.send(request{body: large}).Code)
	require.Equal(t, 401, e.send(request{token: wrongToken, body: large}).Code)
	require.Zero(t, e.ticker.ticks())
}

func TestHeartbeat_Body(t *testing.T) {
	t.Parallel()
	send := func(t *testing.T, e *endpoint, body io.Reader, length int64) *httptest.ResponseRecorder {
		t.Helper()
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
		req.ContentLength = length
		req.Header.Set("X-Heartbeat-Token", goodToken)
		rec := httptest.NewRecorder()
		e.handler.ServeHTTP(rec, req)
		requireHeaders(t, rec)
		return rec
	}
	const tooLarge = "the body is too large: send none"
	most := strings.Repeat("x", DefaultMaxBody)
	for name, length := range map[string]int64{"Declared": DefaultMaxBody, "Chunked": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t, nil)
			body := strings.NewReader(most)
			require.Equal(t, http.StatusAccepted, send(t, e, body, length).Code)
			require.Zero(t, body.Len(), "the body is drained")
			if length > 0 {
				length++
			}
			e.requireRefused(send(t, e, strings.NewReader(most+"x"), length), http.StatusRequestEntityTooLarge, tooLarge)
			require.Equal(t, 1, e.ticker.ticks())
		})
	}
	t.Run("DeclaredTooLargeIsNotRead", func(t *testing.T) {
		t.Parallel()
		e := setup(t, nil)
		body := strings.NewReader(most)
		e.requireRefused(send(t, e, body, DefaultMaxBody+1), http.StatusRequestEntityTooLarge, tooLarge)
		require.Equal(t, DefaultMaxBody, body.Len())
	})
	t.Run("Broken", func(t *testing.T) {
		t.Parallel()
		e := setup(t, nil)
		e.requireRefused(send(t, e, iotest.ErrReader(errors.New("reset by 10.0.0.9")), -1), http.StatusBadRequest, "the body cannot be read")
		require.Equal(t, "reading the body: reset by 10.0.0.9", e.logged()["reason"])
		require.Zero(t, e.ticker.ticks())
	})
	t.Run("None", func(t *testing.T) {
		t.Parallel()
		e := setup(t, nil)
		require.Equal(t, http.StatusAccepted, send(t, e, nil, 0).Code)
	})
}

func TestHeartbeat_WaitOf(t *testing.T) {
	t.Parallel()
	const most = 5 * time.Minute
	tests := []struct {
		query string
		want  time.Duration // -1 means refused
	}{
		{"", 0},
		{"other=1", 0},
		{"wait=0", 0},
		{"wait=30s", 30 * time.Second},
		{"wait=1m30s", 90 * time.Second},
		{"wait=30", 30 * time.Second},
		{"wait=1.5", 1500 * time.Millisecond},
		{"wait=5m", most},
		{"wait=6m", most},
		{"wait=86400", most},
		{"wait=", -1},
		{"wait", -1},
		{"wait=-1s", -1},
		{"wait=-1", -1},
		{"wait=soon", -1},
		{"wait=.", -1},
		{"wait=1e3", -1},
		{"wait=NaN", -1},
		{"wait=Inf", -1},
		{"wait=1m30", -1},
		{"wait=99999999999999999999", -1},
		{"wait=1s&wait=2s", -1},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			t.Parallel()
			e := setup(t, nil)
			h, ok := e.handler.(*heartbeat)
			require.True(t, ok)
			wait, refused := h.waitOf(httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/?"+tt.query, nil))
			if tt.want >= 0 {
				require.Nil(t, refused)
				require.Equal(t, tt.want, wait)
				return
			}
			require.NotNil(t, refused)
			e.requireRefused(e.send(request{target: "/?" + tt.query}), http.StatusBadRequest, badWait)
			require.Zero(t, e.ticker.ticks())
		})
	}
	t.Run("Query", func(t *testing.T) {
		t.Parallel()
		e := setup(t, nil)
		e.requireRefused(e.send(request{target: "/?wait=1s;%zz"}), http.StatusBadRequest, "the query cannot be read")
	})
}

// A request can neither forge lines of the log nor fill it.
func TestHeartbeat_LogInjection(t *testing.T) {
	t.Parallel()
	e := setup(t, &HeartbeatOptions{TrustedProxies: []string{"192.0.2.1"}, AllowedIPs: []string{"10.0.0.1"}})
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	req.Header["X-Forwarded-For"] = []string{"10.0.0.1\n{\"level\":\"ERROR\"}"}
	rec := httptest.NewRecorder()
	e.handler.ServeHTTP(rec, req)
	require.Equal(t, http.StatusForbidden, rec.Code)
	require.Equal(t, "unknown", e.logged()["address"])

	e = setup(t, nil)
	req.Method = "GET\nlevel=ERROR" + strings.Repeat("x", 1000)
	e.handler.ServeHTTP(httptest.NewRecorder(), req)
	require.Equal(t, "GET\nlevel=ERROR"+strings.Repeat("x", 17)+"…", e.logged()["method"])
}
