package httpjson

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Cursor is the place directly after a record. Its zero value is the beginning.
type Cursor struct {
	// Page is the [Paging]'s name of the page, empty for the first.
	Page string `json:"page,omitempty"`
	// Skip is the number of records of the page before the cursor.
	Skip int `json:"skip"`
	// Done is true after a list that was read to its end, with Snapshot, Since or
	// NewestFirst. The next run then starts at the first page.
	Done bool `json:"done,omitempty"`
	// Last are hashes of the last records before the cursor, the last one first. They show
	// whether the list has moved.
	Last [3]int64 `json:"last,omitzero"`
	// Read is the number of records of the list before the cursor. It shows whether others
	// have come before those that were read.
	Read int64 `json:"read,omitempty"`
	// First are hashes of the first records of a list whose pages are named by cursors or
	// links. They show whether the list is sorted newest first.
	First string `json:"first,omitempty"`
	// Sum is a hash of the page, set for a snapshot, and of its records, set with Later of the
	// Paging. It shows whether the page has changed.
	Sum string `json:"sum,omitempty"`
	// ETag and LastModified are those of the last page, if it was read to its end.
	// The next request asks for the page only if it has changed since.
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	// Since is the time that this read asks for, and High the latest time of its records.
	// They are empty without [Options].Since.
	Since string `json:"since,omitempty"`
	High  string `json:"high,omitempty"`
	// Prior is the latest time of the reads before. Records up to it count as read again.
	Prior string `json:"prior,omitempty"`
	// Began is the time of the first response of this read, by the server's clock. High is
	// not later: a record that changed after it may not have been read.
	Began string `json:"began,omitempty"`
	// Known are hashes of the newest records of the last read, at which a read of a list
	// with NewestFirst ends. Newest are those of the current read.
	Known  string `json:"known,omitempty"`
	Newest string `json:"newest,omitempty"`
}

// String names the last record before the cursor: "page 3 record 17".
func (c Cursor) String() string {
	if c.Done && c.Skip == 0 {
		return "end of the list"
	}
	return fmt.Sprintf("page %s record %d", c.pageName(), c.Skip)
}

func (c Cursor) pageName() string {
	if c.Page == "" {
		return "first"
	}
	return c.Page
}

// condition makes a request conditional on a change of the page.
func (c Cursor) condition(header http.Header) {
	if c.ETag != "" {
		header.Set("If-None-Match", c.ETag)
	}
	if c.LastModified != "" {
		header.Set("If-Modified-Since", c.LastModified)
	}
}

// on returns the cursor at the beginning of another page of the same read.
func (c Cursor) on(page string) Cursor {
	return Cursor{Page: page, Last: c.Last, Read: c.Read, First: c.First, Since: c.Since, High: c.High, Prior: c.Prior, Began: c.Began, Known: c.Known, Newest: c.Newest}
}

// hash returns a hash of a record by which it is found again: of its key, or without one of
// its text. It fits a JSON number exactly, and is not 0. Two checksums are several times as
// fast as a hash of this length.
func hash(record json.RawMessage, key string) int64 {
	if key != "" {
		record = []byte(key)
	}
	sum := uint64(crc32.Checksum(record, crc32.MakeTable(crc32.Castagnoli)))<<32 | uint64(crc32.ChecksumIEEE(record))
	return max(1, int64(sum&(1<<53-1))) //nolint:gosec // it has 53 bits
}

// after returns the hashes of the last records once another was read.
func after(last [3]int64, hash int64) [3]int64 { return [3]int64{hash, last[0], last[1]} }

// maxKnown is the number of newest records that a cursor knows. One of them is found even if
// others were removed.
const maxKnown = 5

// known writes hashes as text.
func known(hashes []int64) string {
	texts := make([]string, 0, maxKnown)
	for _, hash := range hashes[:min(len(hashes), maxKnown)] {
		texts = append(texts, strconv.FormatInt(hash, 36))
	}
	return strings.Join(texts, ",")
}

// joinKnown returns the newest records of two reads, of which the first is later.
func joinKnown(later, earlier string) string {
	var list []string
	for hash := range strings.SplitSeq(later+","+earlier, ",") {
		if hash != "" && len(list) < maxKnown && !slices.Contains(list, hash) {
			list = append(list, hash)
		}
	}
	return strings.Join(list, ",")
}

// knownList reads hashes from text.
func knownList(text string) (list []int64) {
	for part := range strings.SplitSeq(text, ",") {
		if hash, err := strconv.ParseInt(part, 36, 64); err == nil {
			list = append(list, hash)
		}
	}
	return list
}

// knownSet reads hashes from text, to look them up.
func knownSet(text string) map[int64]bool {
	set := map[int64]bool{}
	for _, hash := range knownList(text) {
		set[hash] = true
	}
	return set
}
