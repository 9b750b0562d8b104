package httpcall_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// A redirect within a host is followed. A redirect to another host is an error.
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
	c := httpcall.Caller{Auth: func(req *http.Request) error { req.Header.Set("X-Token", "secret"); return nil }}.WithDefaults()
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
	require.ErrorContains(t, err, "the server redirects to another host")
	require.True(t, dataflow.IsPermanent(err), "it would be refused again")
	_, err = do("/round")
	require.ErrorContains(t, err, "the server redirected 10 times")
	require.True(t, dataflow.IsPermanent(err))
	require.Empty(t, told)
}

// A redirect that turns a POST into a GET is an error, because the server that
// answers has not received the body.
func TestCaller_RedirectLosesBody(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusPermanentRedirect} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			var got atomic.Value
			home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/rows" {
					http.Redirect(w, req, "/rows/", status)
					return
				}
				body, err := io.ReadAll(req.Body)
				if err == nil && len(body) > 0 {
					got.Store(req.Method + " " + string(body))
				}
			}))
			t.Cleanup(home.Close)
			for _, client := range []*http.Client{nil, {}} {
				got.Store("nothing")
				_, err := httpcall.Caller{Client: client}.WithDefaults().Do(t.Context(), func(ctx context.Context) (*http.Request, error) {
					return http.NewRequestWithContext(ctx, http.MethodPost, home.URL+"/rows", strings.NewReader("[1,2]"))
				})
				if status == http.StatusPermanentRedirect { // keeps the method and the body
					require.NoError(t, err)
					require.Equal(t, "POST [1,2]", got.Load())
					continue
				}
				require.ErrorContains(t, err, "the server redirects to GET "+home.URL+"/rows/, where the body would not be sent")
				require.True(t, dataflow.IsPermanent(err))
				require.Equal(t, "nothing", got.Load())
			}
		})
	}
}
