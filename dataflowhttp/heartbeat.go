package dataflowhttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/activedataflow/dataflow"
)

// ticker is the part of a client that the endpoint needs.
type ticker interface {
	begin(ctx context.Context) (*tick, error)
	run(ctx context.Context, id int64) (*dataflow.Run, error)
}

// tick is a round that has begun.
type tick struct {
	*dataflow.TickReport
	// wait waits until the runs of Due have ended or are pending again, and returns
	// them.
	wait func(ctx context.Context) ([]*dataflow.Run, error)
}

// clientTicker is the ticker of a real client.
type clientTicker struct{ client *dataflow.Client }

func (c clientTicker) begin(ctx context.Context) (*tick, error) {
	report, err := c.client.BeginTick(ctx)
	if err != nil {
		return nil, err
	}
	return &tick{TickReport: report, wait: report.Wait}, nil
}

func (c clientTicker) run(ctx context.Context, id int64) (*dataflow.Run, error) {
	return c.client.Run(ctx, id)
}

// heartbeat is the endpoint.
type heartbeat struct {
	settings

	ticker  ticker
	all     rate    // limits all requests with a valid token
	guesses guesses // limits wrong tokens
}

// Heartbeat returns the endpoint at which a POST makes the client do one round of
// what a started client does all the time. See the package documentation for its
// responses. Invalid opts are returned as one joined error, with a
// *[dataflow.ConfigError] for each fault. opts must set Tokens or AllowAnonymous.
//
// The client need not be started, but its flows must be registered, by Start or
// Register. The caller stops the client; the endpoint then answers 503. The handler
// ignores the path of a request and is safe for concurrent use.
func Heartbeat(client *dataflow.Client, opts *HeartbeatOptions) (http.Handler, error) {
	s, err := opts.settings()
	if client == nil {
		err = errors.Join(&dataflow.ConfigError{Field: "client", Reason: "it is nil: create it with dataflow.NewClient"}, err)
	}
	if err != nil {
		return nil, fmt.Errorf("dataflow: %w", err)
	}
	return newHeartbeat(clientTicker{client}, s), nil
}

func newHeartbeat(t ticker, s settings) *heartbeat {
	return &heartbeat{settings: s, ticker: t, all: rate{perMinute: s.perMinute}}
}

func (h *heartbeat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := h.addresses.caller(r)
	refused := h.check(w, r, from)
	var wait time.Duration
	if refused == nil {
		wait, refused = h.waitOf(r)
	}
	if refused != nil {
		h.refuse(w, r, from, refused)
		return
	}
	t, err := h.ticker.begin(r.Context())
	if err != nil {
		h.fail(w, r, from, err)
		return
	}
	if wait == 0 {
		writeJSON(w, http.StatusAccepted, h.answer(t, runsOf(t), false))
		return
	}
	h.serveWait(w, r, from, t, wait)
}

// serveWait answers once the runs of the tick have ended or the wait is over.
func (h *heartbeat) serveWait(w http.ResponseWriter, r *http.Request, from caller, t *tick, wait time.Duration) {
	// A server's WriteTimeout is meant for immediate responses: it would close the
	// connection during the wait. The server sets it again for the next request. Not
	// every ResponseWriter supports this.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})

	bounded, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	worked, err := t.wait(bounded)
	status := http.StatusOK
	switch {
	case err != nil && bounded.Err() != nil:
		status, worked = http.StatusAccepted, nil // these states are outdated
	case err != nil:
		h.fail(w, r, from, err)
		return
	}
	writeJSON(w, status, h.answer(t, h.latest(r.Context(), runsOf(t), worked), true))
}

// latest returns the runs with their current states. A run that was worked here has
// its state from the end of that work. The others are read from the database,
// because they still run or other processes work them.
func (h *heartbeat) latest(ctx context.Context, runs, worked []*dataflow.Run) []*dataflow.Run {
	byID := make(map[int64]*dataflow.Run, len(worked))
	for _, run := range worked {
		byID[run.ID] = run
	}
	now := make([]*dataflow.Run, 0, len(runs))
	for _, found := range runs {
		run := byID[found.ID]
		if run == nil {
			var err error
			if run, err = h.ticker.run(ctx, found.ID); err != nil {
				// The tick has happened: an error would make the caller repeat it.
				run = found
				if ctx.Err() == nil {
					h.log.WarnContext(ctx, "dataflow: heartbeat cannot read the current state of a run", slog.Int64("run", found.ID), slog.String("flow", found.FlowName), slog.String("error", err.Error()))
				}
			}
		}
		now = append(now, run)
	}
	return now
}

// fail answers a tick that failed. The response does not contain the error.
func (h *heartbeat) fail(w http.ResponseWriter, r *http.Request, from caller, err error) {
	level, status, text := slog.LevelError, http.StatusInternalServerError, "the tick failed: see the service's log"
	switch {
	case errors.Is(err, dataflow.ErrStopped):
		level, status, text = slog.LevelWarn, http.StatusServiceUnavailable, "the service is stopping"
	case r.Context().Err() != nil:
		level = slog.LevelWarn // the caller has gone away
	}
	h.log.LogAttrs(r.Context(), level, "dataflow: heartbeat failed", append(from.attrs(r), slog.Int("status", status), slog.String("error", err.Error()))...)
	writeError(w, status, text)
}
