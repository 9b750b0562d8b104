package dataflowhttp

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/activedataflow/dataflow"
)

// SlackTemplate is a [NotifyOptions].Template for an incoming webhook of Slack. Mattermost and
// others understand it too.
const SlackTemplate = `{"text":{{json (slack .Text)}}}`

// NotifyOptions are the settings of [Notify].
type NotifyOptions struct {
	// Secrets sign each request. They are those of Standard Webhooks: "whsec_" and the base64 of
	// 24 to 64 random bytes, as from `echo "whsec_$(openssl rand -base64 32)"`. Each of them
	// signs, so that a receiver can change from the old to the new one. At least one is required,
	// unless Template is set: Slack checks no signature.
	Secrets []string

	// States are the endings that are told. Nil: all.
	States []dataflow.RunState

	// Template is a text/template that makes the body, of a [Notification]. Its functions are
	// json, which quotes a value as JSON, and slack, which escapes a text for Slack. Empty: the
	// body of Standard Webhooks.
	Template string

	// ShowErrors adds the errors of runs. The texts come from the flows' code and databases, and
	// may hold secrets such as records, addresses and passwords.
	ShowErrors bool

	// Client sends the requests. Nil: one that waits for 20 s, and follows no redirects.
	Client *http.Client

	// Clock replaces the clock of the timestamps in tests. Nil: the real clock.
	Clock func() time.Time
}

// Notification is what a [NotifyOptions].Template gets.
type Notification struct {
	Run *dataflow.Run
	// Error is the run's error. Empty: there is none, or ShowErrors is not set.
	Error string
	// Text says in a sentence how the run ended.
	Text string
}

// Notify returns a [dataflow.Config].OnRunEnded that sends a POST to a URL for each ended run. A
// request is sent again, as OnRunEnded says, until the answer has a 2xx status. Retry-After sets
// the wait, up to a day. The status 410, Gone, gives up. Redirects are failures.
//
// Headers and body are those of Standard Webhooks, https://www.standardwebhooks.com. The header
// webhook-id is the same when a run is told again. The body is
//
//	{"type":"run.failed","timestamp":"2026-11-28T10:00:00Z","data":{"id":7,"flow":"orders","state":"failed",…}}
//
// opts must set Secrets or a Template. If the options cannot be used, the error is a
// *[dataflow.ConfigError]. No error has the URL, which for Slack is a secret. The function is safe
// for concurrent use.
func Notify(target string, opts *NotifyOptions) (func(ctx context.Context, run *dataflow.Run) error, error) {
	n := &notifier{url: target}
	if opts != nil {
		n.opts = *opts
	}
	if err := n.prepare(); err != nil {
		return nil, fmt.Errorf("dataflow: notify: %w", err)
	}
	return n.notify, nil
}

type notifier struct {
	url  string
	opts NotifyOptions
	keys [][]byte
	body *template.Template // nil: that of Standard Webhooks
}

const (
	notifyTimeout  = 20 * time.Second
	notifyPatience = 24 * time.Hour // for a Retry-After
	notifyExcerpt  = 200            // of an answer, in an error
	secretPrefix   = "whsec_"
	secretLeast    = 24
	secretMost     = 64
)

