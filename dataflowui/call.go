package dataflowui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/activedataflow/dataflow/dataflowhttp"
)

// refusal is an error that the reader may see.
type refusal dataflowhttp.Problem

func (e *refusal) Error() string { return e.Detail }

// recorder keeps an answer of the API.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header            { return w.header }
func (w *recorder) WriteHeader(status int)         { w.status = status }
func (w *recorder) Write(data []byte) (int, error) { return w.body.Write(data) }

// get asks the API in this process, as the reader who made the request: the same checks and masks
// hold for a page as for the API.
func get[A any](u *ui, r *http.Request, query url.Values, path ...string) (*A, error) {
	return call[A](u, r, http.MethodGet, query, nil, path...)
}

func call[A any](u *ui, r *http.Request, method string, query url.Values, body any, path ...string) (*A, error) {
	q := r.Clone(r.Context())
	q.Method, q.Body, q.ContentLength = method, http.NoBody, 0
	q.Form, q.PostForm, q.Pattern = nil, nil, ""
	q.URL = &url.URL{Path: "/" + strings.Join(path, "/"), RawPath: escaped(path), RawQuery: query.Encode()}
	q.RequestURI = q.URL.RequestURI()
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write the body of %s: %w", q.URL.Path, err)
		}
		q.Body, q.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
		q.Header.Set("Content-Type", "application/json")
	}
	w := &recorder{header: make(http.Header), status: http.StatusOK}
	u.api.ServeHTTP(w, q)
	if w.status >= http.StatusMultipleChoices {
		var p refusal
		if err := json.Unmarshal(w.body.Bytes(), &p); err != nil {
			return nil, fmt.Errorf("%s %s: status %d", method, q.URL.Path, w.status)
		}
		return nil, &p
	}
	answer := new(A)
	if err := json.Unmarshal(w.body.Bytes(), answer); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", q.URL.Path, err)
	}
	return answer, nil
}

func escaped(path []string) string {
	text := ""
	for _, part := range path {
		text += "/" + url.PathEscape(part)
	}
	return text
}
