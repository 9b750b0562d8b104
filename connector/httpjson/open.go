package httpjson

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Open is the request that opens a search, for an API whose pages need its handle, such as
// Elasticsearch's point in time. Each read opens one, and another if it has expired. It is
// made like the request for a page: with Auth, limits and retries.
type Open struct {
	// URL is the address, also relative to the source's. Required.
	URL string
	// Method is the method. Empty means POST.
	Method string
	// Body is the JSON body. Nil sends none.
	Body any
	// Path is the path of the handle in the response, such as "id". Required.
	Path string
	// Param is the parameter of a page's request for the handle, such as "pit.id". See
	// [Request.Set]. Required.
	Param string
	// Renew is the path in a page of the handle for the next page, such as "pit_id". Empty,
	// and a page without it, mean the same handle.
	Renew string
}

func (o *Open) validate() error {
	if o == nil {
		return nil
	}
	for field, value := range map[string]string{"URL": o.URL, "Path": o.Path, "Param": o.Param} {
		if value == "" {
			return &dataflow.ConfigError{Field: "Open." + field, Reason: "it is empty, and required"}
		}
	}
	return nil
}

// open opens the search, if there is one and it is not open.
func (r *reading[T]) open(ctx context.Context) error {
	o := r.s.opts.Open
	if o == nil || r.handle != nil {
		return nil
	}
	base, err := url.Parse(r.s.address)
	if err != nil {
		return dataflow.Permanent(err)
	}
	u, err := base.Parse(o.URL)
	if err != nil {
		return dataflow.Permanent(fmt.Errorf("open: %w", err))
	}
	var body []byte
	if o.Body != nil {
		if body, err = json.Marshal(o.Body); err != nil {
			return dataflow.Permanent(fmt.Errorf("open: %w", err))
		}
	}
	var unread error
	_, err = r.s.call.DoRead(ctx, func(ctx context.Context) (*http.Request, error) {
		header := http.Header{"Accept": {"application/json"}}
		if body != nil {
			header.Set("Content-Type", "application/json")
		}
		return newRequest(ctx, cmp.Or(o.Method, http.MethodPost), u, header, body)
	}, func(resp *httpcall.Response) error {
		if unread = httpcall.WebPage(resp.Body); unread == nil {
			r.handle, unread = httpcall.Find(resp.Body, o.Path)
		}
		return unread
	})
	switch {
	case isWebPage(err):
		return fmt.Errorf("open at %s: %w", bare(u.String()), err)
	case err != nil && err == unread: //nolint:errorlint // it is this error itself, not one that wraps it
		return dataflow.Permanent(fmt.Errorf("open at %s: the handle: %w", bare(u.String()), err))
	case err != nil:
		return fmt.Errorf("open: %w", err)
	}
	r.fresh = true
	return nil
}

// renew takes the handle that a page names for the next.
func (r *reading[T]) renew(body json.RawMessage) {
	r.fresh = false
	if o := r.s.opts.Open; o != nil && o.Renew != "" {
		if handle, err := httpcall.FindValid(body, o.Renew); err == nil && httpcall.Text(handle) != "" {
			r.handle = handle
		}
	}
}
