package httpjson

import (
	"fmt"
	"net/http"
)

// Cursor is the place directly after a record. Its zero value is the beginning.
type Cursor struct {
	// Page is the [Paging]'s name of the page, empty for the first.
	Page string `json:"page,omitempty"`
	// Skip is the number of records of the page before the cursor.
	Skip int `json:"skip"`
	// Done is true once a snapshot was read to its end. The next run then starts
	// again. It is false without Snapshot.
	Done bool `json:"done,omitempty"`
	// Sum is a hash of the page, set for a snapshot. It shows whether the page has
	// changed.
	Sum string `json:"sum,omitempty"`
	// ETag and LastModified are those of the last page, if it was read to its end.
	// The next request asks for the page only if it has changed since.
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// String names the last record before the cursor: "page 3 record 17".
func (c Cursor) String() string { return fmt.Sprintf("page %s record %d", c.pageName(), c.Skip) }

func (c Cursor) pageName() string {
	if c.Page == "" {
		return "first"
	}
	return c.Page
}

// condition makes a request conditional on a change of the page.
func (c Cursor) condition(req *http.Request) {
	if c.ETag != "" {
		req.Header.Set("If-None-Match", c.ETag)
	}
	if c.LastModified != "" {
		req.Header.Set("If-Modified-Since", c.LastModified)
	}
}
