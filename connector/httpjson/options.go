package httpjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Options are the optional settings of [Source]. The zero value is ready to use.
type Options struct {
	// Records is the path of the array of records in a response, such as "data.orders". See
	// the package's section Paths. With ".*" at its end, the records are the values of an
	// object. With "." at its end, the value is the only record of the response, and "." alone is the response
	// itself. Empty means that the response is the array.
	Records string

	// OmitsEmpty means that a response without Records has no records. Some APIs leave out
	// an empty list, such as Google's, and those with HAL. False makes such a response an
	// error, because Records is probably wrong.
	OmitsEmpty bool

	// Key is the path of a record's own key, such as "id". The key names the record in
	// errors and in sinks outside the database, and finds the place where a later run
	// continues if the list has moved. Empty names the record by its place, "page 3 record
	// 17", and finds it by its content: if the last record has changed, it is read again.
	Key string

	// Paging says how to request the pages. Nil means that one response has
	// everything.
	Paging Paging

	// Body is the JSON body of each request, which is then a POST. The parameters of Paging,
	// Since and Open are put in it. Nil makes a GET without a body.
	Body any

	// Method is the method of each request. Empty means GET, or POST with Body.
	Method string

	// Open opens a search before the first page of each read. Nil means none is needed.
	Open *Open

	// Order is the order of the list. The zero value, OldestFirst, is a list that grows at
	// its end.
	Order Order

	// Since requests only what is new since the last run. Nil requests the list itself.
	Since *Since

	// Snapshot is for a list that does not only grow. Each run then reads all of it, unless
	// it is one unchanged page, and does not know which records are new: none count as read
	// again. A target that only appends is refused. False continues a later run after the last record.
	Snapshot bool

	// RestartExpired reads the list again from its beginning if the API refuses the cursor's
	// page, and the last record that was read is not found in the list. Some records then
	// arrive twice, so that a target that only appends is refused. False is an error in this case.
	// Snapshot implies it.
	RestartExpired bool

	// AllowEqualPages allows two pages of a read to have the same records. False
	// ends the read at such a page with an error, because the API probably sends one
	// page again and again.
	AllowEqualPages bool

	// Lines means that a response is JSON lines (NDJSON): each line is a record. Records
	// must be empty. It implies Stream. A response over HTTP/1.0 without a length that was cut after
	// a line looks whole; so does one from a proxy that speaks HTTP/1.0 to the server. The log warns of
	// the first, and nothing shows the second.
	Lines bool

	// Stream reads a page while it arrives, so that a page of any length needs little
	// memory. MaxBodyBytes then limits one record, and all else on the page together. False
	// reads each page before its first record is used. See the package's section Huge pages.
	Stream bool

	// Check looks for an error that the API reports in a response, whatever its status. Its
	// error fails the attempt, or does what it is marked for by [dataflow.Transient],
	// [dataflow.RetryAfter] or [dataflow.Permanent]. A status that is tried again, such as 429
	// or 503, is tried again all the same, unless the error is Permanent. Nil checks only the
	// fields "errors" and "error" of a response without records.
	Check func(*Page) error

	// Classify decides what to do about a response. Nil decides by its status and headers.
	Classify func(*Page) Verdict

	// Limiter is waited for before each request. Nil means no limit.
	Limiter Limiter

	// Links says which links to a next page are followed. The zero value is SameHost.
	Links LinkPolicy

	// Auth changes each request before it is sent, for example to add a token. It
	// is called again for each try. After the status 401 it is called once more; see
	// [TokenRejected]. An error ends the read. Nil sends the request unchanged.
	Auth func(*http.Request) error

	// Header is sent with each request. Nil sends only "Accept: application/json".
	Header http.Header

	// Client makes the requests. Nil means a client that follows no redirect to
	// another host. Another client that follows one sends it Accept and Content-Type, and
	// no other header.
	Client *http.Client

	// Timeout limits one request, including its response; with Stream, the wait for the
	// response and for each part of it. 0 means 30 seconds.
	Timeout time.Duration

	// MaxBodyBytes limits the length of a response. 0 means 32 MiB.
	MaxBodyBytes int64

	// Tries is the number of times a request is made if it gets no response, a status
	// that passes by itself, or a response that asks for a wait. See the package's section Errors. 0
	// means 4.
	Tries int

	// MaxWait is the longest wait between two tries. If a server asks for more, the run is
	// put back for that time. 0 means 30 seconds.
	MaxWait time.Duration

	// Logger receives a warning if a path or a header in Paging was in no response. Nil means
	// [slog.Default].
	Logger *slog.Logger
}

func (o *Options) caller(address string) *httpcall.Caller {
	return httpcall.Caller{
		Client: o.Client, Home: address, Header: o.Header, Auth: o.Auth, Classify: o.classify(), Check: o.checkError(), Unready: o.unready, Limiter: o.Limiter,
		Timeout: o.Timeout, MaxBodyBytes: o.MaxBodyBytes, Tries: o.Tries, MaxWait: o.MaxWait,
	}.WithDefaults()
}

// unready reports whether a response with the status 202 has no records, not even an empty
// list: the API is still at work. With Lines, or where the response is the record, what it says of its work would be a record.
func (o *Options) unready(resp *httpcall.Response) bool {
	if o.Lines || o.Records == "." {
		return true
	}
	_, _, err := o.recordsOf(resp.Body)
	return err != nil
}

