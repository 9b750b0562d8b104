// Package httpcall makes the HTTP requests of connectors. It limits them, retries
// them where that may help, and marks their errors for the engine.
package httpcall

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
)

// The defaults of a Caller.
const (
	DefaultTimeout      = 30 * time.Second
	DefaultMaxBodyBytes = 32 << 20
	DefaultTries        = 4
	DefaultMaxWait      = 30 * time.Second
)

// firstWait is the wait before the second try if the server sends no Retry-After.
// It doubles with each try.
const firstWait = 500 * time.Millisecond

// maxShown is the number of bytes of a response that an error shows.
const maxShown = 300

// Caller makes requests. It is safe for concurrent use if Auth is.
type Caller struct {
	Client *http.Client
	// Header is sent with each request.
	Header http.Header
	// Auth changes each request before it is sent.
	Auth func(*http.Request) error
	// Timeout limits one request, including its response.
	Timeout time.Duration
	// MaxBodyBytes limits the length of a response.
	MaxBodyBytes int64
	// Tries is the number of times a request is made until it succeeds.
	Tries int
	// MaxWait is the longest wait between two tries.
	MaxWait time.Duration
}

// WithDefaults returns a copy with all zero values filled in.
func (c Caller) WithDefaults() *Caller {
	if c.Client == nil {
		c.Client = &http.Client{CheckRedirect: sameHost}
	}
	c.Header = c.Header.Clone()
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, DefaultMaxBodyBytes)
	c.Tries = cmp.Or(c.Tries, DefaultTries)
	c.MaxWait = cmp.Or(c.MaxWait, DefaultMaxWait)
	return &c
}

// Validate returns a [dataflow.ConfigError] for each invalid setting and for an
// invalid address.
func (c *Caller) Validate(address string) error {
	var errs []error
	wrong := func(field, reason string, args ...any) {
		errs = append(errs, &dataflow.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
	}
	if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		wrong("URL", "it is not an HTTP address: use one such as https://api.example.com/orders")
	}
	if c.Timeout < 0 {
		wrong("Timeout", "%s is negative: use a time, or 0 for %s", c.Timeout, DefaultTimeout)
	}
	if c.MaxBodyBytes < 0 {
		wrong("MaxBodyBytes", "%d is negative: use 1 or more, or 0 for %d", c.MaxBodyBytes, DefaultMaxBodyBytes)
	}
	if c.Tries < 0 {
		wrong("Tries", "%d is negative: use 1 or more, or 0 for %d", c.Tries, DefaultTries)
	}
	if c.MaxWait < 0 {
		wrong("MaxWait", "%s is negative: use a time, or 0 for %s", c.MaxWait, DefaultMaxWait)
	}
	return errors.Join(errs...)
}

// sameHost refuses a redirect to another host, which must not receive what Auth
// adds.
func sameHost(req *http.Request, via []*http.Request) error {
	switch first := via[0]; {
	case req.URL.Host != first.URL.Host || first.URL.Scheme == "https" && req.URL.Scheme != "https":
		return dataflow.Permanent(fmt.Errorf("the server redirects to another host, %s: set Client to allow that", req.URL.Host))
	case len(via) >= 10:
		return dataflow.Permanent(errors.New("the server redirected 10 times: check the address for a loop"))
	default:
		return nil
	}
}

// Response is a response with a status of 2xx, or 304.
type Response struct {
	Status int
	Header http.Header
	URL    *url.URL // of the request, after redirects
	Body   []byte   // without a byte order mark
	length int64    // as announced, or -1
}

// Do makes the request that build returns; it calls build for each try. It retries
// errors of the connection and the statuses 408, 425, 429 and 5xx, after the wait
// that the server asks for. It returns one of these errors:
//
//   - RetryAfter if the server asks for more than MaxWait, or for any wait at the
//     last try; the worker is free meanwhile;
//   - Transient if the tries are used up;
//   - Permanent for any other status.
func (c *Caller) Do(ctx context.Context, build func(ctx context.Context) (*http.Request, error)) (*Response, error) {
	return c.DoRead(ctx, build, nil)
}

