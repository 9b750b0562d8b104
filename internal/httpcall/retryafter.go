package httpcall

import (
	"net/http"
	"strconv"
	"time"
)

// retryAfter reads the Retry-After header: a number of seconds, or a time, compared
// with the server's own Date. It returns 0 if the header is missing or invalid.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now() //nolint:forbidigo // only for a server that sends no Date
	}
	return max(0, at.Sub(now))
}
