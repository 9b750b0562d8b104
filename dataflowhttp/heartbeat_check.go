package dataflowhttp

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// refusal is why a request is not served.
type refusal struct {
	status int
	// text is what the caller is told; reason is what the log is told, the text
	// if it is empty.
	text, reason string
	// retryAfter is when to come again, of a 429.
	retryAfter time.Duration
}

// check tells whether a request is to be served, and takes its body.
//
// The order is such that nothing is told to those whom it does not concern, and
// what costs more comes later. The method tells nothing about anybody. The address
// comes before the token, so that somebody elsewhere who has found a token does
// not learn that it is right, and cannot use up the guesses of those who may
// come. The rate comes behind the token, so that who has none cannot use it up.
// Last is the body, which is not read for anybody else.
func (h *heartbeat) check(w http.ResponseWriter, r *http.Request, from caller) *refusal {
	if r.Method != http.MethodPost {
		return &refusal{status: http.StatusMethodNotAllowed, text: "use POST"}
	}
	if !h.addresses.allow(from.addr) {
		return &refusal{status: http.StatusForbidden, text: "not allowed from this address"}
	}
	if refused := h.checkToken(r, from); refused != nil {
		return refused
	}
	if wait := h.all.take(h.clock()); wait > 0 {
		return &refusal{status: http.StatusTooManyRequests, text: "too many requests", retryAfter: wait}
	}
	return h.takeBody(w, r)
}

func (h *heartbeat) checkToken(r *http.Request, from caller) *refusal {
	if h.anonymous {
		return nil
	}
	token, missing := shown(r.Header)
	right := h.tokens.include(token)
	// A caller that has guessed too often is told nothing, not even that it is
	// right now: else the limit would not slow anybody down.
	if wait := h.guesses.note(from.addr, missing == "" && !right, h.clock()); wait > 0 {
		return &refusal{status: http.StatusTooManyRequests, text: "too many wrong tokens from this address", retryAfter: wait}
	}
	if right {
		return nil
	}
	reason := missing
	if reason == "" {
		reason = "wrong token"
	}
	return &refusal{status: http.StatusUnauthorized, text: "no valid token: send one as X-Heartbeat-Token, or as Authorization: Bearer", reason: reason}
}

// takeBody reads the body to its end, and forgets it: a connection whose body
// was not read cannot be used again.
func (h *heartbeat) takeBody(w http.ResponseWriter, r *http.Request) *refusal {
	large := &refusal{status: http.StatusRequestEntityTooLarge, text: "the body is too large: none is needed"}
	if r.ContentLength > h.maxBody {
		return large
	}
	if r.Body == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, h.maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return large
	case err != nil:
		return &refusal{status: http.StatusBadRequest, text: "the body cannot be read", reason: "reading the body: " + err.Error()}
	default:
		return nil
	}
}

// waitOf reads how long the caller wants to wait.
func (h *heartbeat) waitOf(r *http.Request) (time.Duration, *refusal) {
	bad := &refusal{status: http.StatusBadRequest, text: "wait is no duration: use one such as wait=30s, or a number of seconds"}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return 0, &refusal{status: http.StatusBadRequest, text: "the query cannot be read"}
	}
	values, given := query["wait"]
	if !given {
		return 0, nil
	}
	if len(values) != 1 {
		return 0, bad
	}
	text := values[0]
	if strings.Trim(text, "0123456789.") == "" {
		text += "s"
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, bad
	}
	return min(wait, h.maxWait), nil
}

func (h *heartbeat) refuse(w http.ResponseWriter, r *http.Request, from caller, refused *refusal) {
	reason := refused.reason
	if reason == "" {
		reason = refused.text
	}
	h.log.LogAttrs(r.Context(), slog.LevelWarn, "dataflow: heartbeat request refused", append(from.attrs(r), slog.Int("status", refused.status), slog.String("reason", reason))...)
	switch refused.status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(refused.retryAfter.Seconds()))))
	}
	writeError(w, refused.status, refused.text)
}
