package httpjson

import (
	"net/http"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Options are the optional settings of [Source]. The zero value is ready to use.
type Options struct {
	// Records is where the array of records is in an answer: names with dots
	// between them, such as "data.orders". Empty: the answer is the array.
	Records string

	// Key is where a record has its own key, such as "id", which names it in
	// errors and for sinks outside the database. Empty: it is named by its place,
	// "page 3 record 17".
	Key string

	// Paging is how the API is asked for its pages. Nil: one answer has all.
	Paging Paging

	// Snapshot is for a list that does not only grow at its end. Each run then
	// reads all of it, unless it is one page that has not changed. False: a later
	// run goes on behind the last record.
	Snapshot bool

	// Auth changes each request before it is sent: it adds a token, say. It is
	// called again for each try. An error ends the read. Nil: it is sent as it is.
	Auth func(*http.Request) error

	// Header is sent with each request. Nil: only "Accept: application/json".
	Header http.Header

	// Client makes the requests. Nil: one that follows no redirect to another
	// host, because that would be told what Auth adds.
	Client *http.Client

	// Timeout is how long one request may take, with its answer. 0: 30 seconds.
	Timeout time.Duration

	// MaxBodyBytes is how long an answer may be. 0: 32 MiB.
	MaxBodyBytes int64

	// Tries is how often a request is made that is not answered, or with 408, 425,
	// 429 or 5xx. 0: 4.
	Tries int

	// MaxWait is the longest wait between two tries. A server that asks for more
	// by Retry-After gets it, but the run is put back for that time. 0: 30 seconds.
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
		return &dataflow.ConfigError{Field: field + ".Path", Reason: `it is empty: say where it is in the body, such as "meta.next"`}
	}
	return nil
}
