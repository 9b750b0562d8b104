package httpjson

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// BodyCursor requests the page that the previous page names in its body. A page whose name
// is missing, null, empty or a number below 1 is followed by none.
//
// The name may be that of the page's last record, such as "data.-1.id". If the next page begins
// with that record, it is read once. In a request's body the name keeps its JSON type, and may be
// an array or an object.
type BodyCursor struct {
	// Path is the path of the name in the body, such as "meta.next_cursor". Required.
	Path string
	// Param is the parameter. See [Request.Set]. Empty means "cursor".
	Param string
	// HasMore is the path of a value that is true while another page follows. See
	// [PageNumber]. Empty, and a response without it, leave that to Path.
	HasMore string
	// Optional allows a list without Path in any response. False makes a full first page
	// without it an error, because Path is probably wrong.
	Optional bool
	// Continues means that the last page names the place where the list will continue, for a
	// later run. HasMore then says which page is the last. False requests the last page again,
	// which may have grown.
	Continues bool
	// Later is the path of another name, which stands on the last page alone: that of what will have changed
	// since, for a later run, such as "nextSyncToken". The target must upsert. See the package's section Changes.
	// Empty: there is none.
	Later string
	// LaterParam is the parameter for it, such as "syncToken". The further pages of the changes are requested
	// with both parameters. Empty means Param.
	LaterParam string
	// URL is the address of all pages but the first, also relative to the source's, such as "list_folder/continue". They get
	// the parameter alone: neither the query of the source's address nor Options.Body, nor that of [Since]. It is for
	// APIs that have another address for them, or refuse all other parameters beside the name. Empty means the source's address.
	URL string
}

// Validate returns a [dataflow.ConfigError] for each invalid setting.
func (b BodyCursor) Validate() error {
	err := checkNamed("BodyCursor", b.Path, b.HasMore, b.Continues, b.Later)
	if _, bad := url.Parse(b.URL); bad != nil {
		err = errors.Join(err, &dataflow.ConfigError{Field: "BodyCursor.URL", Reason: "it is not an address: use one such as list_folder/continue"})
	}
	if b.LaterParam != "" && b.Later == "" {
		err = errors.Join(err, &dataflow.ConfigError{Field: "BodyCursor.Later", Reason: "it is empty, but LaterParam needs it: give the path of the name in the body"})
	}
	return err
}

// Prepare sets the parameter.
func (b BodyCursor) Prepare(r *Request, page string) error {
	if b.URL != "" && page != "" {
		if err := goTo(r, b.URL); err != nil {
			return err
		}
		if r.alone = true; r.Body != nil {
			r.Body = map[string]any{}
		}
	}
	names := b.names(page)
	for _, param := range []string{b.param(), b.LaterParam} {
		if !names.Has(param) {
			continue
		}
		var value any = names.Get(param)
		if place, _ := placeOf(param, r.Body != nil); place == "body" && json.Valid([]byte(names.Get(param))) {
			value = json.RawMessage(names.Get(param))
		}
		if err := r.Set(param, value); err != nil {
			return err
		}
	}
	return nil
}

// Next returns the name in the body.
func (b BodyCursor) Next(page string, got *Page) (string, error) {
	place, _ := placeOf(b.param(), got.hasBody)
	next, err := nextIn(got, b.Path, b.HasMore, place == "body")
	if err != nil || next == "" || b.LaterParam == "" {
		return next, err
	}
	names := b.names(page)
	names.Set(b.param(), next)
	return names.Encode(), nil
}

func (b BodyCursor) param() string { return cmp.Or(b.Param, "cursor") }

// names returns the parameters that the name of a page stands for. With LaterParam, it is that of both, as in a query,
// unless the cursor was stored before LaterParam was set.
func (b BodyCursor) names(page string) url.Values {
	if names, err := url.ParseQuery(page); err == nil && b.LaterParam != "" && (names.Has(b.param()) || names.Has(b.LaterParam)) {
		return names
	}
	if page == "" {
		return url.Values{}
	}
	return url.Values{b.param(): {page}}
}

