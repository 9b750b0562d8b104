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
	if p.inRecords(path) && !strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(path, p.records), "."), "-1") {
		return httpcall.FindValid(p.Body, path)
	}
	return httpcall.FindValid(p.rest, path)
}

// inRecords reports whether a path may lead into the records.
func (p *Page) inRecords(path string) bool { return strings.HasPrefix(path, p.records) }

// onePage is the paging of an API that returns everything in one response.
type onePage struct{}

func (onePage) Prepare(*Request, string) error     { return nil }
func (onePage) Next(string, *Page) (string, error) { return "", nil }

// conditional reports whether an unchanged response also means that no new page
// follows it. A name or link in a header may appear while the body stays the same. The last page of a list that continues
// elsewhere has to be seen again, if the run before ended between its last record and that place.
func conditional(p Paging) bool {
	if continues(p) {
		return false
	}
	switch p.(type) {
	case onePage, PageNumber, Offset, BodyCursor, NextURL:
		return true
	default:
		return false
	}
}

// inBody reports whether the next page may be named in the body, as it may be with a Paging of the user's own.
func inBody(p Paging) bool {
	switch p.(type) {
	case onePage, PageNumber, Offset, HeaderCursor, LinkHeader:
		return false
	default:
		return true
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
	// "has_more", or the number of records that follow. With "!" before it, the value is true on the last page, such as
	// "!is_last". Empty, and a response without it, mean the first page without records.
	HasMore string
	// Pages is the path of the number of pages, such as "meta.total_pages". Empty means
	// that the API does not say it.
	Pages string
	// Total is the path of the number of records of the list, such as "total_count". It needs Size, and pages that are full but
	// for the last: a first page that is not, though more follow, is an error. It is for APIs that send the last page again
	// for each later one. Empty means that the API does not say it.
	Total string
	// ShortPageEnds makes a page with fewer records than Size the last, which saves a
	// request. It loses records if the API caps Size or hides records.
	ShortPageEnds bool
	// EndStatus is the status with which the API answers a page after the last, such
	// as 404. With a web page, as of a gateway, it fails the attempt. 0 means that any such status is an error.
	EndStatus int
}

// Validate returns a [dataflow.ConfigError] for each invalid setting.
func (p PageNumber) Validate() error {
	err := checkEnd("PageNumber", "Size", p.ShortPageEnds, p.Size, p.EndStatus)
	if p.Total != "" && p.Size <= 0 {
		err = errors.Join(err, &dataflow.ConfigError{Field: "PageNumber.Total", Reason: "it needs a size: set Size"})
	}
	return err
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
	counted = counted && (got.Records == 0 || n-p.first()+1 <= pages) // otherwise it is wrong
	if err != nil {
		return "", err
	}
	last, err := p.last(n, got)
	switch {
	case err != nil:
		return "", err
	case said && !more, counted && n-p.first()+1 >= pages, last:
		return "", nil
	case !said && (got.Records == 0 || p.ShortPageEnds && got.Records < p.Size):
		return "", nil
	}
	return strconv.Itoa(n + 1), nil
}

// last reports whether the total of the records says that page n is the last.
func (p PageNumber) last(n int, got *Page) (bool, error) {
	total, said, err := count(got, p.Total)
	if err != nil || !said {
		return false, err
	}
	if n == p.first() && got.Records > 0 && got.Records < min(p.Size, total) {
		return false, fmt.Errorf("it has %d of the %d records at %q, fewer than Size asks for: set Size to %d if that is the most that the API sends, or leave Total out if it hides records", got.Records, total, p.Total, got.Records)
	}
	return (n-p.first())*p.Size+got.Records >= total, nil
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
	// Total is the path of the number of records of the list, such as "total". If it falls
	// within a read, records were removed and later ones have moved up: the read goes back by as
	// many, so that none is lost. Records that come at the same time hide as many that are
	// removed. Empty means that the API does not say it.
	Total string
	// ShortPageEnds makes a page with fewer records than Limit the last, which saves a
	// request. It loses records if the API caps Limit or hides records.
	ShortPageEnds bool
	// EndStatus is the status with which the API answers an offset after the last
	// record, such as 404. See [PageNumber].
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
	counted = counted && n+got.Records <= max(total, n) // otherwise it is wrong
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
