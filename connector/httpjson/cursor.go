package httpjson

import (
	"fmt"
	"net/http"
)

// Cursor is the place right behind a record.
type Cursor struct {
	// Page is what the [Paging] calls the page, empty for the first.
	Page string `json:"page,omitempty"`
	// Skip is how many records of the page are in front of the cursor.
	Skip int `json:"skip"`
	// Done is true if all was read, and the next run begins anew. Only a snapshot
	// is ever done.
	Done bool `json:"done,omitempty"`
	// Sum tells the page of a snapshot from another.
	Sum string `json:"sum,omitempty"`
	// ETag and LastModified are those of the last page, if it was read to its end:
	// the server is asked whether there is another since.
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// String names the record in front of the cursor: "page 3 record 17".
func (c Cursor) String() string { return fmt.Sprintf("page %s record %d", c.pageName(), c.Skip) }

func (c Cursor) pageName() string {
	if c.Page == "" {
		return "first"
	}
	return c.Page
}

// condition asks for the page only if it has changed.
func (c Cursor) condition(req *http.Request) {
	if c.ETag != "" {
		req.Header.Set("If-None-Match", c.ETag)
	}
	if c.LastModified != "" {
		req.Header.Set("If-Modified-Since", c.LastModified)
	}
}
