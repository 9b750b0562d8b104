package dataflowhttp_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// sent is a request that a receiver got.
type sent struct {
	header http.Header
	body   string
}

// receiver answers requests by what answer writes, and keeps them.
func receiver(t *testing.T, answer func(w http.ResponseWriter, n int)) (url string, posts func() []sent) {
	t.Helper()
	var mu sync.Mutex
	var all []sent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		all = append(all, sent{r.Header, string(body)})
		n := len(all)
		mu.Unlock()
		answer(w, n)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []sent { mu.Lock(); defer mu.Unlock(); return all }
}

var endedAt = time.Date(2026, 11, 28, 10, 0, 1, 500e6, time.UTC)

func endedRun() *dataflow.Run {
	started := endedAt.Add(-time.Second)
	return &dataflow.Run{
		ID: 7, FlowName: "orders", State: dataflow.RunFailed, Trigger: dataflow.TriggerSchedule, ScheduledFor: started, CreatedAt: started,
		StartedAt: &started, EndedAt: &endedAt, Attempt: 5, MaxAttempts: 5, Error: `disk <full> & "slow"`, Counters: dataflow.Counters{Read: 3, Written: 2},
	}
}

const (
	oldSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

// verified reports whether a signature of a request is that of a secret, by the steps that
// Standard Webhooks tells receivers.
func verified(t *testing.T, p sent, secret string) bool {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	require.NoError(t, err)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(p.header.Get("webhook-id") + "." + p.header.Get("webhook-timestamp") + "." + p.body))
	for _, s := range strings.Fields(p.header.Get("webhook-signature")) {
		version, signature, _ := strings.Cut(s, ",")
		sum, err := base64.StdEncoding.DecodeString(signature)
		if version == "v1" && err == nil && hmac.Equal(sum, mac.Sum(nil)) {
			return true
		}
	}
	return false
}

func TestNotify(t *testing.T) {
	t.Parallel()
	url, posts := receiver(t, func(http.ResponseWriter, int) {})
	now := time.Unix(1614265330, 999)
	notify, err := dataflowhttp.Notify(url, &dataflowhttp.NotifyOptions{Secrets: []string{newSecret, oldSecret}, Clock: func() time.Time { return now }})
	require.NoError(t, err)
	require.NoError(t, notify(t.Context(), endedRun()))
	now = now.Add(time.Minute)
	require.NoError(t, notify(t.Context(), endedRun()))
	first, again := posts()[0], posts()[1]
	require.JSONEq(t, `{"type":"run.failed","timestamp":"2026-11-28T10:00:01.5Z","data":{
		"id":7,"flow":"orders","state":"failed","trigger":"schedule","scheduled_for":"2026-11-28T10:00:00.5Z",
		"started_at":"2026-11-28T10:00:00.5Z","ended_at":"2026-11-28T10:00:01.5Z","attempt":5,"read":3,"written":2,"dead_lettered":0}}`, first.body)
	require.Equal(t, "application/json", first.header.Get("Content-Type"))
	require.Equal(t, "1614265330", first.header.Get("webhook-timestamp"))
	require.Equal(t, "1614265390", again.header.Get("webhook-timestamp"))
	require.Equal(t, "run_7_1795860000500000", first.header.Get("webhook-id"))
	require.Equal(t, first.header.Get("webhook-id"), again.header.Get("webhook-id"))
	for _, p := range posts() {
		require.True(t, verified(t, p, oldSecret))
		require.True(t, verified(t, p, newSecret))
		require.False(t, verified(t, p, "whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))))
		p.body = strings.Replace(p.body, "7", "8", 1)
		require.False(t, verified(t, p, oldSecret))
	}
}

// The example of the libraries of Standard Webhooks has this signature.
func TestNotify_Vector(t *testing.T) {
	t.Parallel()
	p := sent{body: `{"test": 2432232314}`, header: http.Header{
		"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	}}
	require.True(t, verified(t, p, oldSecret))
}

func TestNotify_Errors(t *testing.T) {
	t.Parallel()
	url, posts := receiver(t, func(http.ResponseWriter, int) {})
	notify, err := dataflowhttp.Notify(url, &dataflowhttp.NotifyOptions{Secrets: []string{newSecret}, ShowErrors: true})
	require.NoError(t, err)
	require.NoError(t, notify(t.Context(), endedRun()))
	var body struct{ Data struct{ Error string } }
	require.NoError(t, json.Unmarshal([]byte(posts()[0].body), &body))
	require.Equal(t, `disk <full> & "slow"`, body.Data.Error)
}

func TestNotify_Slack(t *testing.T) {
	t.Parallel()
	url, posts := receiver(t, func(http.ResponseWriter, int) {})
	for _, show := range []bool{false, true} {
		notify, err := dataflowhttp.Notify(url, &dataflowhttp.NotifyOptions{Template: dataflowhttp.SlackTemplate, ShowErrors: show})
		require.NoError(t, err)
		require.NoError(t, notify(t.Context(), endedRun()))
	}
	require.JSONEq(t, `{"text":"Flow orders: run 7 has failed, in attempt 5 of 5"}`, posts()[0].body)
	require.JSONEq(t, `{"text":"Flow orders: run 7 has failed, in attempt 5 of 5: disk &lt;full&gt; &amp; \"slow\""}`, posts()[1].body)
	require.Empty(t, posts()[0].header.Get("webhook-signature"))

	own := `{"run":{{.Run.ID}},"how":{{json .Text}}}`
	notify, err := dataflowhttp.Notify(url, &dataflowhttp.NotifyOptions{Template: own})
	require.NoError(t, err)
	good, stopped := endedRun(), endedRun()
	good.State, stopped.State, stopped.CancelledBy = dataflow.RunSuccess, dataflow.RunCancelled, "ann"
	require.NoError(t, notify(t.Context(), good))
	require.NoError(t, notify(t.Context(), stopped))
	require.JSONEq(t, `{"run":7,"how":"Flow orders: run 7 has succeeded: 3 records read, 2 written"}`, posts()[2].body)
	require.JSONEq(t, `{"run":7,"how":"Flow orders: run 7 was cancelled by ann"}`, posts()[3].body)
}

func TestNotify_States(t *testing.T) {
	t.Parallel()
	url, posts := receiver(t, func(http.ResponseWriter, int) {})
	notify, err := dataflowhttp.Notify(url, &dataflowhttp.NotifyOptions{Secrets: []string{newSecret}, States: []dataflow.RunState{dataflow.RunFailed}})
	require.NoError(t, err)
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled} {
		run := endedRun()
		run.State = state
		require.NoError(t, notify(t.Context(), run))
	}
	require.Len(t, posts(), 1)
}

func TestNotify_Answers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status    int
		after     string
		permanent bool
		want      string
	}{
		"created":  {status: 201},
		"error":    {status: 500, want: `the notification was answered by status 500: "sorry"`},
		"refused":  {status: 404, want: "status 404"},
		"moved":    {status: 302, want: "status 302"},
		"gone":     {status: 410, permanent: true, want: "status 410"},
		"too many": {status: 429, after: "7", want: "status 429"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, posts := receiver(t, func(w http.ResponseWriter, _ int) {
				w.Header().Set("Location", "/elsewhere")
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte("sorry"))
			})
			notify, err := dataflowhttp.Notify(url+"/services/T0/secret", &dataflowhttp.NotifyOptions{Secrets: []string{newSecret}})
			require.NoError(t, err)
			err = notify(t.Context(), endedRun())
			require.Len(t, posts(), 1)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.permanent, dataflow.IsPermanent(err))
		})
	}
}

