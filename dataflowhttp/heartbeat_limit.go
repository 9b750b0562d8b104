package dataflowhttp

import (
	"net/netip"
	"sync"
	"time"
)

// A limit is kept as the moment until which it is used up: it may lie up to a
// minute ahead, and each request moves it by that request's part of a minute. The
// zero time has everything left. It is a token bucket of one minute's requests,
// without fractions to be rounded.

// spend uses up one of perMinute, if it is left, and otherwise returns how long to
// wait for one. Either way the moment that it returns is to be kept.
func spend(until, now time.Time, perMinute int) (time.Time, time.Duration) {
	until = settled(until, now)
	next := until.Add(time.Minute / time.Duration(perMinute))
	if wait := next.Sub(now) - time.Minute; wait > 0 {
		return until, wait
	}
	return next, 0
}

// settled returns a moment that is neither in the past nor, after a clock was put
// back, further ahead than a limit goes.
func settled(until, now time.Time) time.Time {
	switch most := now.Add(time.Minute); {
	case until.Before(now):
		return now
	case until.After(most):
		return most
	default:
		return until
	}
}

// rate limits the requests to so many in a minute; -1 is no limit.
type rate struct {
	perMinute int

	mu    sync.Mutex // guards until
	until time.Time
}

// take returns 0 if a request is to be served, and otherwise how long to wait.
func (r *rate) take(now time.Time) time.Duration {
	if r.perMinute < 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var wait time.Duration
	r.until, wait = spend(r.until, now, r.perMinute)
	return wait
}

const (
	// guessesPerMinute is how many wrong tokens an address may show.
	guessesPerMinute = 10
	// maxGuessers bounds the memory that they take.
	maxGuessers = 1024
)

// guesses limits the wrong tokens of each address. An address that has used up
// its own is not served at all, until it may guess again.
type guesses struct {
	mu    sync.Mutex // guards until
	until map[netip.Addr]time.Time
}

// note counts a wrong token, and returns 0 if the caller may be told whether its
// token is right, and otherwise how long to wait.
func (g *guesses) note(addr netip.Addr, wrong bool, now time.Time) time.Duration {
	addr = network(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	until, known := g.until[addr]
	until, wait := spend(until, now, guessesPerMinute)
	if wait == 0 && !wrong {
		return 0
	}
	if !known {
		g.makeRoom(now)
	}
	g.until[addr] = until
	return wait
}

// makeRoom forgets, of some addresses, those that have nothing used up any more, and
// if there are none, the one that has used up least. So it costs little, and a
// flood from many addresses does not free one that has used up everything.
func (g *guesses) makeRoom(now time.Time) {
	const some = 16
	if g.until == nil {
		g.until = make(map[netip.Addr]time.Time)
	}
	if len(g.until) < maxGuessers {
		return
	}
	var least netip.Addr
	var lowest time.Time
	seen := 0
	for addr, until := range g.until { // it begins anywhere
		if !until.After(now) {
			delete(g.until, addr)
		} else if seen == 0 || until.Before(lowest) {
			least, lowest = addr, until
		}
		if seen++; seen == some {
			break
		}
	}
	if len(g.until) >= maxGuessers {
		delete(g.until, least)
	}
}

// network returns what one caller has of the addresses: of IPv6 ones, which
// everybody has without end, a /64.
func network(addr netip.Addr) netip.Addr {
	const bits = 64
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}
