package httpjson

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Paging is how an API is asked for its pages: [PageNumber], [Offset], [BodyCursor],
// [HeaderCursor], [NextURL], [LinkHeader], or your own. It must be safe for concurrent use.
type Paging interface {
	// Prepare turns the request for the source's address into one for a page. The first
	// page is "". An error ends the run.
	Prepare(r *Request, page string) error
	// Next returns the page after a fetched one, or "" if that is the last. An error ends
	// the run.
	Next(page string, got *Page) (string, error)
}

// Page is a response.
type Page struct {
	// URL is the address of the request, after redirects.
	URL *url.URL
	// Status is the HTTP status.
	Status int
	// Header is the header of the response.
	Header http.Header
	// Body is the body of the response. With [Options].Stream and Lines it has only the last
	// record.
	Body json.RawMessage
	// Records is the number of records on the page. It is 0 for Classify and Check.
	Records int

	hasBody bool            // the request has one
	rest    json.RawMessage // Body with the last record only, which is known to be JSON; nil: not known
	records string          // the path of the records
}

// find returns the value at a path of the body.
func (p *Page) find(path string) (json.RawMessage, error) {
	if p.rest == nil {
		return httpcall.Find(p.Body, path)
	}
	inside, ok := strings.CutPrefix(path, p.records)
	if inside = strings.TrimPrefix(inside, "."); ok && !strings.HasPrefix(inside, "-1") {
		return httpcall.FindValid(p.Body, path) // perhaps in one of the records
	}
	return httpcall.FindValid(p.rest, path)
}

// onePage is the paging of an API that returns everything in one response.
type onePage struct{}

func (onePage) Prepare(*Request, string) error     { return nil }
func (onePage) Next(string, *Page) (string, error) { return "", nil }

// conditional reports whether an unchanged response also means that no new page
// follows it. A link in the header may appear while the body stays the same.
func conditional(p Paging) bool {
	switch p.(type) {
	case onePage, PageNumber, Offset, BodyCursor, HeaderCursor, NextURL:
		return true
	default:
		return false
	}
}

// PageNumber requests pages by their number. The first page without records is after
// the last: a shorter page is not, because APIs hide records and cap Size.
type PageNumber struct {
	// Param is the parameter. See [Request.Set]. Empty means "page".
	Param string
	// First is the number of the first page. 0 means 1; -1 means 0.
	First int
	// Size is the number of records to request. 0 means that the API decides.
	Size int
	// SizeParam is the parameter for Size. Empty means "per_page".
	SizeParam string
	// HasMore is the path of a value that is true while another page follows, such as
	// "has_more". With "!" before it, the value is true on the last page, such as
	// "!is_last". Empty, and a response without it, mean the first page without records.
	HasMore string
	// Pages is the path of the number of pages, such as "meta.total_pages". Empty means
	// that the API does not say it.
	Pages string
	// ShortPageEnds makes a page with fewer records than Size the last, which saves a
	// request. It loses records if the API caps Size or hides records.
	ShortPageEnds bool
	// EndStatus is the status with which the API answers a page after the last, such
	// as 404. 0 means that any such status is an error.
	EndStatus int
}

// Validate returns a [dataflow.ConfigError] for each invalid setting.
func (p PageNumber) Validate() error {
	return checkEnd("PageNumber", "Size", p.ShortPageEnds, p.Size, p.EndStatus)
}

// Prepare sets the parameters.
func (p PageNumber) Prepare(r *Request, page string) error {
	n, err := strconv.Atoi(cmp.Or(page, strconv.Itoa(p.first())))
	if err != nil {
		return fmt.Errorf("%q is not a page number: reset the flow's cursor", page)
	}
	if err := r.Set(cmp.Or(p.Param, "page"), n); err != nil || p.Size <= 0 {
		return err
	}
	return r.Set(cmp.Or(p.SizeParam, "per_page"), p.Size)
}

// Next returns the next number.
func (p PageNumber) Next(page string, got *Page) (string, error) {
	n, err := strconv.Atoi(cmp.Or(page, strconv.Itoa(p.first())))
	if err != nil {
		return "", fmt.Errorf("%q is not a page number: reset the flow's cursor", page)
	}
	more, said, err := hasMore(got, p.HasMore)
	if err != nil {
		return "", err
	}
	pages, counted, err := count(got, p.Pages)
	switch {
	case err != nil:
		return "", err
	case said && !more, counted && n-p.first()+1 >= pages:
		return "", nil
	case !said && (got.Records == 0 || p.ShortPageEnds && got.Records < p.Size):
		return "", nil
	}
	return strconv.Itoa(n + 1), nil
}

func (p PageNumber) first() int { return max(0, cmp.Or(p.First, 1)) }

