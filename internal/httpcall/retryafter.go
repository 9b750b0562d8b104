package httpcall

import (
	"net/http"
	"strconv"
	"time"
)

// retryAfter reads the header of that name: a number of seconds, or a time, which
// is compared with the server's own. It is 0 if there is none that can be read.
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
		now = time.Now() //nolint:forbidigo // only for a server that does not tell its own time
	}
	return max(0, at.Sub(now))
}
