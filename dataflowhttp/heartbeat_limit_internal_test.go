package dataflowhttp

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	tooMany      = "too many requests"
	tooManyWrong = "too many wrong tokens from this address"
)

// Any minute has at most twice the limit. In the long run, requests are served at
// the given rate.
func TestRate(t *testing.T) {
	t.Parallel()
	for _, perMinute := range []int{1, 2, 7, 59, 60, 1000} {
		t.Run(fmt.Sprint(perMinute), func(t *testing.T) {
			t.Parallel()
			r := rate{perMinute: perMinute}
			now, taken := someTime, 0
			for range perMinute {
				require.Zero(t, r.take(now))
			}
			for range 3 * perMinute {
				wait := r.take(now)
				require.Positive(t, wait)
				require.LessOrEqual(t, wait, time.Minute/time.Duration(perMinute))
				require.Positive(t, r.take(now.Add(wait-1)), "too early")
				now = now.Add(wait)
				require.Zero(t, r.take(now), "when it was told")
				taken++
			}
			require.InDelta(t, 3*time.Minute, now.Sub(someTime), float64(time.Second))
			require.Equal(t, 3*perMinute, taken)
		})
	}
}

// A clock that is set back blocks requests for at most a minute.
func TestRate_ClockPutBack(t *testing.T) {
	t.Parallel()
	r := rate{perMinute: 2}
	require.Zero(t, r.take(someTime))
	require.Zero(t, r.take(someTime))
	before := someTime.Add(-24 * time.Hour)
	require.Equal(t, 30*time.Second, r.take(before))
	require.Zero(t, r.take(before.Add(30*time.Second)))

	g, addr := &guesses{}, netip.MustParseAddr("203.0.113.66")
	for range guessesPerMinute {
		require.Zero(t, g.note(addr, true, someTime))
	}
	require.Equal(t, 6*time.Second, g.note(addr, false, before))
	require.Zero(t, g.note(addr, false, before.Add(6*time.Second)))
}

func TestGuesses_Memory(t *testing.T) {
	t.Parallel()
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, byte(i >> 16), byte(i >> 8), byte(i)}) }
	g := &guesses{}
	culprit := netip.MustParseAddr("203.0.113.66")
	for range guessesPerMinute {
		require.Zero(t, g.note(culprit, true, someTime))
	}
	for i := range 2 * maxGuessers {
		require.Zero(t, g.note(address(i), false, someTime), "who does not guess takes no room")
	}
	require.Len(t, g.until, 1)
	for i := range 5 * maxGuessers {
		require.Zero(t, g.note(address(i), true, someTime))
		require.LessOrEqual(t, len(g.until), maxGuessers)
	}
	require.Positive(t, g.note(culprit, false, someTime), "a flood does not free it")
	require.Len(t, g.until, maxGuessers)
	require.Zero(t, g.note(address(1<<20), true, someTime.Add(time.Minute)))
	require.Less(t, len(g.until), maxGuessers-1, "what is over is forgotten")
}

func TestGuesses_Network(t *testing.T) {
	t.Parallel()
	g := &guesses{}
	for i := range guessesPerMinute {
		require.Zero(t, g.note(netip.MustParseAddr(fmt.Sprintf("2001:db8:0:1::%d", i)), true, someTime))
	}
	require.Positive(t, g.note(netip.MustParseAddr("2001:db8:0:1:ffff::"), false, someTime))
	require.Zero(t, g.note(netip.MustParseAddr("2001:db8:0:2::"), true, someTime))
	for _, addr := range []netip.Addr{{}, netip.MustParseAddr("198.51.100.1")} {
		for range guessesPerMinute {
			require.Zero(t, g.note(addr, true, someTime))
		}
		require.Positive(t, g.note(addr, false, someTime))
	}
	require.Zero(t, g.note(netip.MustParseAddr("198.51.100.2"), true, someTime))
}

