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

// Caller makes requests. It is safe for concurrent use if its functions are.
type Caller struct {
	Client *http.Client
	// Home is the address whose host may receive Header and what Auth adds. Empty means
	// any host.
	Home string
	// Header is sent with each request.
	Header http.Header
	// KeyHeader is the name of the header that tells a repeated request. Empty means none.
	KeyHeader string
	// Auth changes each request before it is sent. After the status 401 it is called once
	// more, with a request for which [TokenRejected] is true.
	Auth func(*http.Request) error
	// Classify decides about a response; of those of a stream, about errors only. Nil, and
	// the zero Verdict, mean its status.
	Classify func(*Response) Verdict
	// Check returns an error for a response with an error status, in place of the status's
	// own. A status that is tried again stays so, unless the error is Permanent. Nil, and a
	// nil error, mean the status's own.
	Check func(*Response) error
	// Unready reports whether a response with the status 202 has no result yet: it is asked
	// for again, as is one with a Retry-After. Nil means that 202 is a success.
	Unready func(*Response) bool
	// Limiter is waited for before each request. Nil means no wait.
	Limiter interface {
		Wait(ctx context.Context) error
	}
	// Timeout limits one request, including its response; of a stream, each read.
	Timeout time.Duration
	// MaxBodyBytes limits the length of a response, except of a stream.
	MaxBodyBytes int64
	// Tries is the number of times a request is made until it succeeds.
	Tries int
	// MaxWait is the longest wait between two tries.
	MaxWait time.Duration
}

// Verdict says what to do about a response.
type Verdict struct {
	Action Action
	// After is the wait before the next try, for Retry. 0 means what the headers say.
	After time.Duration
}

// Action is what to do about a response.
type Action int

// The actions.
const (
	ByStatus Action = iota
	Retry           // ask again
	Fail            // no retry can help
	Renew           // the token was rejected, as with 401
	End             // there are no more pages
	Expired         // the page's cursor has expired
	Accept          // the response is good, whatever its status
)

