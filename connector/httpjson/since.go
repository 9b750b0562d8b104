package httpjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Since requests only the records that were created or changed since the last run.
//
// The cursor keeps the latest time of all records, once a run has read the list to its end.
// The next run requests the records since that time, less Lookback. So some records arrive
// again. They count in [dataflow.Counters].ReadAgain too, and a target that only appends is
// refused.
type Since struct {
	// Path is the path of the time in a record, such as "updated_at". The time is RFC 3339,
	// a date, the seconds or milliseconds since 1970, or as in "/Date(1573755038314)/". Required.
	Path string
	// Param is the parameter, such as "updated_since". See [Request.Set]. Empty sends none:
	// this is for [NewestFirst], which then stops at the first record before the time.
	Param string
	// First is the time that the first run requests. The zero time sends no parameter then.
	First time.Time
	// Lookback is subtracted from the time, for records that appear late and for times that
	// are not exact. 0 means one minute; -1 means none. If the API then returns a record of exactly the
	// time, it is read again, which a target that only appends refuses.
	Lookback time.Duration
	// Format writes the time for the parameter. Nil means RFC 3339 in UTC.
	Format func(time.Time) string
}

// Order is the order of an API's list.
type Order int

const (
	// OldestFirst is a list that grows at its end. It is the default.
	OldestFirst Order = iota
	// NewestFirst is a list that grows at its beginning. A run reads from the first page to
	// the first record that it knows. Without Key, a record is known by its whole text: a new one that
	// equals a known one ends the run, and new records after it are lost. Set Key, unless each record
	// differs, such as by its time. A list that puts changed records first needs Since too: a record is
	// then known by its key and its time.
	NewestFirst
)

func (s *Since) validate() error {
	if s == nil {
		return nil
	}
	if s.Path == "" {
		return &dataflow.ConfigError{Field: "Since.Path", Reason: `it is empty: give the path of a record's time, such as "updated_at"`}
	}
	if s.Lookback < -1 {
		return &dataflow.ConfigError{Field: "Since.Lookback", Reason: fmt.Sprintf("%s is negative: use a time, or -1 for none", s.Lookback)}
	}
	return nil
}

func (s *Since) lookback() time.Duration {
	switch s.Lookback {
	case 0:
		return time.Minute
	case -1:
		return 0
	default:
		return s.Lookback
	}
}

// from returns the time since which the next run requests, from the latest time of the last.
func (s *Since) from(high string) (string, error) {
	if high == "" {
		return "", nil
	}
	t, err := time.Parse(time.RFC3339Nano, high)
	if err != nil {
		return "", fmt.Errorf("the cursor's time: %w", err)
	}
	return t.Add(-s.lookback()).Format(time.RFC3339Nano), nil
}

// text returns the parameter's value.
func (s *Since) text(since string) (string, error) {
	t, err := time.Parse(time.RFC3339Nano, since)
	if err != nil {
		return "", fmt.Errorf("the cursor's time: %w", err)
	}
	if s.Format != nil {
		return s.Format(t), nil
	}
	return t.Format(time.RFC3339Nano), nil
}

func (s *Since) inQuery(hasBody bool) bool {
	place, _ := placeOf(s.Param, hasBody)
	return place == "query"
}

// lastMilli is the first millisecond since 1970 after the year 9999.
const lastMilli = 253402300800000

// of returns the time of a record.
func (s *Since) of(record json.RawMessage) (time.Time, error) {
	value, err := httpcall.FindValid(record, s.Path)
	if err != nil {
		return time.Time{}, err
	}
	text := httpcall.Text(value)
	if ms, ok := strings.CutPrefix(text, "/Date("); ok { // the milliseconds, and perhaps a zone that changes nothing
		text, _, _ = strings.Cut(strings.TrimSuffix(ms, ")/"), "+")
		if i := strings.LastIndexByte(text, '-'); i > 0 {
			text = text[:i]
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n >= lastMilli || n <= -lastMilli {
			return time.Time{}, errors.New("it is not a time")
		}
		return time.UnixMilli(n).UTC(), nil
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		if !(math.Abs(n) < lastMilli) { // NaN, an infinity, or microseconds
			return time.Time{}, errors.New("it is not a time: use seconds or milliseconds since 1970")
		}
		if n > 1e11 {
			return time.UnixMilli(int64(n)).UTC(), nil
		}
		return time.UnixMicro(int64(n * 1e6)).UTC(), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("it is not a time")
}
