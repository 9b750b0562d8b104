package httpjson

import (
	"net/http"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Options are the optional settings of [Source]. The zero value is ready to use.
type Options struct {
	// Records is the path of the array of records in a response: fields separated
	// by dots, such as "data.orders". Empty means that the response is the array.
	Records string

	// Key is the path of a record's own key, such as "id". The key names the record
	// in errors and in sinks outside the database. Empty names the record by its
	// place, "page 3 record 17".
	Key string

	// Paging says how to request the pages. Nil means that one response has
	// everything.
	Paging Paging

	// Snapshot is for a list that does not only grow at its end. Each run then
	// reads all of it, unless it is one unchanged page. False continues a later run
	// after the last record.
	Snapshot bool

	// AllowEqualPages allows two pages of a read to have the same records. False
	// ends the read at such a page with an error, because the API probably sends one
	// page again and again.
	AllowEqualPages bool

	// Auth changes each request before it is sent, for example to add a token. It
	// is called again for each try. An error ends the read. Nil sends the request
	// unchanged.
	Auth func(*http.Request) error

	// Header is sent with each request. Nil sends only "Accept: application/json".
	Header http.Header

	// Client makes the requests. Nil means a client that follows no redirect to
	// another host, because that host would receive what Auth adds.
	Client *http.Client

	// Timeout limits one request, including its response. 0 means 30 seconds.
	Timeout time.Duration

	// MaxBodyBytes limits the length of a response. 0 means 32 MiB.
	MaxBodyBytes int64

	// Tries is the number of times a request is made if it gets no response, or the
	// status 408, 425, 429 or 5xx. 0 means 4.
	Tries int

	// MaxWait is the longest wait between two tries. If a server asks for more by
	// Retry-After, the run is put back for that time. 0 means 30 seconds.
	MaxWait time.Duration
}

func (o *Options) caller() *httpcall.Caller {
	return httpcall.Caller{
		Client: o.Client, Header: o.Header, Auth: o.Auth,
		Timeout: o.Timeout, MaxBodyBytes: o.MaxBodyBytes, Tries: o.Tries, MaxWait: o.MaxWait,
	}.WithDefaults()
}

func requirePath(field, path string) error {
	if path == "" {
		return &dataflow.ConfigError{Field: field + ".Path", Reason: `it is empty: give the path in the body, such as "meta.next"`}
	}
	return nil
}
