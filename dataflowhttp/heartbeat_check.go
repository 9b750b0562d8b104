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

// refusal says why a request is refused.
type refusal struct {
	status int
	// text is sent to the caller, and reason is logged; an empty reason means the
	// text.
	text, reason string
	// retryAfter is the Retry-After of a 429.
	retryAfter time.Duration
}

// check decides whether a request may be served, and reads its body. The checks are
// ordered so that a refused caller learns nothing, and costly ones come last:
//
//   - The method depends on nothing secret.
//   - The address precedes the token. So a stolen token cannot be tested from
//     another address, and a caller from there cannot use up the guesses of an
//     allowed one.
//   - The rate follows the token, so that a caller without a token cannot use it
//     up.
//   - The body is read last, only for a caller that passed all checks.
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
	// A caller with too many wrong guesses is refused even with the right token:
	// otherwise the limit would not slow down guessing.
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

// takeBody reads and discards the body: a connection with an unread body cannot be
// reused.
func (h *heartbeat) takeBody(w http.ResponseWriter, r *http.Request) *refusal {
	large := &refusal{status: http.StatusRequestEntityTooLarge, text: "the body is too large: send none"}
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

// waitOf returns how long the caller wants to wait, at most maxWait.
func (h *heartbeat) waitOf(r *http.Request) (time.Duration, *refusal) {
	bad := &refusal{status: http.StatusBadRequest, text: "wait is not a duration: use one such as wait=30s, or a number of seconds"}
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
