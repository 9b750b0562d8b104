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

	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Paging is how an API is asked for its pages: one of [PageNumber], [Offset],
// [BodyCursor], [LinkHeader] and [NextURL], or one of your own. It must be safe for
// concurrent use.
type Paging interface {
	// Prepare makes a request, which is for the source's address, one for a page.
	// The first page is "".
	Prepare(req *http.Request, page string) error
	// Next returns the page behind one that was fetched, "" if it is the last.
	Next(page string, got *Page) (string, error)
}

// Page is a page that was fetched, as a [Paging] sees it.
type Page struct {
	// URL is the address of the request, after redirects.
	URL *url.URL
	// Header is that of the answer.
	Header http.Header
	// Body is the answer.
	Body json.RawMessage
	// Records is how many records it has.
	Records int
}

// onePage is no paging: the answer has all.
type onePage struct{}

func (onePage) Prepare(*http.Request, string) error { return nil }
func (onePage) Next(string, *Page) (string, error)  { return "", nil }

// conditional reports whether an answer that has not changed says that no page
// follows it still. A link in the header may come while the answer stays.
func conditional(p Paging) bool {
	switch p.(type) {
	case onePage, PageNumber, Offset, BodyCursor, NextURL:
		return true
	default:
		return false
	}
}

// PageNumber asks for pages by their number. A page that is empty, or has fewer
// records than Size, is the last.
type PageNumber struct {
	// Param is the query's parameter. Empty: "page".
	Param string
	// First is the number of the first page. 0: 1. -1: 0.
	First int
	// Size is how many records to ask for. 0: the API decides.
	Size int
	// SizeParam is the query's parameter for Size. Empty: "per_page".
	SizeParam string
}

// Prepare sets the parameters.
func (p PageNumber) Prepare(req *http.Request, page string) error {
	set(req, cmp.Or(p.Param, "page"), cmp.Or(page, strconv.Itoa(p.first())))
	if p.Size > 0 {
		set(req, cmp.Or(p.SizeParam, "per_page"), strconv.Itoa(p.Size))
	}
	return nil
}

// Next counts.
func (p PageNumber) Next(page string, got *Page) (string, error) {
	if got.Records == 0 || got.Records < p.Size {
		return "", nil
	}
	n, err := strconv.Atoi(cmp.Or(page, strconv.Itoa(p.first())))
	if err != nil {
		return "", fmt.Errorf("%q is no number of a page", page)
	}
	return strconv.Itoa(n + 1), nil
}

func (p PageNumber) first() int { return max(0, cmp.Or(p.First, 1)) }

// Offset asks for pages by how many records are in front of them. A page that has
// fewer records than Limit is the last.
type Offset struct {
	// Param is the query's parameter. Empty: "offset".
	Param string
	// Limit is how many records to ask for. 0: 100.
	Limit int
	// LimitParam is the query's parameter for Limit. Empty: "limit".
	LimitParam string
}

// Prepare sets the parameters.
func (o Offset) Prepare(req *http.Request, page string) error {
	set(req, cmp.Or(o.Param, "offset"), cmp.Or(page, "0"))
	set(req, cmp.Or(o.LimitParam, "limit"), strconv.Itoa(o.limit()))
	return nil
}

// Next counts.
func (o Offset) Next(page string, got *Page) (string, error) {
	if got.Records < o.limit() {
		return "", nil
	}
	n, err := strconv.Atoi(cmp.Or(page, "0"))
	if err != nil {
		return "", fmt.Errorf("%q is no offset", page)
	}
	return strconv.Itoa(n + got.Records), nil
}

func (o Offset) limit() int { return cmp.Or(o.Limit, 100) }

// BodyCursor asks for the page that the one before names in its body. If it names
// none, or null, or nothing, it is the last.
type BodyCursor struct {
	// Path is where the name is in the body: names with dots between them, such as
	// "meta.next_cursor". Required.
	Path string
	// Param is the query's parameter. Empty: "cursor".
	Param string
}

// Validate returns what is wrong with the settings.
func (b BodyCursor) Validate() error { return requirePath("BodyCursor", b.Path) }

// Prepare sets the parameter.
func (b BodyCursor) Prepare(req *http.Request, page string) error {
	if page != "" {
		set(req, cmp.Or(b.Param, "cursor"), page)
	}
	return nil
}

// Next looks it up.
func (b BodyCursor) Next(_ string, got *Page) (string, error) { return optional(got.Body, b.Path) }

// NextURL asks for the page whose address the one before has in its body. If it has
// none, or null, or nothing, it is the last.
type NextURL struct {
	// Path is where the address is in the body: names with dots between them, such
	// as "links.next". It may be relative. Required.
	Path string
}

// Validate returns what is wrong with the settings.
func (n NextURL) Validate() error { return requirePath("NextURL", n.Path) }

// Prepare sets the address.
func (n NextURL) Prepare(req *http.Request, page string) error { return goTo(req, page) }

// Next looks it up.
func (n NextURL) Next(_ string, got *Page) (string, error) {
	next, err := optional(got.Body, n.Path)
	if err != nil || next == "" {
		return "", err
	}
	return resolve(got.URL, next)
}

// LinkHeader asks for the page whose address the one before has in its header Link,
// with rel="next" (RFC 8288).
type LinkHeader struct{}

// Prepare sets the address.
func (LinkHeader) Prepare(req *http.Request, page string) error { return goTo(req, page) }

// Next looks it up.
func (LinkHeader) Next(_ string, got *Page) (string, error) {
	for _, header := range got.Header.Values("Link") {
		if next := nextLink(header); next != "" {
			return resolve(got.URL, next)
		}
	}
	return "", nil
}

// nextLink finds the link with rel="next" in a header.
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

// cutUnquoted cuts a text at a character outside quotes.
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
		return errors.New("its address cannot be read")
	}
	req.URL, req.Host = u, u.Host
	return nil
}

func resolve(base *url.URL, address string) (string, error) {
	u, err := base.Parse(address)
	if err != nil {
		return "", fmt.Errorf("%q is no address", address)
	}
	return u.String(), nil
}

// optional looks up a text that need not be there.
func optional(body json.RawMessage, path string) (string, error) {
	value, err := httpcall.Find(body, path)
	if err != nil {
		return "", nil //nolint:nilerr // the last page names none
	}
	if value = json.RawMessage(strings.TrimSpace(string(value))); len(value) > 0 && (value[0] == '{' || value[0] == '[' || string(value) == "true") {
		return "", fmt.Errorf("%s at %q is neither a text nor a number", value, path)
	}
	if string(value) == "false" {
		return "", nil
	}
	return httpcall.Text(value), nil
}
