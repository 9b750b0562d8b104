package dataflowhttp_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// An empty token, as from a missing environment variable, lets nobody in. Heartbeat
// refuses it, and a request without a token gets 401.
//
// Guard: the check of HeartbeatOptions, and the check of the request. (Verified by
// removing each.)
func TestDefect_TokenComparedAsEmpty(t *testing.T) {
	t.Parallel()
	client, err := dataflow.NewClient(dataflowsqlite.New(dbtest.SQLite(t)), &dataflow.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	for _, tokens := range [][]string{nil, {""}, {token, ""}, {" "}} {
		_, err := dataflowhttp.Heartbeat(client, &dataflowhttp.HeartbeatOptions{Tokens: tokens})
		var ce *dataflow.ConfigError
		require.ErrorAs(t, err, &ce, "%q", tokens)
	}
	handler, err := dataflowhttp.Heartbeat(client, &dataflowhttp.HeartbeatOptions{Tokens: []string{token}})
	require.NoError(t, err)
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer null", token, "Basic " + token, "Bearer " + token[1:], "Bearer " + token} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.Equal(t, header == "Bearer "+token, w.Code/100 == 2, "%q: %d", header, w.Code)
	}
}