// HeaderCursor requests the page that the previous page names in a header of its response.
// A page without the header, or with an empty one, is followed by none.
type HeaderCursor struct {
	// Header is the header of the response, such as "X-Next-Cursor". Required.
	Header string
	// Param is the parameter, such as "header:X-Cursor". See [Request.Set]. Empty means
	// "cursor".
	Param string
}

// Validate returns a [dataflow.ConfigError] if Header is empty.
func (h HeaderCursor) Validate() error {
	if h.Header == "" {
		return &dataflow.ConfigError{Field: "HeaderCursor.Header", Reason: `it is empty: give the header of the response, such as "X-Next-Cursor"`}
	}
	return nil
}

// Prepare sets the parameter.
func (h HeaderCursor) Prepare(r *Request, page string) error {
	if page == "" {
		return nil
	}
	return r.Set(cmp.Or(h.Param, "cursor"), page)
}

// Next returns the name in the header.
func (h HeaderCursor) Next(_ string, got *Page) (string, error) {
	return got.Header.Get(h.Header), nil
}

// NextURL requests the page whose address the previous page has in its body. A page
// whose address is missing, null or empty is followed by none.
type NextURL struct {
	// Path is the path of the address in the body, such as "links.next" or
	// "@odata.nextLink". The address may be relative. Required.
	Path string
	// HasMore is the path of a value that is true while another page follows. See
	// [PageNumber]. Empty, and a response without it, leave that to Path.
	HasMore string
	// Optional allows a list without Path in any response. See [BodyCursor].
	Optional bool
	// Continues means that the last page links to the place where the list will continue, for
	// a later run. See [BodyCursor].
	Continues bool
	// Later is the path of another address, which stands on the last page alone: that of what will have changed
	// since, for a later run, such as "@odata.deltaLink". The target must upsert. See the package's section
	// Changes. Empty: there is none.
	Later string
}

// Validate returns a [dataflow.ConfigError] for each invalid setting.
func (n NextURL) Validate() error {
	return checkNamed("NextURL", n.Path, n.HasMore, n.Continues, n.Later)
}

// Prepare sets the address.
func (n NextURL) Prepare(r *Request, page string) error { return goTo(r, page) }

// Next returns the address in the body.
func (n NextURL) Next(_ string, got *Page) (string, error) {
	next, err := nextIn(got, n.Path, n.HasMore, false)
	if err != nil || next == "" {
		return "", err
	}
	return resolve(got.URL, next)
}

// LinkHeader requests the page whose address the previous page has in its Link
// header, with rel="next" (RFC 8288).
type LinkHeader struct{}

// Prepare sets the address.
func (LinkHeader) Prepare(r *Request, page string) error { return goTo(r, page) }

// Next returns the address in the header.
func (LinkHeader) Next(_ string, got *Page) (string, error) {
	for _, header := range got.Header.Values("Link") {
		if next := nextLink(header); next != "" {
			return resolve(got.URL, next)
		}
	}
	return "", nil
}

// nextIn returns the name of the next page at a path of a page's body, or "".
func nextIn(got *Page, path, more string, asJSON bool) (string, error) {
	follows, said, err := hasMore(got, more)
	if err != nil || said && !follows {
		return "", err
	}
	next, err := optional(got, path, asJSON)
	if err == nil && next == "" && said {
		err = fmt.Errorf("%q says that there is one, but there is nothing at %q: check the paths in Options.Paging", more, path)
	}
	return next, err
}

// later returns the page that the last page names for a later run, or "".
func later(paging Paging, got *Page) (name string, err error) {
	switch p := paging.(type) {
	case BodyCursor:
		place, _ := placeOf(cmp.Or(p.LaterParam, p.param()), got.hasBody)
		name, err = laterIn(got, p.Path, p.Later, p.Continues, place == "body")
		if name != "" && p.LaterParam != "" {
			name = url.Values{p.LaterParam: {name}}.Encode()
		}
	case NextURL:
		if name, err = laterIn(got, p.Path, p.Later, p.Continues, false); err == nil && name != "" {
			name, err = resolve(got.URL, name)
		}
	}
	return name, err
}

