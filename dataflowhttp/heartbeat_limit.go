package dataflowhttp

import (
	"net/netip"
	"sync"
	"time"
)

// A limit is a token bucket of one minute's requests. It is stored as the moment until
// which it is used up, at most a minute ahead, so that no fraction is rounded. Each
// request moves the moment by that request's share of a minute. The zero time means a
// full bucket.

// spend takes one request of perMinute, if any is left. Otherwise it returns how
// long to wait for one. The caller must store the returned moment in either case.
func spend(until, now time.Time, perMinute int) (time.Time, time.Duration) {
	until = settled(until, now)
	next := until.Add(time.Minute / time.Duration(perMinute))
	if wait := next.Sub(now) - time.Minute; wait > 0 {
		return until, wait
	}
	return next, 0
}

// settled returns until, but not in the past, and not further ahead than a minute,
// as it may be after a clock was set back.
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

// rate limits the requests in a minute; -1 means no limit.
type rate struct {
	perMinute int

	mu    sync.Mutex // guards until
	until time.Time
}

// take returns 0 if a request may be served, and otherwise how long to wait.
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
	// guessesPerMinute is the number of wrong tokens that an address may try in a
	// minute.
	guessesPerMinute = 10
	// maxGuessers is the number of addresses to remember, which bounds the memory.
	maxGuessers = 1024
)

// guesses limits the wrong tokens of each address. An address that has used up its
// guesses is not served at all until it may guess again.
type guesses struct {
	mu    sync.Mutex // guards until
	until map[netip.Addr]time.Time
}

// note counts a wrong token. It returns 0 if the caller may learn whether its token
// is right, and otherwise how long to wait.
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

// makeRoom makes room for one more address. It looks at a few addresses only, so it
// is cheap. It forgets those with all guesses left or, if there are none, the one
// that has used the fewest. So a flood from many addresses does not free an address
// that has used all its guesses.
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
	for addr, until := range g.until { // in random order
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

// network returns the part of an address that stands for one caller. For IPv6 that
// is the /64, because a caller can use any number of addresses in it.
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
