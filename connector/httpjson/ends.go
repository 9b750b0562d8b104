package httpjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// checkEnd validates how a paging by number ends.
func checkEnd(paging, sizeField string, short bool, size, status int) error {
	var errs []error
	if short && size <= 0 {
		errs = append(errs, &dataflow.ConfigError{Field: paging + ".ShortPageEnds", Reason: "it needs a size: set " + sizeField})
	}
	if status != 0 && (status < 400 || status > 499) {
		errs = append(errs, &dataflow.ConfigError{Field: paging + ".EndStatus", Reason: fmt.Sprintf("%d is not a client error: use a status of 4xx, such as 404", status)})
	}
	return errors.Join(errs...)
}

// end decides about an error status for a page: after the last page it may be the end.
// It returns nil for the end, and otherwise the error, with a hint.
func (s *source[T]) end(at Cursor, err error) error {
	var status *httpcall.StatusError
	if !errors.As(err, &status) {
		return err
	}
	if status.Action == httpcall.End {
		return nil
	}
	if status.Status == http.StatusUnauthorized {
		return fmt.Errorf("%w: the server wants credentials, or others: see Options.Auth", err)
	}
	var ends int
	switch p := s.opts.Paging.(type) {
	case PageNumber:
		ends = p.EndStatus
	case Offset:
		ends = p.EndStatus
	default:
		return err
	}
	switch {
	case at.Page == "":
		return err
	case status.Status == ends && status.WebPage: // it may pass, and what follows would be lost
		return fmt.Errorf("page %s: %s: it is a web page, as of a gateway, and does not end the list: let Options.Classify return End if the API answers so", at.pageName(), err.Error())
	case status.Status == ends:
		return nil
	case ends == 0 && dataflow.IsPermanent(err) && counts(s.opts.Paging):
		return fmt.Errorf("page %s: %w: the page before says that more follow, so the API may limit how far the pages go: ask for a part of the list, or page by a cursor", at.pageName(), err)
	case ends == 0 && dataflow.IsPermanent(err):
		return fmt.Errorf("page %s: %w: set EndStatus in Options.Paging if this is how the API answers a page after the last", at.pageName(), err)
	default:
		return err
	}
}

// counts reports whether an API says how many pages or records follow, so that no other page is asked for.
func counts(paging Paging) bool {
	switch p := paging.(type) {
	case PageNumber:
		return p.HasMore != "" || p.Pages != "" || p.Total != ""
	case Offset:
		return p.HasMore != "" || p.Total != ""
	default:
		return false
	}
}

// expired reports whether an error says that the page of a cursor is not known any more. A
// page that has a number does not expire.
func (s *source[T]) expired(at Cursor, err error) bool {
	var status *httpcall.StatusError
	if at.Page == "" || !errors.As(err, &status) {
		return false
	}
	switch s.opts.Paging.(type) {
	case PageNumber, Offset:
		return status.Action == httpcall.Expired
	default:
		return refused(err)
	}
}

// refused reports whether an error is a refusal of what the request names.
func refused(err error) bool {
	var status *httpcall.StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity:
		return status.Action == httpcall.ByStatus || status.Action == httpcall.Expired
	default:
		return status.Action == httpcall.Expired
	}
}

// checkNamed looks for the path in Paging that says where the next page is. If it is in no
// response of a read, it is probably wrong.
func (r *reading[T]) checkNamed(at Cursor, p *page, got *Page) error {
	var path, more string
	var optional bool
	switch paging := r.s.opts.Paging.(type) {
	case BodyCursor:
		path, more, optional = paging.Path, paging.HasMore, paging.Optional
	case NextURL:
		path, more, optional = paging.Path, paging.HasMore, paging.Optional
	case HeaderCursor:
		r.checkHeader(at, p, got, paging.Header)
		return nil
	case LinkHeader:
		r.checkHeader(at, p, got, "Link")
		return nil
	default:
		return nil
	}
	if at.Page != "" || p.next != "" || p.later != "" || optional || p.count == 0 {
		return nil
	}
	for _, path := range []string{path, strings.TrimPrefix(more, "!")} {
		if _, err := got.find(path); err == nil && path != "" {
			return nil
		}
	}
	if size := r.askedFor(p.count); size != "" {
		return dataflow.Permanent(r.s.wrap(at, fmt.Errorf("it has %d records, as many as %q asks for, and nothing at %q, which should name the next page: check the path in Options.Paging, or set Optional there", p.count, size, path)))
	}
	if !r.warned {
		r.warned = true
		r.s.opts.Logger.Warn("dataflow: httpjson: the response has nothing at the path that should name the next page; it counts as the only page", slog.String("path", path), slog.String("url", bare(r.s.address)), slog.Int("records", p.count))
	}
	return nil
}