// recordsOf finds the records in a response.
func (o *Options) recordsOf(body []byte) (records []json.RawMessage, rest json.RawMessage, err error) {
	if path, one := strings.CutSuffix(o.Records, "."); one {
		return httpcall.One(body, path)
	}
	return httpcall.Records(body, o.Records)
}

// checkError returns Check for responses with an error status.
func (o *Options) checkError() func(*httpcall.Response) error {
	if o.Check == nil {
		return nil
	}
	return func(resp *httpcall.Response) error { return o.Check(pageOf(resp)) }
}

func (o *Options) validate() error {
	errs := []error{o.Since.validate(), o.Open.validate()}
	wrong := func(field, reason string, args ...any) {
		errs = append(errs, &dataflow.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
	}
	if v, ok := o.Paging.(dataflow.Validator); ok {
		errs = append(errs, v.Validate())
	}
	switch {
	case o.Order != OldestFirst && o.Order != NewestFirst:
		wrong("Order", "%d is unknown: use OldestFirst or NewestFirst", o.Order)
	case o.Links != SameHost && !o.Links.keeps() && !strings.HasPrefix(string(o.Links), allowed):
		wrong("Links", "%q is unknown: use SameHost, KeepOrigin, KeepAddress or Allow", string(o.Links))
	case o.Snapshot && (o.Order != OldestFirst || o.Since != nil):
		wrong("Snapshot", "it reads all of the list, so Order and Since have no use: leave them out, or Snapshot")
	case !o.resumes() && continues(o.Paging):
		wrong("Paging.Continues", "each run begins at the first page with Snapshot, Since and NewestFirst: leave it out, or Later")
	case sendsChanges(o.Paging) && o.streams():
		wrong("Paging.Later", "it needs whole pages, which Stream and Lines do not keep: leave one of them out")
	case o.Snapshot && o.streams():
		wrong("Snapshot", "it compares whole pages, which Stream and Lines do not keep: leave one of them out")
	}
	if o.Since != nil && o.Since.Param == "" && o.Order != NewestFirst {
		wrong("Since.Param", `it is empty: name the parameter, such as "updated_since", or set Order to NewestFirst`)
	}
	if strings.HasSuffix(o.Records, ".") {
		switch o.Paging.(type) {
		case nil, onePage:
			if o.resumes() {
				wrong("Snapshot", "Records is %q, so that each response is one record, which no other follows: set Snapshot, by which each run reads it anew", o.Records)
			}
		case PageNumber, Offset:
			wrong("Paging", "Records is %q, so that each response is a record, and none is the empty page at which %T ends: use BodyCursor, NextURL, HeaderCursor, LinkHeader or a Paging of your own", o.Records, o.Paging)
		}
		if o.streams() {
			wrong("Records", "%q means that a response is one record, which Stream and Lines do not keep: leave one of them out", o.Records)
		}
	}
	if o.Lines && o.Records != "" {
		wrong("Records", "%q cannot be found in JSON lines, where each line is a record: leave it empty", o.Records)
	}
	if _, err := json.Marshal(o.Body); err != nil {
		wrong("Body", "it cannot be written as JSON: %s", err)
	}
	return errors.Join(errs...)
}

func (o *Options) streams() bool { return o.Stream || o.Lines }

// resumes reports whether a later run continues in the list, after the last record.
func (o *Options) resumes() bool {
	return !o.Snapshot && o.Order == OldestFirst && o.Since == nil
}

// rereads reports whether a later run reads records that were read before. One that ends at a record that is
// known does not.
func (o *Options) rereads() bool {
	return o.Snapshot || o.RestartExpired || sendsChanges(o.Paging) || o.Order == OldestFirst && o.Since != nil && o.Since.lookback() > 0
}

// readsAnew reports whether a read begins at the first page again, and not after the last record that was read, once the
// API has refused a page.
func (o *Options) readsAnew() bool { return o.Snapshot || sendsChanges(o.Paging) }

// continues reports whether the last page of a paging names a page for a later run.
func continues(paging Paging) bool {
	switch p := paging.(type) {
	case BodyCursor:
		return p.Continues || sendsChanges(p)
	case NextURL:
		return p.Continues || sendsChanges(p)
	default:
		return false
	}
}

// sendsChanges reports whether the pages of a later run have what has changed, and not more of the same list.
func sendsChanges(paging Paging) bool {
	switch p := paging.(type) {
	case BodyCursor:
		return p.Later != ""
	case NextURL:
		return p.Later != ""
	default:
		return false
	}
}

func checkNamed(paging, path, more string, continues bool, later string) error {
	var errs []error
	if path == "" {
		errs = append(errs, &dataflow.ConfigError{Field: paging + ".Path", Reason: `it is empty: give the path in the body, such as "meta.next"`})
	}
	switch {
	case continues && later != "":
		errs = append(errs, &dataflow.ConfigError{Field: paging + ".Continues", Reason: "the place for a later run is at Later: leave Continues out, or Later if it is at Path"})
	case continues && more == "":
		errs = append(errs, &dataflow.ConfigError{Field: paging + ".HasMore", Reason: "it is empty, but Continues needs it: give the path of the value that tells the last page"})
	}
	return errors.Join(errs...)
}
