package httpjson

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// answers gives one response after the other, and then 200.
type answers struct {
	list   []func(w http.ResponseWriter)
	tokens []string
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	a.tokens = append(a.tokens, req.Header.Get("Authorization"))
	w := httptest.NewRecorder()
	if n := len(a.tokens); n <= len(a.list) {
		a.list[n-1](w)
	}
	return w.Result(), nil
}

// A sink waits as the server asks, with any status, and renews a rejected token.
func TestSink_Limits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &answers{list: []func(http.ResponseWriter){
			func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "7.5")
				w.WriteHeader(http.StatusForbidden)
			},
			func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) },
		}}
		token := "old"
		auth := func(req *http.Request) error {
			if TokenRejected(req) {
				token = "new"
			}
			req.Header.Set("Authorization", token)
			return nil
		}
		began := time.Now()
		err := newSink[row]("https://api.test/rows", &SinkOptions{Client: &http.Client{Transport: server}, Auth: auth}).
			Write(t.Context(), dataflow.SinkBatch[row]{ID: "b", Rows: numbered(1)})
		require.NoError(t, err)
		require.Equal(t, 7500*time.Millisecond, time.Since(began))
		require.Equal(t, []string{"old", "old", "new"}, server.tokens)
	})
}
