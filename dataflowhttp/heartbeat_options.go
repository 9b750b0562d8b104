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
	// Tokens are the secrets of which a request must show one: a second one lets
	// callers change from the old to the new. There must be at least one, unless
	// AllowAnonymous is set. Each has 16 or more characters, which are visible
	// ASCII; take random ones, as from `openssl rand -hex 32`.
	Tokens []string

	// AllowAnonymous switches the token off: whoever reaches the endpoint, and is
	// on AllowedIPs if there are any, may tick. Tokens must be empty then.
	AllowAnonymous bool

	// AllowedIPs are the addresses and prefixes, such as "10.0.0.7", "10.0.0.0/8"
	// and "2001:db8::/32", from which requests are served. An IPv4 address that is
	// written as an IPv6 one, and one with a zone, are what they stand for. Nil: any
	// address. An empty list that is not nil is refused, because nobody could call.
	AllowedIPs []string

	// TrustedProxies are the addresses and prefixes of the proxies in front of the
	// service, whose header X-Forwarded-For is believed: the caller is the last
	// address in it that is not one of theirs. Nil: none, and the header is ignored.
	TrustedProxies []string

	// MaxPerMinute is how many requests are served in a minute, those that are
	// refused for their method, address or token not counted: up to so many at once,
	// and then one each time its part of a minute has passed. 0: 60. -1: no limit.
	// Wrong tokens have a limit of their own, 10 in a minute for each address.
	MaxPerMinute int

	// MaxWait is the longest wait; who asks for a longer one waits so long. 0: 5
	// minutes.
	MaxWait time.Duration

	// MaxBody is how many bytes a request's body may have. It is read and ignored.
	// 0: 64 KiB.
	MaxBody int64

	// ShowErrors puts the error texts of runs into the answers of requests that
	// wait. They come from the code and the databases of the flows and may hold what
	// the caller must not see, such as records, addresses and passwords. Without it
	// they stand in the log and at the run only.
	ShowErrors bool

	// Logger gets the warnings about refused requests and the errors. Nil:
	// [slog.Default].
	Logger *slog.Logger

	// Clock replaces the clock of the limits, in tests. A wait is by the real one.
	// Nil: that one too.
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

// settings fills in the defaults, and returns all that is wrong, each as a
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
		s.clock = time.Now //nolint:forbidigo // the one place that names the real clock
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