// The URL of a webhook of Slack is a secret: it is in no error.
func TestNotify_SecretURL(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	notify, err := dataflowhttp.Notify(server.URL+"/services/T0/secret", &dataflowhttp.NotifyOptions{Template: dataflowhttp.SlackTemplate})
	require.NoError(t, err)
	err = notify(t.Context(), endedRun())
	require.ErrorContains(t, err, "send the notification: ")
	require.NotContains(t, err.Error(), "secret")
}

func TestNotify_Options(t *testing.T) {
	t.Parallel()
	for field, c := range map[string]struct {
		url  string
		opts *dataflowhttp.NotifyOptions
	}{
		"URL":        {"example.com/secret", &dataflowhttp.NotifyOptions{Template: "{}"}},
		"Secrets":    {"https://example.com", nil},
		"Secrets[1]": {"https://example.com", &dataflowhttp.NotifyOptions{Secrets: []string{newSecret, "whsec_c2hvcnQ="}}},
		"States":     {"https://example.com", &dataflowhttp.NotifyOptions{Secrets: []string{newSecret}, States: []dataflow.RunState{dataflow.RunPending}}},
		"Template":   {"https://example.com", &dataflowhttp.NotifyOptions{Template: "{{"}},
	} {
		_, err := dataflowhttp.Notify(c.url, c.opts)
		var ce *dataflow.ConfigError
		require.ErrorAs(t, err, &ce)
		require.Equal(t, field, ce.Field)
		require.ErrorContains(t, err, "dataflow: notify: "+field)
		require.NotContains(t, err.Error(), "c2hvcnQ")
		require.NotContains(t, err.Error(), "/secret")
	}
}

// A receiver that answers by an error is asked again, as Retry-After says, by OnRunEnded itself.
func TestNotify_Retried(t *testing.T) {
	t.Parallel()
	answered := make(chan int, 10)
	url, posts := receiver(t, func(w http.ResponseWriter, n int) {
		if n == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		answered <- n
	})
	notify, err := dataflowhttp.Notify(url, &dataflowhttp.NotifyOptions{Secrets: []string{newSecret}})
	require.NoError(t, err)
	db, err := sql.Open("sqlite", "file:"+t.TempDir()+"/db")
	require.NoError(t, err)
	defer db.Close() //nolint:errcheck // it is a test's
	db.SetMaxOpenConns(1)
	flow := dataflow.NewFlow("orders", memory.Slice([]int{1, 2, 3}), dataflow.Identity[int](), memory.NewSink[int]().Target(), nil)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{
		Flows: []*dataflow.Flow{flow}, OnRunEnded: notify, PollInterval: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Start(t.Context()))
	defer func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) }()
	run, err := client.Trigger(t.Context(), "orders", nil)
	require.NoError(t, err)
	for range 2 {
		select {
		case <-answered:
		case <-time.After(2 * time.Minute):
			require.NoError(t, errors.New("it was not sent again"))
		}
	}
	require.Len(t, posts(), 2)
	var body struct{ Data struct{ ID int64 } }
	require.NoError(t, json.Unmarshal([]byte(posts()[1].body), &body))
	require.Equal(t, run.ID, body.Data.ID)
	require.True(t, verified(t, posts()[1], newSecret))
}
