package httpcall

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The forms in which servers say how long to wait, with any status of an error.
func TestAsksToWait(t *testing.T) {
	t.Parallel()
	const date = "Wed, 25 Nov 2026 10:00:00 GMT" // 1795600800
	for _, tt := range []struct {
		name   string
		status int
		header map[string]string
		after  time.Duration
		again  bool
	}{
		{"Whole", 429, map[string]string{"Retry-After": "7"}, 7 * time.Second, true},
		{"Fraction", 429, map[string]string{"Retry-After": "2.0"}, 2 * time.Second, true},
		{"Half", 503, map[string]string{"Retry-After": " 1.5 "}, 1500 * time.Millisecond, true},
		{"Date", 403, map[string]string{"Retry-After": "Wed, 25 Nov 2026 10:00:20 GMT"}, 20 * time.Second, true},
		{"DatePast", 429, map[string]string{"Retry-After": "Wed, 25 Nov 2015 10:00:20 GMT"}, 0, true},
		{"DateFarOff", 503, map[string]string{"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 31 * 24 * time.Hour, true},
		{"FarOff", 503, map[string]string{"Retry-After": "2147483647"}, 31 * 24 * time.Hour, true},
		{"ResetFarOff", 429, map[string]string{"X-RateLimit-Reset": "2999-01-01T00:00:00Z"}, 31 * 24 * time.Hour, true},
		{"Forbidden", 403, map[string]string{"Retry-After": "1"}, time.Second, true},
		{"ForbiddenPlain", 403, nil, 0, false},
		{"ForbiddenLeft", 403, map[string]string{"X-RateLimit-Remaining": "12", "X-RateLimit-Reset": "1795600830"}, 0, false},
		{"Epoch", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795600830"}, 30 * time.Second, true},
		{"EpochMilli", 429, map[string]string{"X-RateLimit-Reset": "1795600830500"}, 30500 * time.Millisecond, true},
		{"EpochFraction", 429, map[string]string{"X-RateLimit-Reset": "1795600830.5"}, 30500 * time.Millisecond, true},
		{"ISO", 429, map[string]string{"X-RateLimit-Reset": "2026-11-25T10:01:00Z"}, time.Minute, true},
		{"ISOMinutes", 429, map[string]string{"X-RateLimit-Reset": "2026-11-25T10:01Z"}, time.Minute, true},
		{"Delta", 429, map[string]string{"X-RateLimit-Reset": "12"}, 12 * time.Second, true},
		{"ResetAfter", 429, map[string]string{"X-RateLimit-Reset-After": "1.5", "X-RateLimit-Reset": "1795600830"}, 1500 * time.Millisecond, true},
		{"Past", 429, map[string]string{"X-RateLimit-Reset": "1795600000"}, 0, true},
		{"LeftOver", 429, map[string]string{"X-RateLimit-Remaining": "10", "X-RateLimit-Reset": "1795604400"}, 0, true},
		{"Draft3", 429, map[string]string{"RateLimit": "limit=100, remaining=0, reset=30"}, 30 * time.Second, true},
		{"Draft8", 403, map[string]string{"RateLimit": `"default";r=0;t=30`}, 30 * time.Second, true},
		{"DraftBurst", 429, map[string]string{"RateLimit": `"burst";r=0;t=2, "daily";r=500;t=40000`}, 2 * time.Second, true},
		{"DraftBurstLast", 429, map[string]string{"RateLimit": `"daily"; r=500; t=40000, "burst"; r=0; t=2`}, 2 * time.Second, true},
		{"DraftBurstForbidden", 403, map[string]string{"RateLimit": `"daily";r=500;t=40000, "burst";r=0;t=2`}, 2 * time.Second, true},
		{"DraftBoth", 429, map[string]string{"RateLimit": `"burst";r=0;t=2, "daily";r=0;t=40000`}, 40000 * time.Second, true},
		{"DraftLeft", 429, map[string]string{"RateLimit": `"burst";r=3;t=2, "daily";r=500;t=40000`}, 0, true},
		{"DraftNoCount", 429, map[string]string{"RateLimit": `"burst";t=2`}, 2 * time.Second, true},
		{"NoneLeftFraction", 429, map[string]string{"X-Ratelimit-Remaining": "0.0", "X-Ratelimit-Reset": "234"}, 234 * time.Second, true},
		{"DraftFields", 403, map[string]string{"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, 30 * time.Second, true},
		{"ServerError", 500, map[string]string{"X-RateLimit-Reset": "1795600830"}, 0, true},
		{"NotFound", 404, nil, 0, false},
		{"Nonsense", 429, map[string]string{"Retry-After": "soon", "X-RateLimit-Reset": "NaN"}, 0, true},
		{"Negative", 429, map[string]string{"Retry-After": "-5", "X-RateLimit-Reset": "-1"}, 0, true},
		{"ForbiddenNow", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795600800"}, 0, true},
		{"ForbiddenJustPassed", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795600799"}, 0, true},
		{"ForbiddenDelta", 403, map[string]string{"RateLimit": `"default";r=0;t=0`}, 0, true},
		{"ForbiddenPast", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795600000"}, 0, false},
		{"NotFoundNow", 404, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795600800"}, 0, false},
		{"AtOnce", 403, map[string]string{"Retry-After": "0"}, 0, true},
		{"AtOnceDate", 403, map[string]string{"Retry-After": date}, 0, true},
		{"AtOnceReset", 429, map[string]string{"Retry-After": "0", "X-RateLimit-Reset": "1795600830"}, 30 * time.Second, true},
		{"ForbiddenDatePast", 403, map[string]string{"Retry-After": "Wed, 25 Nov 2015 10:00:20 GMT"}, 0, false},
		{"RetryAfterEpoch", 429, map[string]string{"Retry-After": "1795600830"}, 30 * time.Second, true},
		{"RetryAfterISO", 403, map[string]string{"Retry-After": "2026-11-25T10:01:00Z"}, time.Minute, true},
		{"Zone", 429, map[string]string{"Retry-After": "Wed, 25 Nov 2026 12:00:20 +0200"}, 20 * time.Second, true},
		{"UTC", 503, map[string]string{"Retry-After": "Wed, 25 Nov 2026 10:00:20 UTC"}, 20 * time.Second, true},
		{"Abbreviation", 503, map[string]string{"Retry-After": "Wed, 25 Nov 2026 10:00:20 EST"}, 0, true},
		{"Milliseconds", 429, map[string]string{"Retry-After-Ms": "1500", "Retry-After": "2"}, 1500 * time.Millisecond, true},
		{"MillisecondsAzure", 449, map[string]string{"X-Ms-Retry-After-Ms": "90000"}, 90 * time.Second, true},
		{"MillisecondsNonsense", 429, map[string]string{"Retry-After-Ms": "-1", "Retry-After": "2"}, 2 * time.Second, true},
		{"Calm", 420, map[string]string{"X-RateLimit-Reset": "1795600830"}, 30 * time.Second, true},
		{"CalmPlain", 420, nil, 0, true},
		{"Locked", 423, nil, 0, true},
		{"RetryWith", 449, nil, 0, true},
		{"Cancelled", 499, nil, 0, true},
		{"Origin", 521, nil, 0, true},
		{"Overloaded", 529, nil, 0, true},
		{"Frozen", 530, nil, 0, true},
		{"Unassigned", 999, nil, 0, true},
		{"Legal", 451, nil, 0, false},
		{"Huge", 429, map[string]string{"Retry-After": "1e300"}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"Date": {date}}
			for name, value := range tt.header {
				h.Set(name, value)
			}
			after, again := asksToWait(tt.status, h)
			require.Equal(t, tt.after, after)
			require.Equal(t, tt.again, again)
		})
	}
}
