package dataflowhttp

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/activedataflow/dataflow"
)

// The defaults of [HeartbeatOptions].
const (
	DefaultMaxPerMinute = 60
	DefaultMaxWait      = 5 * time.Minute
	DefaultMaxBody      = 64 << 10
)

// HeartbeatOptions are the settings of [Heartbeat].
type HeartbeatOptions struct {
	// Tokens are the valid secrets. A request must carry one of them; a second one
	// lets callers change from the old to the new. At least one is required, unless
	// AllowAnonymous is set. Each must have 16 or more characters of visible ASCII.
	// Use random ones, as from `openssl rand -hex 32`.
	Tokens []string

	// AllowAnonymous switches the token off: every caller that reaches the endpoint
	// may tick, if AllowedIPs permits it. Tokens must then be empty.
	AllowAnonymous bool

	// AllowedIPs are the addresses and prefixes from which requests are served,
	// such as "10.0.0.7", "10.0.0.0/8" and "2001:db8::/32". An IPv4 address in IPv6
	// form counts as IPv4, and a zone is ignored. Nil means any address. An empty
	// list that is not nil is an error, because no caller would be allowed.
	AllowedIPs []string

	// TrustedProxies are the addresses and prefixes of the proxies in front of the
	// service whose header X-Forwarded-For is trusted. The caller is the last
	// address in it that is not a trusted proxy. Nil means none, and the header is
	// ignored.
	TrustedProxies []string

	// MaxPerMinute is the number of requests served in a minute. That many may
	// arrive at once; after that, one is allowed each time its share of a minute
	// has passed. Requests refused for their method, address or token do not count.
	// 0 means 60; -1 means no limit. Wrong tokens have their own limit of 10 in a
	// minute for each address.
	MaxPerMinute int

	// MaxWait is the longest wait; a longer one is cut to it. 0 means 5 minutes.
	MaxWait time.Duration

	// MaxBody is the largest body of a request, in bytes. It is read and ignored. 0
	// means 64 KiB.
	MaxBody int64

	// ShowErrors adds the errors of runs to responses after a wait. The texts come
	// from the flows' code and databases, and may hold secrets such as records,
	// addresses and passwords. Without it, they are only in the log and in the run.
	ShowErrors bool

	// Logger receives errors, and warnings about refused requests. Nil means
	// [slog.Default].
	Logger *slog.Logger

	// Clock replaces the clock of the limits in tests. A wait always uses the real
	// clock. Nil means the real clock.
	Clock func() time.Time
}

// settings are checked HeartbeatOptions.
type settings struct {
	tokens     tokens
	anonymous  bool
	addresses  addresses
	perMinute  int
	maxWait    time.Duration
	maxBody    int64
	showErrors bool
	log        *slog.Logger
	clock      func() time.Time
}

// settings fills in the defaults. It returns all faults, each as a
// *[dataflow.ConfigError].
func (o *HeartbeatOptions) settings() (settings, error) {
	if o == nil {
		o = &HeartbeatOptions{}
	}
	s := settings{
		anonymous:  o.AllowAnonymous,
		perMinute:  cmp.Or(o.MaxPerMinute, DefaultMaxPerMinute),
		maxWait:    cmp.Or(o.MaxWait, DefaultMaxWait),
		maxBody:    cmp.Or(o.MaxBody, DefaultMaxBody),
		showErrors: o.ShowErrors,
		log:        o.Logger,
		clock:      o.Clock,
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.clock == nil {
		s.clock = time.Now //nolint:forbidigo // the only place that reads the real clock
	}
	var errs []error
	bad := func(field, reason string, args ...any) {
		errs = append(errs, &dataflow.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
	}
	s.tokens = o.hashTokens(bad)
	s.addresses = o.parseAddresses(bad)
	if s.perMinute < 1 && s.perMinute != -1 {
		bad("MaxPerMinute", "%d is negative: use 1 or more, 0 for %d, or -1 for no limit", s.perMinute, DefaultMaxPerMinute)
	}
	if s.maxWait < 0 {
		bad("MaxWait", "%s is negative: use a positive duration, or 0 for %s", s.maxWait, DefaultMaxWait)
	}
	if s.maxBody < 0 {
		bad("MaxBody", "%d is negative: use 1 or more, or 0 for %d", s.maxBody, DefaultMaxBody)
	}
	return s, errors.Join(errs...)
}
