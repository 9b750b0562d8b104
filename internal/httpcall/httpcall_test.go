package httpcall_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
		case "/gone":
			http.Redirect(w, req, "/login?next=gone", http.StatusFound)
		case "/login":
			http.Error(w, "who are you?", http.StatusForbidden)
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
	_, err = do("/gone")
	require.EqualError(t, err, "GET "+home.URL+"/gone, redirected to "+home.URL+"/login: 403 Forbidden: who are you?")
	require.Empty(t, told)
}

// A server that does not know that a proxy in front of it speaks https redirects to http. That is
// the same host, as is one whose name has its usual port.
func TestCaller_RedirectScheme(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]string{
		"https://API.test/orders":    "https://api.test/orders/",
		"https://api.test:443/order": "https://api.test/orders/",
		"http://api.test:80/orders":  "https://api.test/orders/",
		"https://api.test/orders":    "http://api.test/orders/",
	} {
		client := &http.Client{Transport: transport(func(req *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			if req.URL.String() == from {
				http.Redirect(w, req, to, http.StatusMovedPermanently)
			}
			res := w.Result()
			res.Request = req
			return res, nil
		})}
		c := httpcall.Caller{}.WithDefaults()
		client.CheckRedirect, c.Client = c.Client.CheckRedirect, client
		_, err := c.Do(t.Context(), func(ctx context.Context) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
		})
		if strings.HasPrefix(to, "https:") {
			require.NoError(t, err, from)
			continue
		}
		require.EqualError(t, err, "GET https://api.test/orders: the server redirects from https to http://api.test/orders/: use that address with https, or set Client to allow that")
		require.True(t, dataflow.IsPermanent(err))
	}
}

// A proxy that refuses a connection is named: it answers in place of the server.
func TestCaller_Proxy(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(proxy.Close)
	at, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	host := at.Host
	at.User = url.UserPassword("me", "secret")
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}
	c := httpcall.Caller{Client: client, Tries: 1}.WithDefaults()
	_, err = c.Do(t.Context(), func(ctx context.Context) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, "https://api.test/orders", nil)
	})
	require.EqualError(t, err, "GET https://api.test/orders through the proxy "+host+": Forbidden")
	require.False(t, dataflow.IsPermanent(err))
}

// An Auth that hangs is told as such, and not as the end of the run.
func TestCaller_AuthTimeout(t *testing.T) {
	t.Parallel()
	c := httpcall.Caller{Timeout: time.Millisecond, Auth: func(req *http.Request) error {
		<-req.Context().Done()
		return fmt.Errorf("get a token: %w", req.Context().Err())
	}}.WithDefaults()
	_, err := c.Do(t.Context(), func(ctx context.Context) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, "https://api.test/orders", nil)
	})
	require.EqualError(t, err, "GET https://api.test/orders: authorize: Auth took longer than 1ms, and failed: get a token: context canceled")
	require.NotErrorIs(t, err, context.Canceled)
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

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
				switch status {
				case http.StatusFound: // the address takes a POST alone
					w.WriteHeader(http.StatusMethodNotAllowed)
				case http.StatusSeeOther: // a page of maintenance, which may pass
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				body, err := io.ReadAll(req.Body)
				if err == nil && len(body) > 0 {
					got.Store(req.Method + " " + string(body))
				}
			}))
			t.Cleanup(home.Close)
			for _, client := range []*http.Client{nil, {}} {
				got.Store("nothing")
				_, err := httpcall.Caller{Client: client, Tries: 1}.WithDefaults().Do(t.Context(), func(ctx context.Context) (*http.Request, error) {
					return http.NewRequestWithContext(ctx, http.MethodPost, home.URL+"/rows", strings.NewReader("[1,2]"))
				})
				if status == http.StatusPermanentRedirect { // keeps the method and the body
					require.NoError(t, err)
					require.Equal(t, "POST [1,2]", got.Load())
					continue
				}
				require.ErrorContains(t, err, "the server redirects to GET "+home.URL+"/rows/, where the body would not be sent")
				require.Equal(t, status != http.StatusSeeOther, dataflow.IsPermanent(err))
				require.Equal(t, "nothing", got.Load())
			}
		})
	}
}
