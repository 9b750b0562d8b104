package httpjson

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowtest"
)

// A request of which the API may still be at work on an earlier try is tried again under its
// key. It is not sent in halves under other keys, which would write the rows twice.
func TestSink_StillAtWork(t *testing.T) {
	t.Parallel()
	for _, policy := range []dataflow.Policy{nil, dataflow.DeadLetterUpTo(5)} {
		for _, body := range []string{"", `{"error":"a request with this Idempotency-Key is outstanding"}`} {
			for _, late := range []bool{false, true} { // the first try has got no response
				if !late && body == "" {
					continue // nothing tells it from a conflict of a row
				}
				taken, tries := map[int]int{}, 0
				keys := map[string]bool{}
				transport := roundTrip(func(req *http.Request) (*http.Response, error) {
					tries++
					w := httptest.NewRecorder()
					var rows []int
					if err := json.NewDecoder(req.Body).Decode(&rows); err != nil {
						return nil, err
					}
					switch key := req.Header.Get("Idempotency-Key"); {
					case !keys[key]:
						keys[key] = true
						for _, n := range rows {
							taken[n]++
						}
						if late {
							return nil, io.ErrUnexpectedEOF
						}
						fallthrough
					case tries < 4:
						w.WriteHeader(http.StatusConflict)
						_, _ = w.WriteString(body)
					}
					return w.Result(), nil
				})
				flow := dataflow.NewFlow("f", memory.Slice([]int{1, 2, 3}), dataflow.Identity[int](), Sink[int]("https://api.test", &SinkOptions{Client: &http.Client{Transport: transport}, MaxWait: time.Millisecond}), &dataflow.FlowOptions{OnBadRecord: policy, MaxAttempts: 1})
				run, err := dataflowtest.New(t, flow).Client().Trigger(t.Context(), "f", nil)
				require.NoError(t, err)
				require.Equal(t, dataflow.Counters{Read: 3, Written: 3}, run.Counters)
				require.Equal(t, map[int]int{1: 1, 2: 1, 3: 1}, taken)
				require.Len(t, keys, 1)
			}
		}
	}
}

// A key that was used for other rows is no reason to send these under other keys.
func TestSink_KeyOfOthers(t *testing.T) {
	t.Parallel()
	s := &shop{answer: func([]int, []int) (int, string) { return 422, `{"type":"idempotency_error"}` }, taken: map[int]int{}}
	run, err := policyClient(t, s, SinkOptions{}).Trigger(t.Context(), "keep", nil)
	require.ErrorContains(t, err, "idempotency_error")
	require.Equal(t, dataflow.RunFailed, run.State)
	require.Equal(t, 1, s.requests)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A response that repeats the key in a field of its own is about the rows.
func TestSink_KeyRepeated(t *testing.T) {
	t.Parallel()
	for status, body := range map[int]string{422: `{"message":"no","idempotency_key":"k"}`, 409: `{"error":"taken","idempotencyKey":"k"}`} {
		s := &shop{refused: []int{5}, answer: func(_, refused []int) (int, string) {
			if len(refused) > 0 {
				return status, body
			}
			return 200, ""
		}, taken: map[int]int{}}
		run, err := policyClient(t, s, SinkOptions{}).Trigger(t.Context(), "keep", nil)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 20, Written: 19, DeadLettered: 1}, run.Counters)
	}
}

// The client itself repeats a request on another connection if a kept one breaks. The API may then be at work on
// the first, too.
func TestSink_StillAtWorkForTheClient(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		var mu sync.Mutex
		taken, tries := map[int]int{}, map[string]int{}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			var rows []int
			_ = json.NewDecoder(req.Body).Decode(&rows)
			mu.Lock()
			defer mu.Unlock()
			key := req.Header.Get("Idempotency-Key")
			tries[key]++
			if tries[key] == 1 {
				for _, n := range rows {
					taken[n]++
				}
			}
			switch {
			case len(tries) == 2 && tries[key] == 1 && !http2: // the connection breaks, on which there was a request before
				conn, _, _ := http.NewResponseController(w).Hijack()
				_ = conn.Close()
			case len(tries) == 2 && tries[key] == 1:
				panic(http.ErrAbortHandler)
			case len(tries) == 2 && tries[key] < 4:
				w.WriteHeader(http.StatusConflict)
			}
		}))
		server.EnableHTTP2 = http2
		server.StartTLS()
		t.Cleanup(server.Close)
		sink := Sink[int](server.URL, &SinkOptions{Client: server.Client(), MaxWait: time.Millisecond, MaxRows: 2})
		flow := dataflow.NewFlow("f", memory.Slice([]int{1, 2, 3, 4}), dataflow.Identity[int](), sink, &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(5), MaxAttempts: 1})
		run, err := dataflowtest.New(t, flow).Client().Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 4, Written: 4}, run.Counters)
		require.Equal(t, map[int]int{1: 1, 2: 1, 3: 1, 4: 1}, taken)
	}
}

// A redirect to another host, which only a client of one's own follows, keeps the key by which the API knows a repeated
// request, and no secret.
func TestSink_RedirectKeepsKey(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { got <- req.Header }))
	t.Cleanup(other.Close)
	home := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(home.Close)
	sink := newSink[int](home.URL, &SinkOptions{
		Client: &http.Client{}, KeyHeader: "X-Request", Header: http.Header{"X-Secret": {"s"}},
		Auth: func(req *http.Request) error { req.SetBasicAuth("a", "b"); return nil },
	})
	require.NoError(t, sink.Write(t.Context(), dataflow.SinkBatch[int]{ID: "batch", Rows: []int{1}}))
	header := <-got
	require.Equal(t, "batch", header.Get("X-Request"))
	require.Equal(t, "application/json", header.Get("Content-Type"))
	require.Empty(t, header.Get("X-Secret"))
	require.Empty(t, header.Get("Authorization"))
	require.Empty(t, header.Get("Referer"))
}
