package httpjson

import (
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

// Paging is how an API is asked for its pages: [PageNumber], [Offset],
// [BodyCursor], [LinkHeader], [NextURL], or your own. It must be safe for
// concurrent use.
type Paging interface {
	// Prepare turns a request for the source's address into one for a page. The
	// first page is "".
	Prepare(req *http.Request, page string) error
	// Next returns the page after a fetched one, or "" if that is the last.
	Next(page string, got *Page) (string, error)
}

// Page is a fetched page, as a [Paging] sees it.
type Page struct {
	// URL is the address of the request, after redirects.
	URL *url.URL
	// Header is the header of the response.
	Header http.Header
	// Body is the body of the response.
	Body json.RawMessage
	// Records is the number of records on the page.
	Records int
}

// onePage is the paging of an API that returns everything in one response.
type onePage struct{}

func (onePage) Prepare(*http.Request, string) error { return nil }
func (onePage) Next(string, *Page) (string, error)  { return "", nil }

// conditional reports whether an unchanged response also means that no new page
// follows it. A link in the header may appear while the body stays the same.
func conditional(p Paging) bool {
	switch p.(type) {
	case onePage, PageNumber, Offset, BodyCursor, NextURL:
		return true
	default:
		return false
	}
}

// PageNumber requests pages by their number. The first page without records is after
// the last: a shorter page is not, because APIs hide records and cap Size.
type PageNumber struct {
	// Param is the query parameter. Empty means "page".
	Param string
	// First is the number of the first page. 0 means 1; -1 means 0.
	First int
	// Size is the number of records to request. 0 means that the API decides.
	Size int
	// SizeParam is the query parameter for Size. Empty means "per_page".
	SizeParam string
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
func (p PageNumber) Prepare(req *http.Request, page string) error {
	set(req, cmp.Or(p.Param, "page"), cmp.Or(page, strconv.Itoa(p.first())))
	if p.Size > 0 {
		set(req, cmp.Or(p.SizeParam, "per_page"), strconv.Itoa(p.Size))
	}
	return nil
}

// Next returns the next number.
func (p PageNumber) Next(page string, got *Page) (string, error) {
	if got.Records == 0 || p.ShortPageEnds && got.Records < p.Size {
		return "", nil
	}
	n, err := strconv.Atoi(cmp.Or(page, strconv.Itoa(p.first())))
	if err != nil {
		return "", fmt.Errorf("%q is not a page number: reset the flow's cursor", page)
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
	// Param is the query parameter. Empty means "offset".
	Param string
	// Limit is the number of records to request. 0 means 100.
	Limit int
	// LimitParam is the query parameter for Limit. Empty means "limit".
	LimitParam string
	// Step is what each page adds to the offset. It equals Limit for an API that hides
	// records after it has counted them. 0 means the records received.
	Step int
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
func (o Offset) Prepare(req *http.Request, page string) error {
	set(req, cmp.Or(o.Param, "offset"), cmp.Or(page, "0"))
	set(req, cmp.Or(o.LimitParam, "limit"), strconv.Itoa(o.limit()))
	return nil
}

// Next returns the next offset.
func (o Offset) Next(page string, got *Page) (string, error) {
	if got.Records == 0 || o.ShortPageEnds && got.Records < o.limit() {
		return "", nil
	}
	n, err := strconv.Atoi(cmp.Or(page, "0"))
	if err != nil {
		return "", fmt.Errorf("%q is not an offset: reset the flow's cursor", page)
	}
	return strconv.Itoa(n + cmp.Or(o.Step, got.Records)), nil
}

func (o Offset) limit() int { return cmp.Or(o.Limit, 100) }

// BodyCursor requests the page that the previous page names in its body. A page
// whose name is missing, null or empty is followed by none.
type BodyCursor struct {
	// Path is the path of the name in the body: fields separated by dots, such as
	// "meta.next_cursor". Required.
	Path string
	// Param is the query parameter. Empty means "cursor".
	Param string
}

// Validate returns a [dataflow.ConfigError] if Path is empty.
func (b BodyCursor) Validate() error { return requirePath("BodyCursor", b.Path) }

// Prepare sets the parameter.
func (b BodyCursor) Prepare(req *http.Request, page string) error {
	if page != "" {
		set(req, cmp.Or(b.Param, "cursor"), page)
	}
	return nil
}

// Next returns the name in the body.
func (b BodyCursor) Next(_ string, got *Page) (string, error) { return optional(got.Body, b.Path) }

// NextURL requests the page whose address the previous page has in its body. A page
// whose address is missing, null or empty is followed by none.
type NextURL struct {
	// Path is the path of the address in the body: fields separated by dots, such as
	// "links.next". The address may be relative. Required.
	Path string
}

// Validate returns a [dataflow.ConfigError] if Path is empty.
func (n NextURL) Validate() error { return requirePath("NextURL", n.Path) }

// Prepare sets the address.
func (n NextURL) Prepare(req *http.Request, page string) error { return goTo(req, page) }

// Next returns the address in the body.
func (n NextURL) Next(_ string, got *Page) (string, error) {
	next, err := optional(got.Body, n.Path)
	if err != nil || next == "" {
		return "", err
	}
	return resolve(got.URL, next)
}

// LinkHeader requests the page whose address the previous page has in its Link
// header, with rel="next" (RFC 8288).
type LinkHeader struct{}

// Prepare sets the address.
func (LinkHeader) Prepare(req *http.Request, page string) error { return goTo(req, page) }

// Next returns the address in the header.
func (LinkHeader) Next(_ string, got *Page) (string, error) {
	for _, header := range got.Header.Values("Link") {
		if next := nextLink(header); next != "" {
			return resolve(got.URL, next)
		}
	}
	return "", nil
}

// nextLink returns the link with rel="next" in a Link header, or "".
func nextLink(header string) string {
	for header != "" {
		_, rest, ok := strings.Cut(header, "<")
		if !ok {
			return ""
		}
		target, rest, ok := strings.Cut(rest, ">")
		if !ok {
			return ""
		}
		var params string
		params, header = cutUnquoted(rest, ',')
		for params != "" {
			var param string
			param, params = cutUnquoted(params, ';')
			name, value, _ := strings.Cut(param, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "rel") {
				continue
			}
			for rel := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(value), `"`)) {
				if strings.EqualFold(rel, "next") {
					return strings.TrimSpace(target)
				}
			}
		}
	}
	return ""
}

// cutUnquoted cuts a text at a character outside double quotes.
func cutUnquoted(text string, at rune) (before, after string) {
	quoted := false
	for i, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case c == at && !quoted:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

func set(req *http.Request, param, value string) {
	query := req.URL.Query()
	query.Set(param, value)
	req.URL.RawQuery = query.Encode()
}

func goTo(req *http.Request, page string) error {
	if page == "" {
		return nil
	}
	u, err := req.URL.Parse(page)
	if err != nil {
		return errors.New("its address is not a URL: reset the flow's cursor")
	}
	req.URL, req.Host = u, u.Host
	return nil
}

func resolve(base *url.URL, address string) (string, error) {
	u, err := base.Parse(address)
	if err != nil {
		return "", fmt.Errorf("%q is not a URL: check the path in Options.Paging", address)
	}
	return u.String(), nil
}

// optional returns the text at a path, or "" if the path is missing.
func optional(body json.RawMessage, path string) (string, error) {
	value, err := httpcall.Find(body, path)
	if err != nil {
		return "", nil //nolint:nilerr // the last page names no next page
	}
	if value = json.RawMessage(strings.TrimSpace(string(value))); len(value) > 0 && (value[0] == '{' || value[0] == '[' || string(value) == "true") {
		return "", fmt.Errorf("%s at %q is neither a string nor a number: check the path in Options.Paging", value, path)
	}
	if string(value) == "false" {
		return "", nil
	}
	return httpcall.Text(value), nil
}
