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

// ticker is what the endpoint needs of a client.
type ticker interface {
	begin(ctx context.Context) (*tick, error)
	run(ctx context.Context, id int64) (*dataflow.Run, error)
}

// tick is a round that has begun.
type tick struct {
	*dataflow.TickReport
	// wait returns the runs of Due when they have ended or wait again.
	wait func(ctx context.Context) ([]*dataflow.Run, error)
}

// clientTicker is the real one.
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
	all     rate    // all requests that show a token
	guesses guesses // wrong tokens
}

// Heartbeat returns the endpoint at which a POST makes the client do one round
// of what a started client does all the time. See the package for what it
// answers. Everything that is wrong with opts is returned at once, joined, each
// as a *[dataflow.ConfigError]. opts must hold Tokens, or AllowAnonymous.
//
// The client need not be started, but its flows must be registered: by Start, or
// by Register. Whoever owns it stops it; the endpoint answers 503 from then on.
// The handler answers at whatever path it is mounted, and is safe for concurrent
// use.
func Heartbeat(client *dataflow.Client, opts *HeartbeatOptions) (http.Handler, error) {
	s, err := opts.settings()
	if client == nil {
		err = errors.Join(&dataflow.ConfigError{Field: "client", Reason: "it is nil: use dataflow.NewClient"}, err)
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

// serveWait answers when the runs of the tick have ended, or the wait is over.
func (h *heartbeat) serveWait(w http.ResponseWriter, r *http.Request, from caller, t *tick, wait time.Duration) {
	// A server's WriteTimeout is meant for answers that are made at once: it would
	// close the connection in the middle of the wait. The server sets it anew for
	// the next request. Not every ResponseWriter can do this.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})

	bounded, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	worked, err := t.wait(bounded)
	status := http.StatusOK
	switch {
	case err != nil && bounded.Err() != nil:
		status, worked = http.StatusAccepted, nil // what is known of them is old
	case err != nil:
		h.fail(w, r, from, err)
		return
	}
	writeJSON(w, status, h.answer(t, h.latest(r.Context(), runsOf(t), worked), true))
}

// latest returns the runs as they are now: those that were worked as they were
// then, and the others, which others work or that go on, as the database has
// them.
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
				// The tick has happened, and a caller who is told otherwise would repeat it.
				run = found
				if ctx.Err() == nil {
					h.log.WarnContext(ctx, "dataflow: heartbeat cannot tell how a run is now", slog.Int64("run", found.ID), slog.String("flow", found.FlowName), slog.String("error", err.Error()))
				}
			}
		}
		now = append(now, run)
	}
	return now
}

// fail answers a tick that could not be made. What the caller is told holds
// nothing of the error.
func (h *heartbeat) fail(w http.ResponseWriter, r *http.Request, from caller, err error) {
	level, status, text := slog.LevelError, http.StatusInternalServerError, "the tick failed: the service's log says why"
	switch {
	case errors.Is(err, dataflow.ErrStopped):
		level, status, text = slog.LevelWarn, http.StatusServiceUnavailable, "the service is stopping"
	case r.Context().Err() != nil:
		level = slog.LevelWarn // the caller has gone away
	}
	h.log.LogAttrs(r.Context(), level, "dataflow: heartbeat failed", append(from.attrs(r), slog.Int("status", status), slog.String("error", err.Error()))...)
	writeError(w, status, text)
}