// warnOfChanges warns once if the last page names the place of the list's changes by a usual name, and no option
// takes it: a later run would never see them.
func (r *reading[T]) warnOfChanges(p *page, got *Page) {
	if p.next != "" || r.warnedChanges || !r.s.opts.resumes() || continues(r.s.opts.Paging) {
		return
	}
	for _, path := range []string{"@odata.deltaLink", "nextSyncToken", "nextSyncUrl", "newStartPageToken"} {
		if name, err := optional(got, path, false); err == nil && name != "" {
			r.warnedChanges = true
			r.s.opts.Logger.Warn("dataflow: httpjson: the last page names where the changes of the list come, and no later run asks there: set Later of NextURL or BodyCursor to it, or Options.Snapshot", slog.String("path", path), slog.String("url", bare(r.s.address)))
		}
	}
}

// checkHeader warns if a first page that is full has no header that names the next. The header
// may be wrong, or the list has one page.
func (r *reading[T]) checkHeader(at Cursor, p *page, got *Page, header string) {
	if at.Page != "" || p.next != "" || p.count == 0 || r.warned || len(got.Header.Values(header)) > 0 {
		return
	}
	if size := r.askedFor(p.count); size != "" {
		r.warned = true
		r.s.opts.Logger.Warn("dataflow: httpjson: the response has as many records as the request asks for, and no header that names the next page; it counts as the only page", slog.String("header", header), slog.String("parameter", size), slog.String("url", bare(r.s.address)), slog.Int("records", p.count))
	}
}

// askedFor returns the parameter of the last request that asks for n records, or "".
func (r *reading[T]) askedFor(n int) string {
	want := strconv.Itoa(n)
	for pair := range strings.SplitSeq(r.asked.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if value == want && isSize(name) {
			return name
		}
	}
	return sizeIn(r.askedBody, want)
}

// isSize reports whether a parameter has a usual name for the size of a page.
func isSize(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	switch strings.NewReplacer("_", "", "-", "", "$", "", "[", "", "]", "").Replace(strings.ToLower(name)) {
	case "limit", "perpage", "pagesize", "size", "maxresults", "top", "first", "max", "take", "rows", "count", "pagelimit", "resultsperpage", "hitsperpage":
		return true
	default:
		return false
	}
}

// sizeIn returns the field of a request's body that asks for n records, or "".
func sizeIn(value any, want string) string {
	object, ok := value.(map[string]any)
	if !ok {
		return ""
	}
	for name, value := range object {
		if isSize(name) && fmt.Sprint(value) == want {
			return name
		}
		if inner := sizeIn(value, want); inner != "" {
			return inner
		}
	}
	return ""
}

// overlap returns how many records at the beginning of a page were already read at the
// end of the previous one. This happens with an [Offset] without Step, if the API hid
// records that its offset counts, in a list that grows at its beginning, and if a page begins
// with the record that names it.
func (s *source[T]) overlap(before, records []json.RawMessage) int {
	most := 0
	if o, ok := s.opts.Paging.(Offset); ok && o.Step == 0 {
		most = o.limit() - len(before)
	}
	if s.shifts() || s.namedByRecord() {
		most = len(before)
	}
	return httpcall.Overlap(before, records, most)
}

// namedByRecord reports whether the last record of a page names the next one. At some APIs, such as
// CouchDB with start_key, that page begins with the same record.
func (s *source[T]) namedByRecord() bool {
	p, ok := s.opts.Paging.(BodyCursor)
	return ok && strings.HasPrefix(p.Path, strings.TrimPrefix(s.opts.Records+".", "."))
}

// holds reports whether a page of a stream may begin with records of the page before, because of their name.
func (s *source[T]) holds() bool { return s.namedByRecord() && !s.shifts() }
