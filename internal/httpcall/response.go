package httpcall

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
)

// Response is a response with a status of 2xx, or 304.
type Response struct {
	Status int
	Header http.Header
	URL    *url.URL // of the request, after redirects
	Body   []byte   // without a byte order mark; nil for a stream
	// Stream is the body of a stream. The caller must close it.
	Stream io.ReadCloser
	// Endless is true if the response ends with its connection, as in HTTP/1.0: one that was cut looks whole.
	Endless bool
}

// failure is an error that a retry may solve.
type failure struct {
	err   error
	after time.Duration // as the server asks, or 0
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// understood returns an error for a response that was not asked for: a compressed one, which
// the client has not decompressed, or one without content.
func understood(req *http.Request, resp *http.Response) error {
	conditional := req.Header.Get("If-None-Match") != "" || req.Header.Get("If-Modified-Since") != ""
	switch encoding := resp.Header.Get("Content-Encoding"); {
	case compresses(encoding) && resp.ContentLength != 0 && resp.StatusCode <= 299 && resp.StatusCode != http.StatusNoContent:
		return dataflow.Permanent(fmt.Errorf("%s: the response is compressed by %q, and is decompressed only if Accept-Encoding is left to the client: do not set that header", show(req), encoding))
	case resp.StatusCode == http.StatusNotModified && !conditional:
		return &failure{err: fmt.Errorf("%s: %s, though the request did not ask for changes only", show(req), resp.Status)}
	default:
		return nil
	}
}

// compresses reports whether an encoding changes the bytes of a body. Some servers give its
// character set here, and S3 gives how an object was uploaded.
func compresses(encoding string) bool {
	switch strings.ToLower(encoding) {
	case "", "identity", "none", "aws-chunked", "utf-8", "utf8":
		return false
	default:
		return true
	}
}

// readAll reads a body of an announced length, which may be wrong, and at most one byte more
// than most.
func readAll(body io.Reader, length, most int64) ([]byte, error) {
	var buffer bytes.Buffer
	if length > 0 {
		buffer.Grow(int(min(length, most, 4<<20)) + bytes.MinRead)
	}
	_, err := buffer.ReadFrom(io.LimitReader(body, most+1))
	return buffer.Bytes(), err
}

// sentBody returns an error if a redirect has dropped the body. After 301, 302 and 303 the
// client repeats the request with GET, so the server that answers has not received the body. If that
// answer passes by itself, as during maintenance, so may the redirect.
func sentBody(req *http.Request, resp *http.Response) error {
	if resp.Request == nil || resp.Request.Method == req.Method {
		return nil
	}
	err := fmt.Errorf("%s: the server redirects to %s, where the body would not be sent: use that address", show(req), show(resp.Request))
	if passes(resp.StatusCode) {
		after, _ := asksToWait(resp.StatusCode, resp.Header)
		return &failure{err: fmt.Errorf("%w, unless %s there passes", err, resp.Status), after: after}
	}
	return dataflow.Permanent(err)
}

// judge returns the error of a response, or nil if it is good.
func (c *Caller) judge(req *http.Request, resp *http.Response, got *Response, good bool) error {
	v := Verdict{}
	if c.Classify != nil {
		v = c.Classify(got)
	}
	if c.Unready != nil && got.Status == http.StatusAccepted && v.Action == ByStatus {
		if after, said := retryAfter(got.Header, serverTime(got.Header)); said || c.Unready(got) {
			v = Verdict{Action: Retry, After: after}
		}
	}
	if v.Action == ByStatus && good || v.Action == Accept {
		return nil
	}
	asked := show(req)
	if at := bareURL(got.URL); at != bareURL(req.URL) {
		asked += ", redirected to " + at
	}
	err := fmt.Errorf("%s: %s%s", asked, resp.Status, excerpt(got.Body))
	after, again := asksToWait(got.Status, got.Header)
	if v.Action == ByStatus && got.Status == http.StatusUnauthorized {
		v.Action = Renew
	}
	if c.Check != nil && v.Action == ByStatus {
		if own := c.Check(got); own != nil {
			waits := (again || got.Status == http.StatusUnauthorized) && !dataflow.IsPermanent(own)
			if !waits {
				return fmt.Errorf("%w: %w", err, own)
			}
			err = fmt.Errorf("%w: %w", err, own)
		}
	}
	if v.Action == Retry || v.Action == ByStatus && again {
		return &failure{err: err, after: cmp.Or(v.After, after)}
	}
	return dataflow.Permanent(&StatusError{Status: got.Status, Action: v.Action, WebPage: WebPage(got.Body) != nil, err: err})
}

// StatusError is the error of a response whose status no retry can change.
type StatusError struct {
	Status  int
	Action  Action // as Classify says
	WebPage bool   // its body is one, as that of a gateway, and no answer of the API
	err     error
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