// WithDefaults returns a copy with all zero values filled in.
func (c Caller) WithDefaults() *Caller {
	if c.Client == nil {
		c.Client = &http.Client{CheckRedirect: sameHost}
	} else {
		c.Client = guarded(c.Client, c.KeyHeader)
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

// Do makes the request that build returns; it calls build for each try. It retries
// errors of the connection, the statuses that pass by themselves, and any response that asks
// for a wait, after that wait. It returns one of these errors:
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
	return c.do(ctx, func(ctx context.Context) (*Response, error) {
		resp, err := c.once(ctx, build, false)
		if err == nil && read != nil {
			if err = read(resp); IsCut(err, resp) {
				err = &failure{err: fmt.Errorf("%s: the response ends within a JSON value: %w", bareURL(resp.URL), err)}
			}
		}
		return resp, err
	})
}

// Open is [Caller.Do] for a response whose body the caller reads from its Stream.
func (c *Caller) Open(ctx context.Context, build func(ctx context.Context) (*http.Request, error)) (*Response, error) {
	return c.do(ctx, func(ctx context.Context) (*Response, error) { return c.once(ctx, build, true) })
}

// do tries until it succeeds, or another try cannot help.
func (c *Caller) do(ctx context.Context, once func(ctx context.Context) (*Response, error)) (*Response, error) {
	wait, renewed := firstWait, false
	for try := 1; ; try++ {
		resp, err := once(ctx)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var failed *failure
		if rejected := (*StatusError)(nil); errors.As(err, &rejected) && rejected.Action == Renew && c.Auth != nil && !renewed {
			ctx, renewed = context.WithValue(ctx, rejectedKey{}, true), true //nolint:fatcontext // once
			try--                                                            // this is no failure of the server
			continue
		}
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

type rejectedKey struct{}

// TokenRejected reports whether the server answered the previous try of a request with 401,
// so that Auth must not add the same token again.
func TokenRejected(req *http.Request) bool { return req.Context().Value(rejectedKey{}) != nil }

// prepare adds the user of the address, the headers and what Auth adds, except for another host.
func (c *Caller) prepare(req *http.Request) error {
	user := req.URL.User
	if c.Home != "" {
		home, err := url.Parse(c.Home)
		if err != nil {
			return dataflow.Permanent(err)
		}
		if !sameOrigin(home, req.URL) {
			return nil
		}
		if home.User != nil { // a link has none
			user = home.User
		}
	}
	if user != nil { // the client would leave it out after a redirect
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	for name, values := range c.Header {
		req.Header[name] = values
	}
	if c.Auth != nil {
		err := c.Auth(req)
		if err != nil && errors.Is(context.Cause(req.Context()), errTimeout) {
			// As in explain, do not wrap the context's error.
			return fmt.Errorf("%s: authorize: Auth took longer than %s, and failed: %v", show(req), c.Timeout, err) //nolint:errorlint // see above
		}
		if err != nil {
			return fmt.Errorf("%s: authorize: %w", show(req), err)
		}
	}
	return nil
}

// once makes one request.
func (c *Caller) once(ctx context.Context, build func(ctx context.Context) (*http.Request, error), stream bool) (_ *Response, err error) {
	if c.Limiter != nil {
		if err := c.Limiter.Wait(ctx); err != nil {
			return nil, err
		}
	}
	limited, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.Timeout, func() { cancel(errTimeout) })
	idle := &idleBody{timer: timer, timeout: c.Timeout, cancel: cancel}
	defer func() {
		if err != nil || !stream {
			idle.stop()
		}
	}()
	req, err := build(limited)
	if err != nil {
		return nil, err
	}
	req.URL.RawQuery = escaped(req.URL.RawQuery)
	if err := c.prepare(req); err != nil {
		return nil, err
	}
	resp, err := c.Client.Do(req) //nolint:bodyclose // by idle.stop, or by the reader of a stream
	if err != nil {
		err = c.explain(limited, req, err)
		if dataflow.IsPermanent(err) { // a retry would meet the same redirect
			return nil, err
		}
		return nil, &failure{err: err}
	}
	idle.body = resp.Body
	streamed := stream && resp.StatusCode >= 200 && resp.StatusCode <= 299 && resp.StatusCode != http.StatusAccepted
	if err := cmp.Or(sentBody(req, resp), understood(req, resp)); err != nil {
		return nil, err
	}
	got := &Response{Status: resp.StatusCode, Header: resp.Header, URL: req.URL}
	got.Endless = resp.ProtoMajor == 1 && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && !resp.Uncompressed
	if resp.Request != nil { // a custom transport may leave it nil
		got.URL = resp.Request.URL
	}
	good := got.Status == http.StatusNotModified || got.Status >= 200 && got.Status <= 299
	if streamed {
		timer.Stop()
		idle.explain = func(err error) error { return c.explain(limited, req, err) }
		got.Stream = idle
		return got, nil
	}
	body, err := readAll(resp.Body, resp.ContentLength, c.MaxBodyBytes)
	if err != nil {
		return nil, &failure{err: c.explain(limited, req, err)}
	}
	got.Body = bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF"))
	if err := c.judge(req, resp, got, good); err != nil {
		return nil, err
	}
	if int64(len(body)) > c.MaxBodyBytes {
		return nil, dataflow.Permanent(fmt.Errorf("%s: the response has more than %d bytes: request smaller pages, or raise MaxBodyBytes", show(req), c.MaxBodyBytes))
	}
	if stream && got.Status != http.StatusNotModified { // it was accepted
		got.Stream, got.Body = io.NopCloser(bytes.NewReader(got.Body)), nil
	}
	return got, nil
}

// explain adds the request to an error, without the address's query, which may hold
// a secret.
func (c *Caller) explain(limited context.Context, req *http.Request, err error) error {
	if errors.Is(context.Cause(limited), errTimeout) {
		// Do not wrap the context's error: it would look like the end of the run.
		return fmt.Errorf("%s: no response within %s", show(req), c.Timeout)
	}
	if inner := (*url.Error)(nil); errors.As(err, &inner) {
		err = inner.Err
	}
	if proxy := c.proxy(req); proxy != "" { // its refusal has no other words than its status
		return fmt.Errorf("%s through the proxy %s: %w", show(req), proxy, err)
	}
	return fmt.Errorf("%s: %w", show(req), err)
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