// laterIn returns the name at later, or else, if the list continues, at the path of the next page.
func laterIn(got *Page, path, later string, continues, asJSON bool) (string, error) {
	if later == "" && !continues || len(bytes.TrimSpace(got.Body)) == 0 { // the status 204 means that there is nothing new
		return "", nil
	}
	name, err := optional(got, cmp.Or(later, path), asJSON)
	if err == nil && name == "" && later != "" {
		err = fmt.Errorf("neither %q names a next page, nor %q the changes of a later run: check both paths in Options.Paging", path, later)
	}
	return name, err
}

// saysMore returns the path of HasMore of a paging by names if the page says there that another one
// follows, or "".
func saysMore(paging Paging, got *Page) string {
	var path string
	switch p := paging.(type) {
	case BodyCursor:
		path = p.HasMore
	case NextURL:
		path = p.HasMore
	}
	if more, _, err := hasMore(got, path); err != nil || !more {
		return ""
	}
	return path
}

// hasMore reads the value that tells whether another page follows. said is false without one.
func hasMore(got *Page, path string) (more, said bool, err error) {
	name, negated := strings.CutPrefix(path, "!")
	if path == "" || len(bytes.TrimSpace(got.Body)) == 0 {
		return false, false, nil
	}
	value, err := got.find(name)
	if err != nil {
		return false, false, nil //nolint:nilerr // the page does not say
	}
	text := httpcall.Text(value)
	if n, err := strconv.ParseFloat(text, 64); err == nil { // the number of records that follow, as CouchDB's
		return n > 0 != negated, true, nil
	}
	switch strings.ToLower(text) {
	case "", "false":
		return negated, true, nil
	case "true":
		return !negated, true, nil
	default:
		return false, false, fmt.Errorf("%s at %q is neither true nor false, nor a number: check the path in Options.Paging", value, name)
	}
}

// count reads a number at a path of a page's body. said is false without one.
func count(got *Page, path string) (n int, said bool, err error) {
	if path == "" || len(bytes.TrimSpace(got.Body)) == 0 {
		return 0, false, nil
	}
	value, err := got.find(path)
	if err != nil || httpcall.Text(value) == "" {
		return 0, false, nil //nolint:nilerr // the page does not say
	}
	if n, err = strconv.Atoi(httpcall.Text(value)); err != nil {
		return 0, false, fmt.Errorf("%s at %q is not a number: check the path in Options.Paging", value, path)
	}
	return n, !isLeast(got, path), nil
}

// isLeast reports whether the number at a path is one that the list has at least, as the total of Elasticsearch is from
// 10,000 records on.
func isLeast(got *Page, path string) bool {
	of, ok := strings.CutSuffix(path, ".value")
	if !ok {
		return false
	}
	relation, err := got.find(of + ".relation")
	return err == nil && httpcall.Text(relation) == "gte"
}

// optional returns the text at a path, or "" if the path is missing or its value is null,
// false or empty. With asJSON it returns the value as JSON, of any type.
func optional(got *Page, path string, asJSON bool) (string, error) {
	value, err := got.find(path)
	if err != nil {
		return "", nil //nolint:nilerr // the last page names no next page
	}
	value = bytes.TrimSpace(value)
	switch text := httpcall.Text(value); {
	case text == "", string(value) == "false", string(value) == "[]", string(value) == "{}":
		return "", nil
	case asJSON && (!isEndMark(value) || got.inRecords(path)):
		var compact bytes.Buffer
		if err := json.Compact(&compact, value); err != nil {
			return "", err
		}
		return compact.String(), nil
	case isEndMark(value) && !got.inRecords(path):
		return "", nil
	case value[0] == '{', value[0] == '[', string(value) == "true":
		return "", fmt.Errorf("%s at %q is neither a string nor a number: check the path in Options.Paging", value, path)
	default:
		return text, nil
	}
}

// isEndMark reports whether a value is a number that names no page: 0, or a negative one.
func isEndMark(value []byte) bool {
	n, err := strconv.ParseFloat(string(value), 64)
	return err == nil && n <= 0
}