// DoRead is [Caller.Do] with a function that reads the response. Its error is returned
// unchanged, unless the response ends within a JSON value: that is retried as an error of
// the connection.
func (c *Caller) DoRead(ctx context.Context, build func(ctx context.Context) (*http.Request, error), read func(*Response) error) (*Response, error) {
	wait := firstWait
	for try := 1; ; try++ {
		resp, err := c.once(ctx, build)
		if err == nil && read != nil {
			if err = read(resp); IsCut(err, resp) {
				err = &failure{err: fmt.Errorf("%s: the response ends within a JSON value: %w", bareURL(resp.URL), err)}
			}
		}
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var failed *failure
		switch {
		case !errors.As(err, &failed):
			return nil, err
		case failed.after > c.MaxWait, try >= c.Tries && failed.after > 0:
			return nil, dataflow.RetryAfter(err, failed.after)
		case try >= c.Tries:
			return nil, dataflow.Transient(err)
		}
		if err := pause(ctx, cmp.Or(failed.after, min(wait, c.MaxWait))); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

// failure is an error that a retry may solve.
type failure struct {
	err   error
	after time.Duration // the server's Retry-After, or 0
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// once makes one request.
func (c *Caller) once(ctx context.Context, build func(ctx context.Context) (*http.Request, error)) (*Response, error) {
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := build(limited)
	if err != nil {
		return nil, err
	}
	for name, values := range c.Header {
		req.Header[name] = values
	}
	if c.Auth != nil {
		if err := c.Auth(req); err != nil {
			return nil, fmt.Errorf("%s: authorize: %w", show(req), err)
		}
	}
	resp, err := c.Client.Do(req)
	if err != nil {
		err = c.explain(limited, req, err)
		if dataflow.IsPermanent(err) { // a retry would meet the same redirect
			return nil, err
		}
		return nil, &failure{err: err}
	}
	defer func() { _ = resp.Body.Close() }() // the body was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.MaxBodyBytes+1))
	if err != nil {
		return nil, &failure{err: c.explain(limited, req, err)}
	}
	if status := resp.StatusCode; status != http.StatusNotModified && (status < 200 || status > 299) {
		return nil, refused(req, resp, body)
	}
	if int64(len(body)) > c.MaxBodyBytes {
		return nil, dataflow.Permanent(fmt.Errorf("%s: the response has more than %d bytes: request smaller pages, or raise MaxBodyBytes", show(req), c.MaxBodyBytes))
	}
	at := req.URL
	if resp.Request != nil { // a custom transport may leave it nil
		at = resp.Request.URL
		// After 301, 302 and 303 the client repeats the request with GET and without
		// the body, so the server that answers has not received the body.
		if got := resp.Request.Method; got != req.Method {
			return nil, dataflow.Permanent(fmt.Errorf("%s: the server redirects to %s, where the body would not be sent: use that address", show(req), show(resp.Request)))
		}
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, URL: at, Body: bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF")), length: resp.ContentLength}, nil
}

// explain adds the request to an error, without the address's query, which may hold
// a secret.
func (c *Caller) explain(limited context.Context, req *http.Request, err error) error {
	if errors.Is(limited.Err(), context.DeadlineExceeded) {
		// Do not wrap the context's error: it would look like the end of the run.
		return fmt.Errorf("%s: no response within %s", show(req), c.Timeout)
	}
	if inner := (*url.Error)(nil); errors.As(err, &inner) {
		err = inner.Err
	}
	return fmt.Errorf("%s: %w", show(req), err)
}

// refused returns the error of a response with an error status.
func refused(req *http.Request, resp *http.Response, body []byte) error {
	err := fmt.Errorf("%s: %s%s", show(req), resp.Status, excerpt(body))
	switch status := resp.StatusCode; {
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return &failure{err: err, after: retryAfter(resp.Header)}
	default:
		return dataflow.Permanent(&StatusError{Status: status, err: err})
	}
}

// StatusError is the error of a response whose status no retry can change.
type StatusError struct {
	Status int
	err    error
}

func (e *StatusError) Error() string { return e.err.Error() }

// excerpt returns the beginning of a body on one line.
func excerpt(body []byte) string {
	text := strings.Join(strings.Fields(string(body[:min(len(body), maxShown)])), " ")
	if text == "" {
		return ""
	}
	return ": " + strings.ToValidUTF8(text, "?")
}

// show names a request.
func show(req *http.Request) string {
	return req.Method + " " + bareURL(req.URL)
}

// bareURL returns an address without its query, which may hold a secret.
func bareURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