// Offset requests pages by the number of records before them. The first page without
// records is after the last.
//
// After a page with fewer records than Limit, the API may have capped Limit or hidden
// records. So the offset grows by the records received, and any record that ends one page
// and begins the next is read once. Set Step for records that may equal their neighbors.
type Offset struct {
	// Param is the parameter. See [Request.Set]. Empty means "offset".
	Param string
	// Limit is the number of records to request. 0 means 100.
	Limit int
	// LimitParam is the parameter for Limit. Empty means "limit".
	LimitParam string
	// Step is what each page adds to the offset. It equals Limit for an API that hides
	// records after it has counted them. 0 means the records received.
	Step int
	// HasMore is the path of a value that is true while another page follows. See
	// [PageNumber].
	HasMore string
	// Total is the path of the number of records of the list, such as "total". Empty means
	// that the API does not say it.
	Total string
	// ShortPageEnds makes a page with fewer records than Limit the last, which saves a
	// request. It loses records if the API caps Limit or hides records.
	ShortPageEnds bool
	// EndStatus is the status with which the API answers an offset after the last
	// record, such as 404. 0 means that any such status is an error.
	EndStatus int
}

// Validate returns a [dataflow.ConfigError] for each invalid setting.
func (o Offset) Validate() error {
	err := checkEnd("Offset", "Limit", o.ShortPageEnds, o.limit(), o.EndStatus)
	if o.Step < 0 {
		err = errors.Join(err, &dataflow.ConfigError{Field: "Offset.Step", Reason: fmt.Sprintf("%d is negative: use Limit, or 0 for the records received", o.Step)})
	}
	return err
}

// Prepare sets the parameters.
func (o Offset) Prepare(r *Request, page string) error {
	n, err := strconv.Atoi(cmp.Or(page, "0"))
	if err != nil {
		return fmt.Errorf("%q is not an offset: reset the flow's cursor", page)
	}
	if err := r.Set(cmp.Or(o.Param, "offset"), n); err != nil {
		return err
	}
	return r.Set(cmp.Or(o.LimitParam, "limit"), o.limit())
}

// Next returns the next offset.
func (o Offset) Next(page string, got *Page) (string, error) {
	n, err := strconv.Atoi(cmp.Or(page, "0"))
	if err != nil {
		return "", fmt.Errorf("%q is not an offset: reset the flow's cursor", page)
	}
	more, said, err := hasMore(got, o.HasMore)
	if err != nil {
		return "", err
	}
	total, counted, err := count(got, o.Total)
	next := n + cmp.Or(o.Step, got.Records)
	switch {
	case err != nil:
		return "", err
	case said && !more, counted && next >= total:
		return "", nil
	case said && got.Records == 0, counted && got.Records == 0 && o.Step > 0: // it has hidden a whole page
		return strconv.Itoa(n + cmp.Or(o.Step, o.limit())), nil
	case got.Records == 0, !said && !counted && o.ShortPageEnds && got.Records < o.limit():
		return "", nil
	}
	return strconv.Itoa(next), nil
}

func (o Offset) limit() int { return cmp.Or(o.Limit, 100) }

// BodyCursor requests the page that the previous page names in its body. A page whose name
// is missing, null or empty is followed by none.
//
// The name may be that of the page's last record, such as "data.-1.id". In a request's body
// it keeps its JSON type, and may be an array or an object.
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
}

// Validate returns a [dataflow.ConfigError] if Path is empty.
func (b BodyCursor) Validate() error { return requirePath("BodyCursor", b.Path) }

// Prepare sets the parameter.
func (b BodyCursor) Prepare(r *Request, page string) error {
	param := cmp.Or(b.Param, "cursor")
	switch place, _ := placeOf(param, r.Body != nil); {
	case page == "":
		return nil
	case place == "body" && json.Valid([]byte(page)):
		return r.Set(param, json.RawMessage(page))
	default:
		return r.Set(param, page)
	}
}

// Next returns the name in the body.
func (b BodyCursor) Next(_ string, got *Page) (string, error) {
	place, _ := placeOf(cmp.Or(b.Param, "cursor"), got.hasBody)
	return nextIn(got, b.Path, b.HasMore, place == "body")
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
}

// Validate returns a [dataflow.ConfigError] if Path is empty.
func (n NextURL) Validate() error { return requirePath("NextURL", n.Path) }

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
	switch text := httpcall.Text(value); strings.ToLower(text) {
	case "", "false", "0":
		return negated, true, nil
	case "true", "1":
		return !negated, true, nil
	default:
		return false, false, fmt.Errorf("%s at %q is neither true nor false: check the path in Options.Paging", value, name)
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
	return n, true, nil
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
	case asJSON:
		var compact bytes.Buffer
		if err := json.Compact(&compact, value); err != nil {
			return "", err
		}
		return compact.String(), nil
	case value[0] == '{', value[0] == '[', string(value) == "true":
		return "", fmt.Errorf("%s at %q is neither a string nor a number: check the path in Options.Paging", value, path)
	default:
		return text, nil
	}
}
