package httpcall_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/httpcall"
)

// A redirect within a host is followed, and one to another is not.
func TestCaller_Redirect(t *testing.T) {
	t.Parallel()
	var told []string
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		told = append(told, req.Header.Get("X-Token"))
	}))
	t.Cleanup(evil.Close)
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/away":
			http.Redirect(w, req, evil.URL, http.StatusFound)
		case "/near":
			http.Redirect(w, req, "/here", http.StatusFound)
		case "/round":
			http.Redirect(w, req, "/round", http.StatusFound)
		default:
			_, _ = w.Write([]byte(req.Header.Get("X-Token")))
		}
	}))
	t.Cleanup(home.Close)
	c := httpcall.Caller{Tries: 1, Auth: func(req *http.Request) error { req.Header.Set("X-Token", "secret"); return nil }}.WithDefaults()
	do := func(path string) (*httpcall.Response, error) {
		return c.Do(t.Context(), func(ctx context.Context) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, home.URL+path, nil)
		})
	}
	resp, err := do("/near")
	require.NoError(t, err)
	require.Equal(t, "secret", string(resp.Body))
	require.Equal(t, "/here", resp.URL.Path)
	_, err = do("/away")
	require.ErrorContains(t, err, "it redirects to another host")
	_, err = do("/round")
	require.ErrorContains(t, err, "it redirects without an end")
	require.Empty(t, told)
}
