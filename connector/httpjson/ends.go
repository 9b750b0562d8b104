package httpjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

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
	if at.Page == "" || !errors.As(err, &status) {
		return err
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
	case status.Status == ends:
		return nil
	case ends == 0 && dataflow.IsPermanent(err):
		return fmt.Errorf("page %s: %w: set EndStatus in Options.Paging if this is how the API answers a page after the last", at.pageName(), err)
	default:
		return err
	}
}

// overlap returns how many records at the beginning of a page were already read at the
// end of the previous one. This happens with an [Offset] without Step, if the API hid
// records that its offset counts.
func (s *source[T]) overlap(before, records []json.RawMessage) int {
	o, ok := s.opts.Paging.(Offset)
	if !ok || o.Step != 0 || len(before) == 0 {
		return 0
	}
	for n := min(o.limit()-len(before), len(before), len(records)); n > 0; n-- {
		if slices.EqualFunc(before[len(before)-n:], records[:n], func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			return n
		}
	}
	return 0
}