func TestHeartbeat_MaxPerMinute(t *testing.T) {
	t.Parallel()
	t.Run("Default", func(t *testing.T) {
		t.Parallel()
		e := setup(t, nil)
		for range 100 { // requests without a token do not use up the limit
			e.send(request{header: http.Header{}})
			e.send(request{method: "GET"})
		}
		for range DefaultMaxPerMinute {
			require.Equal(t, http.StatusAccepted, e.send(request{}).Code)
		}
		rec := e.send(request{peer: "203.0.113.7:1"}) // the limit is for all callers
		e.requireRefused(rec, http.StatusTooManyRequests, tooMany)
		require.Equal(t, "1", rec.Header().Get("Retry-After"))
		e.clock.advance(time.Second)
		require.Equal(t, http.StatusAccepted, e.send(request{}).Code)
		require.Equal(t, http.StatusTooManyRequests, e.send(request{}).Code)
		require.Equal(t, DefaultMaxPerMinute+1, e.ticker.ticks())
	})
	t.Run("Few", func(t *testing.T) {
		t.Parallel()
		e := setup(t, &HeartbeatOptions{MaxPerMinute: 2})
		require.Equal(t, http.StatusAccepted, e.send(request{}).Code)
		e.clock.advance(500 * time.Millisecond)
		require.Equal(t, http.StatusAccepted, e.send(request{}).Code)
		rec := e.send(request{})
		require.Equal(t, http.StatusTooManyRequests, rec.Code)
		require.Equal(t, "30", rec.Header().Get("Retry-After")) // 29.5, rounded up
		require.Equal(t, "too many requests", e.logged()["reason"])
	})
	t.Run("None", func(t *testing.T) {
		t.Parallel()
		e := setup(t, &HeartbeatOptions{MaxPerMinute: -1})
		for range 1000 {
			require.Equal(t, http.StatusAccepted, e.send(request{}).Code)
		}
	})
}

// A caller with too many wrong tokens does not learn whether a token is right until
// it may guess again. Other callers are not affected.
func TestHeartbeat_Guesses(t *testing.T) {
	t.Parallel()
	e := setup(t, &HeartbeatOptions{MaxPerMinute: -1})
	for range 100 {
		require.Equal(t, http.StatusUnauthorized, e.send(request{header: http.Header{}}).Code, "no guess")
	}
	for range guessesPerMinute {
		require.Equal(t, http.StatusAccepted, e.send(request{}).Code)
		require.Equal(t, http.StatusUnauthorized, e.send(request{token: wrongToken}).Code)
	}
	wrong, right := e.send(request{token: wrongToken}), e.send(request{})
	e.requireRefused(right, http.StatusTooManyRequests, tooManyWrong)
	require.Equal(t, right.Body, wrong.Body)
	require.Equal(t, right.Header(), wrong.Header())
	require.Equal(t, "6", right.Header().Get("Retry-After"))
	require.Equal(t, http.StatusAccepted, e.send(request{peer: "192.0.2.2:1234"}).Code)

	e.clock.advance(6*time.Second - 1)
	require.Equal(t, http.StatusTooManyRequests, e.send(request{}).Code)
	e.clock.advance(1)
	require.Equal(t, http.StatusAccepted, e.send(request{}).Code)
	require.Equal(t, http.StatusUnauthorized, e.send(request{token: wrongToken}).Code)
	require.Equal(t, http.StatusTooManyRequests, e.send(request{token: wrongToken}).Code)
	e.clock.advance(time.Minute)
	for range guessesPerMinute {
		require.Equal(t, http.StatusUnauthorized, e.send(request{token: wrongToken}).Code)
	}
}

// The callers of a trusted proxy each have their own guesses.
func TestHeartbeat_GuessesBehindProxy(t *testing.T) {
	t.Parallel()
	e := setup(t, &HeartbeatOptions{TrustedProxies: []string{"192.0.2.1"}})
	send := func(token, address string) int {
		return e.send(request{header: http.Header{"X-Forwarded-For": {"198.51.100.1, " + address}, "X-Heartbeat-Token": {token}}}).Code
	}
	for range guessesPerMinute {
		require.Equal(t, http.StatusUnauthorized, send(wrongToken, "203.0.113.66"))
	}
	require.Equal(t, http.StatusTooManyRequests, send(goodToken, "203.0.113.66"))
	require.Equal(t, http.StatusAccepted, send(goodToken, "203.0.113.7"))
}

// Limits are exact for any number of concurrent requests.
func TestHeartbeat_Concurrent(t *testing.T) {
	t.Parallel()
	e := setup(t, &HeartbeatOptions{MaxPerMinute: 30})
	var counts [600]atomic.Int32
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			token := goodToken
			if i%2 == 0 {
				token = wrongToken
			}
			counts[e.send(request{token: token, peer: fmt.Sprintf("192.0.2.%d:1", i%2)}).Code].Add(1)
		})
	}
	wg.Wait()
	require.EqualValues(t, 30, counts[http.StatusAccepted].Load())
	require.EqualValues(t, guessesPerMinute, counts[http.StatusUnauthorized].Load())
	require.EqualValues(t, 200-30-guessesPerMinute, counts[http.StatusTooManyRequests].Load())
	require.Equal(t, 30, e.ticker.ticks())
}
