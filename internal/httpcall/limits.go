package httpcall

import (
	"cmp"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// asksToWait reports whether a response with an error status asks for a later try, and after
// how long; 0 leaves that to the caller. It may do so with any status of 4xx and 5xx.
func asksToWait(status int, h http.Header) (after time.Duration, again bool) {
	now := serverTime(h)
	again = passes(status)
	if after, said := retryAfter(h, now); after > 0 || said && !again && mayPass(status) {
		return after, true
	}
	if status >= 500 {
		return 0, again
	}
	// The reset counts if nothing is left of the limit. With 429 and 420 it counts too if the server
	// does not say what is left. With 403 it also counts if it is just now: the server rounds it.
	left, reset, said := quota(h, now)
	if none := spent(left); none || left == "" && (status == http.StatusTooManyRequests || status == statusCalm) {
		return reset, again || none && (reset > 0 || said && status == http.StatusForbidden)
	}
	return 0, again
}

// Statuses that no standard has, of services that ask for another try by them.
const (
	statusCalm      = 420 // too many requests, at Bitso and once at Twitter
	statusRetryWith = 449 // a concurrent change, at Azure Cosmos DB
	statusCancelled = 499 // the server has given up, at Google and Cohere
)

// passes reports whether an error with a status passes by itself.
func passes(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusLocked, statusCalm, statusRetryWith, statusCancelled:
		return true
	default:
		return status >= 500
	}
}

// mayPass reports whether a status of 4xx may be for a moment only. With others, a wait of 0 is
// what some proxies send with each error.
func mayPass(status int) bool {
	return status == http.StatusForbidden || status == http.StatusConflict
}

// Time is the time of a response by the server's own clock.
func (r *Response) Time() time.Time { return serverTime(r.Header) }

// serverTime is the server's own time, by which its times are meant.
func serverTime(h http.Header) time.Time {
	if now, err := http.ParseTime(h.Get("Date")); err == nil {
		return now
	}
	return time.Now() //nolint:forbidigo // only for a server that sends no Date
}

// mostWait is the longest wait that headers may ask for: a month's quota. A longer one, such as until the year 9999,
// is wrong, and would end the flow.
const mostWait = 31 * 24 * time.Hour

// justPassed is how long ago a time may be that counts as now.
const justPassed = time.Minute

// retryAfter reads the Retry-After header: a number of seconds, also with a fraction, or a
// time. Azure's headers in milliseconds are more exact. said is false if the header is missing or
// invalid, or if its time has passed long ago.
func retryAfter(h http.Header, now time.Time) (after time.Duration, said bool) {
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if n, err := strconv.ParseFloat(strings.TrimSpace(h.Get(name)), 64); err == nil {
			if after, said = seconds(n / 1000); said {
				return after, true
			}
		}
	}
	value := strings.TrimSpace(h.Get("Retry-After"))
	if at, err := http.ParseTime(value); err == nil {
		return from(at, now)
	}
	return until(value, now)
}

// quota reads the headers of a rate limit: what is left of it, "" if the server does not say,
// and when it is reset. It knows the RateLimit header of the IETF drafts and the usual headers
// with X-RateLimit. said is false if no header says when.
func quota(h http.Header, now time.Time) (left string, reset time.Duration, said bool) {
	for _, name := range []string{"X-RateLimit-Remaining", "RateLimit-Remaining", "X-Rate-Limit-Remaining"} {
		left = cmp.Or(left, strings.TrimSpace(h.Get(name)))
	}
	for _, name := range []string{"X-RateLimit-Reset-After", "X-RateLimit-Reset", "RateLimit-Reset", "X-Rate-Limit-Reset"} {
		if reset == 0 {
			var ok bool
			reset, ok = until(h.Get(name), now)
			said = said || ok
		}
	}
	for _, list := range h.Values("RateLimit") { // "burst";r=0;t=30, "daily";r=9;t=600, or limit=9, remaining=0, reset=30
		for policy := range strings.SplitSeq(list, ",") {
			its := make(map[string]string)
			for part := range strings.SplitSeq(policy, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
				its[strings.TrimSpace(name)] = strings.TrimSpace(value)
			}
			if spent(its["r"]) {
				left = its["r"] // whatever is left of the other policies
			}
			left = cmp.Or(left, its["r"], its["remaining"])
			if its["r"] != "" && !spent(its["r"]) {
				continue // nobody waits for its reset
			}
			at, ok := until(cmp.Or(its["t"], its["reset"]), now)
			reset, said = max(reset, at), said || ok
		}
	}
	return left, reset, said
}

// spent reports whether nothing is left of a limit. Reddit says so with a fraction: 0.0.
func spent(left string) bool {
	n, err := strconv.ParseFloat(left, 64)
	return err == nil && n >= 0 && n < 1
}

// until reads when a limit is reset: a time, the seconds or milliseconds since 1970, or the
// seconds from now. It returns false for a time that has passed long ago, and for any other text.
func until(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseFloat(value, 64); err == nil {
		switch {
		case n > 1e14: // after the year 5000
			return 0, false
		case n > 1e11:
			return from(time.UnixMilli(int64(n)), now)
		case n > 1e8:
			return from(time.Unix(int64(n), int64(math.Mod(n, 1)*1e9)), now)
		}
		return seconds(n)
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", http.TimeFormat, time.RFC1123Z, "Mon, 02 Jan 2006 15:04:05 UTC"} {
		if at, err := time.Parse(layout, value); err == nil {
			return from(at, now)
		}
	}
	return 0, false
}

// from returns the time from now. It returns false for a time that has passed long ago.
func from(at, now time.Time) (time.Duration, bool) {
	d := at.Sub(now)
	return min(max(0, d), mostWait), d > -justPassed
}

// seconds returns a number of seconds, such as 2 or 1.5.
func seconds(n float64) (time.Duration, bool) {
	if n < 0 || n > math.MaxInt32 || math.IsNaN(n) {
		return 0, false
	}
	return min(time.Duration(n*float64(time.Second)), mostWait), true
}
