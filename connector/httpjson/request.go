package httpjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Request is the request for a page, as a [Paging] prepares it.
type Request struct {
	// URL is the source's address. A Paging may replace it.
	URL *url.URL
	// Header is sent, with the headers of the options.
	Header http.Header
	// Body is the JSON value of [Options].Body, nil without one.
	Body any

	linked bool // URL is one that the API has named, with its parameters
	alone  bool // no other parameter may be added
}

// Set sets a parameter. value is a string, a number or a [json.RawMessage].
//
// A name such as "page" means a query parameter, or with [Options].Body a path in the body,
// such as "variables.after". The prefixes "query:", "body:" and "header:" say it outright.
// All other parts of the query stay as they are, byte for byte.
func (r *Request) Set(name string, value any) error {
	place, name := placeOf(name, r.Body != nil)
	raw, isRaw := value.(json.RawMessage)
	if place == "body" {
		if isRaw {
			decoder := json.NewDecoder(bytes.NewReader(raw))
			decoder.UseNumber()
			if err := decoder.Decode(&value); err != nil {
				return fmt.Errorf("the value of the parameter %q: %w", name, err)
			}
		}
		body, err := setIn(r.Body, name, value)
		r.Body = body
		return err
	}
	text := fmt.Sprint(value)
	if isRaw {
		text = httpcall.Text(raw)
	}
	if place == "header" {
		r.Header.Set(name, text)
		return nil
	}
	r.URL.RawQuery = setQuery(r.URL.RawQuery, name, text)
	return nil
}

// placeOf splits a parameter's name into its place, which is "query", "body" or "header",
// and its name there.
func placeOf(param string, hasBody bool) (place, name string) {
	for _, place := range []string{"query", "body", "header"} {
		if name, ok := strings.CutPrefix(param, place+":"); ok {
			return place, name
		}
	}
	if hasBody {
		return "body", param
	}
	return "query", param
}

// setIn sets the value at a path of a JSON value, and makes the objects on the way.
func setIn(in any, path string, value any) (any, error) {
	name, rest, deeper := strings.Cut(path, ".")
	switch in := in.(type) {
	case map[string]any:
		if _, ok := in[path]; ok || !deeper {
			in[path] = value
			return in, nil
		}
		inner := in[name]
		if inner == nil {
			inner = map[string]any{}
		}
		set, err := setIn(inner, rest, value)
		in[name] = set
		return in, err
	case []any:
		i, err := strconv.Atoi(name)
		if err != nil || i < 0 || i >= len(in) {
			return in, fmt.Errorf("the body has no element %q for the parameter %q", name, path)
		}
		if !deeper {
			in[i] = value
			return in, nil
		}
		in[i], err = setIn(in[i], rest, value)
		return in, err
	default:
		return in, fmt.Errorf("the body has no object for the parameter %q: set Options.Body to one", path)
	}
}

// setQuery replaces the parameter in a query, or appends it. The rest stays as it is.
func setQuery(query, name, value string) string {
	pair := escape(name) + "=" + escape(value)
	var pairs []string
	done := false
	for old := range strings.SplitSeq(query, "&") {
		key, _, _ := strings.Cut(old, "=")
		if plain, err := url.QueryUnescape(key); err == nil && plain == name {
			if done {
				continue
			}
			old, done = pair, true
		}
		pairs = append(pairs, old)
	}
	switch {
	case done:
		return strings.Join(pairs, "&")
	case query == "":
		return pair
	default:
		return query + "&" + pair
	}
}

// escape escapes a part of a query. A space becomes %20, which all servers read alike.
func escape(text string) string {
	return strings.NewReplacer("+", "%20", "%24", "$", "%3A", ":").Replace(url.QueryEscape(text))
}

// request makes the request for a page.
func (r *reading[T]) request(at Cursor) (*Request, error) {
	u, err := url.Parse(r.s.address)
	if err != nil {
		return nil, err
	}
	q := &Request{URL: u, Header: http.Header{"Accept": {"application/json"}}}
	if r.s.body != nil {
		if q.Body, err = decodeAny(r.s.body); err != nil {
			return nil, err
		}
		q.Header.Set("Content-Type", "application/json")
	}
	if err := r.s.opts.Paging.Prepare(q, r.s.reveal(at.Page)); err != nil {
		return nil, err
	}
	if since := r.s.opts.Since; since != nil && since.Param != "" && at.Since != "" && !q.alone && (!q.linked || !since.inQuery(r.s.body != nil)) {
		text, err := since.text(at.Since)
		if err != nil {
			return nil, err
		}
		if err := q.Set(since.Param, text); err != nil {
			return nil, err
		}
	}
	if r.handle != nil {
		if err := q.Set(r.s.opts.Open.Param, r.handle); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func decodeAny(data []byte) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err
}

// body returns the bytes of a request's body, nil without one.
func (r *Request) body() ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	data, err := json.Marshal(r.Body)
	if err != nil {
		return nil, errors.Join(errors.New("the body cannot be written as JSON"), err)
	}
	return data, nil
}

// newRequest makes an HTTP request with a body, which may be nil.
func newRequest(ctx context.Context, method string, u *url.URL, header http.Header, body []byte) (*http.Request, error) {
	if method == "" && body != nil {
		method = http.MethodPost
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), reader)
	if err != nil {
		return nil, dataflow.Permanent(err)
	}
	req.Header = header
	return req, nil
}