// prepare checks the options.
func (n *notifier) prepare() error {
	u, err := url.Parse(n.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return &dataflow.ConfigError{Field: "URL", Reason: "it is not a URL that begins with https:// or http:// and has a host"}
	}
	if len(n.opts.Secrets) == 0 && n.opts.Template == "" {
		return &dataflow.ConfigError{Field: "Secrets", Reason: `there is none, so nobody could tell who sent a request: set one, as from echo "whsec_$(openssl rand -base64 32)"; or set a Template, for a receiver such as Slack`}
	}
	for i, s := range n.opts.Secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, secretPrefix))
		if err != nil || len(key) < secretLeast || len(key) > secretMost {
			return &dataflow.ConfigError{Field: fmt.Sprintf("Secrets[%d]", i), Reason: fmt.Sprintf(
				`it is not "whsec_" and the base64 of %d to %d bytes: make one with echo "whsec_$(openssl rand -base64 32)"`, secretLeast, secretMost)}
		}
		n.keys = append(n.keys, key)
	}
	for _, s := range n.opts.States {
		if !s.Finished() {
			return &dataflow.ConfigError{Field: "States", Reason: fmt.Sprintf("%q is no ending: use success, failed and cancelled", s)}
		}
	}
	if n.opts.Template != "" {
		if n.body, err = template.New("body").Option("missingkey=error").Funcs(template.FuncMap{"json": asJSON, "slack": forSlack}).Parse(n.opts.Template); err != nil {
			return &dataflow.ConfigError{Field: "Template", Reason: err.Error()}
		}
	}
	if n.opts.Client == nil {
		n.opts.Client = &http.Client{Timeout: notifyTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if n.opts.Clock == nil {
		n.opts.Clock = time.Now //nolint:forbidigo // the default of the option
	}
	return nil
}

func asJSON(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}

// forSlack escapes the three characters that Slack gives a meaning.
func forSlack(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// notify is an OnRunEnded.
func (n *notifier) notify(ctx context.Context, run *dataflow.Run) error {
	if n.opts.States != nil && !slices.Contains(n.opts.States, run.State) {
		return nil
	}
	body, err := n.bodyOf(run)
	if err != nil {
		return fmt.Errorf("make the notification: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("make the request of a notification: the URL is not valid") // without it
	}
	req.Header.Set("Content-Type", "application/json")
	n.sign(req.Header, run, body)
	res, err := n.opts.Client.Do(req)
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // its text has the URL
	}
	if err != nil {
		return fmt.Errorf("send the notification: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	excerpt, _ := io.ReadAll(io.LimitReader(res.Body, notifyExcerpt))
	return n.answered(res, excerpt)
}

// answered returns the error that an answer stands for.
func (n *notifier) answered(res *http.Response, excerpt []byte) error {
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return nil
	}
	err := fmt.Errorf("the notification was answered by status %d: %q", res.StatusCode, bytes.ToValidUTF8(excerpt, []byte("?")))
	if res.StatusCode == http.StatusGone {
		return dataflow.Permanent(err)
	}
	after := res.Header.Get("Retry-After")
	if seconds, perr := strconv.Atoi(after); perr == nil && seconds > 0 {
		return dataflow.RetryAfter(err, min(time.Duration(min(seconds, 1<<30))*time.Second, notifyPatience))
	}
	if at, perr := http.ParseTime(after); perr == nil {
		if wait := at.Sub(n.opts.Clock()); wait > 0 {
			return dataflow.RetryAfter(err, min(wait, notifyPatience))
		}
	}
	return err
}

// sign adds the headers of Standard Webhooks. Neither id nor timestamp has a period, which
// separates the signed parts.
func (n *notifier) sign(h http.Header, run *dataflow.Run, body []byte) {
	id := fmt.Sprintf("run_%d_%d", run.ID, run.CreatedAt.UnixMicro()) // another database may have this run's id
	at := strconv.FormatInt(n.opts.Clock().Unix(), 10)
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", at)
	signatures := make([]string, len(n.keys))
	for i, key := range n.keys {
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	if len(signatures) > 0 {
		h.Set("Webhook-Signature", strings.Join(signatures, " "))
	}
}

// endedRun is a run in the body of a notification.
type endedRun struct {
	ID           int64      `json:"id"`
	Flow         string     `json:"flow"`
	State        string     `json:"state"`
	Trigger      string     `json:"trigger"`
	ScheduledFor time.Time  `json:"scheduled_for"`
	StartedAt    *time.Time `json:"started_at"`
	EndedAt      *time.Time `json:"ended_at"`
	Attempt      int        `json:"attempt"`
	Read         int64      `json:"read"`
	Written      int64      `json:"written"`
	DeadLettered int64      `json:"dead_lettered"`
	CancelledBy  string     `json:"cancelled_by,omitempty"`
	Error        string     `json:"error,omitempty"`
}

func (n *notifier) bodyOf(run *dataflow.Run) ([]byte, error) {
	told := Notification{Run: run, Text: fmt.Sprintf("Flow %s: run %d %s", run.FlowName, run.ID, howEnded(run))}
	if n.opts.ShowErrors && run.State != dataflow.RunSuccess && run.Error != "" {
		told.Error = run.Error
		told.Text += ": " + run.Error
	}
	if n.body == nil {
		return json.Marshal(struct {
			Type string     `json:"type"`
			At   *time.Time `json:"timestamp"`
			Data endedRun   `json:"data"`
		}{"run." + string(run.State), run.EndedAt, endedRun{
			ID: run.ID, Flow: run.FlowName, State: string(run.State), Trigger: string(run.Trigger), ScheduledFor: run.ScheduledFor,
			StartedAt: run.StartedAt, EndedAt: run.EndedAt, Attempt: run.Attempt,
			Read: run.Counters.Read, Written: run.Counters.Written, DeadLettered: run.Counters.DeadLettered,
			CancelledBy: run.CancelledBy, Error: told.Error,
		}})
	}
	var body bytes.Buffer
	err := n.body.Execute(&body, told)
	return body.Bytes(), err
}

func howEnded(run *dataflow.Run) string {
	switch run.State {
	case dataflow.RunSuccess:
		return fmt.Sprintf("has succeeded: %d records read, %d written", run.Counters.Read, run.Counters.Written)
	case dataflow.RunFailed:
		return fmt.Sprintf("has failed, in attempt %d of %d", run.Attempt, run.MaxAttempts)
	case dataflow.RunCancelled:
		if run.CancelledBy != "" {
			return "was cancelled by " + run.CancelledBy
		}
		return "was cancelled"
	default:
		return "is " + string(run.State)
	}
}
